"""Tiny transformers models of random weights, saved the way models are published.

Each builder writes weights, configuration, image settings and tokenizer files into `path`.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, trainers

SENTENCES = [
    "a photo of a cat on a mat",
    "two dogs play with a ball in the snow",
    "the man in the red shirt rides a bicycle down the street",
    "children jump over the water while the woman looks at her phone",
    "Привет, мир! Кошка сидит на окне.",
    "一只猫坐在垫子上 猫が好きです",
    "ελληνικά σας καλημέρα",
    "naïve café déjà vu, straße; don't stop: 12 o'clock & 34 more",
] * 4

TEXT = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WIDTH = {"projection_dim": 24}


def clip(path: Path, *, legacy: bool = False) -> Path:
    """CLIP; `legacy`: with the wrong end token of early configurations."""
    import transformers as t

    tokenizer = clip_tokenizer()
    end = 2 if legacy else tokenizer.eos_token_id
    text = TEXT | {"vocab_size": len(tokenizer), "eos_token_id": end}
    config = t.CLIPConfig(text_config=text, vision_config=VISION, **WIDTH)
    return _save(path, t.CLIPModel(config), t.CLIPImageProcessor(**_cropped(32, 32)), tokenizer)


def metaclip2(path: Path) -> Path:
    """MetaCLIP 2: CLIP's towers with XLM-R's tokenizer, here from its sentencepiece file alone."""
    import transformers as t

    tokenizer = xlmr_tokenizer(path, length=24)
    text = TEXT | {"vocab_size": len(tokenizer), "eos_token_id": 2, "pad_token_id": 1}
    config = t.MetaClip2Config(text_config=text, vision_config=VISION, **WIDTH)
    _save(path, t.MetaClip2Model(config), t.CLIPImageProcessor(**_cropped(36, 32)), tokenizer)
    (path / "tokenizer.json").unlink()
    return path


def siglip(path: Path) -> Path:
    """SigLIP: everything filled up to one length, the last position pooled."""
    import transformers as t

    vocabulary = sentencepiece(path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    tokenizer = t.SiglipTokenizer(
        str(vocabulary.rename(path / "spiece.model")),
        model_max_length=20,
        model_input_names=["input_ids"],
    )
    text = TEXT | {"vocab_size": len(tokenizer), "max_position_embeddings": 20}
    config = t.SiglipConfig(text_config=text, vision_config=VISION)
    processor = t.SiglipImageProcessor(size={"height": 32, "width": 32})
    return _save(path, t.SiglipModel(config), processor, tokenizer)


def siglip2(path: Path, *, left: bool = False) -> Path:
    """SigLIP 2 of fixed resolution: SigLIP's towers and Gemma's tokenizer.

    `left`: padded on the left and masked, as a tokenizer does that does not say otherwise.
    """
    import transformers as t

    settings: dict[str, Any] = {"model_input_names": ["input_ids"], "padding_side": "right"}
    tokenizer = gemma_tokenizer(lower=left, **({} if left else settings))
    text = TEXT | {"vocab_size": len(tokenizer), "max_position_embeddings": 20}
    config = t.SiglipConfig(text_config=text, vision_config=VISION)
    processor = t.SiglipImageProcessor(size={"height": 32, "width": 32}, resample=2)
    return _save(path, t.SiglipModel(config), processor, tokenizer)


def chinese_clip(path: Path) -> Path:
    """Chinese-CLIP: BERT's tokenizer from its list of words alone, squashed pictures."""
    import transformers as t

    tokenizer = bert_tokenizer(length=24)
    text = TEXT | {"vocab_size": len(tokenizer)}
    config = t.ChineseCLIPConfig(text_config=text, vision_config=VISION, **WIDTH)
    processor = t.ChineseCLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    _save(path, t.ChineseCLIPModel(config), processor, tokenizer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    (path / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words), encoding="utf-8")
    (path / "tokenizer.json").unlink()
    return path


def altclip(path: Path) -> Path:
    """AltCLIP: a multilingual text tower whose positions begin behind the padding id."""
    import transformers as t

    tokenizer = xlmr_tokenizer(path, length=512)
    text = TEXT | {"vocab_size": len(tokenizer), "project_dim": 32, "pad_token_id": 1}
    config = t.AltCLIPConfig(text_config=text, vision_config=VISION, **WIDTH)
    processor = t.CLIPImageProcessor(**_cropped(32, 32))
    return _save(path, t.AltCLIPModel(config), processor, tokenizer)


def align(path: Path) -> Path:
    """ALIGN: a convolutional tower that looks at the centre of a squashed picture."""
    import transformers as t

    tokenizer = bert_tokenizer(length=512)
    text = TEXT | {"vocab_size": len(tokenizer), "max_position_embeddings": 80}
    vision = {
        "image_size": 48,
        "depth_coefficient": 0.3,
        "width_coefficient": 0.3,
        "hidden_dim": 64,
    }
    config = t.AlignConfig(text_config=text, vision_config=vision, projection_dim=96)
    processor = t.EfficientNetImageProcessor(
        size={"height": 57, "width": 57},
        crop_size={"height": 48, "width": 48},
        do_center_crop=True,
        resample=2,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
    )
    return _save(path, t.AlignModel(config), processor, tokenizer)


def dual_encoder(path: Path) -> Path:
    """Any two towers with projections: here a ViT and an XLM-R."""
    import transformers as t

    tokenizer = xlmr_tokenizer(path, length=22)
    text = TEXT | {"model_type": "xlm-roberta", "vocab_size": len(tokenizer), "pad_token_id": 1}
    config = t.VisionTextDualEncoderConfig(
        vision_config=VISION | {"model_type": "vit"}, text_config=text, **WIDTH
    )
    processor = t.ViTImageProcessor(size={"height": 32, "width": 32})
    return _save(path, t.VisionTextDualEncoderModel(config), processor, tokenizer)


def aimv2(path: Path) -> Path:
    """A model that is in no list: it has get_image_features and get_text_features."""
    import transformers as t

    tokenizer = clip_tokenizer()
    text = TEXT | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config = t.Aimv2Config(text_config=text, vision_config=VISION, **WIDTH)
    processor = t.CLIPImageProcessor(**_cropped(32, 32))
    return _save(path, t.Aimv2Model(config), processor, tokenizer)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "clip": clip,
    "clip_legacy": lambda path: clip(path, legacy=True),
    "metaclip2": metaclip2,
    "siglip": siglip,
    "siglip2": siglip2,
    "siglip2_left": lambda path: siglip2(path, left=True),
    "chinese_clip": chinese_clip,
    "altclip": altclip,
    "align": align,
    "dual_encoder": dual_encoder,
    "aimv2": aimv2,
}


def clip_tokenizer() -> Any:
    """A CLIP tokenizer whose end token has the highest id, as in CLIP's own vocabulary."""
    import transformers as t

    trained = t.CLIPTokenizer().train_new_from_iterator(SENTENCES, 500)
    content = json.loads(trained.backend_tokenizer.to_str())["model"]
    special = ("<|startoftext|>", "<|endoftext|>")
    words = [word for word in content["vocab"] if word not in special]
    vocabulary = {word: place for place, word in enumerate([*words, *special])}
    merges = [tuple(pair) for pair in content["merges"]]
    return t.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=24)


def gemma_tokenizer(*, lower: bool = True, **settings: Any) -> Any:
    """A tokenizer as SigLIP 2 has it: pairs of letters, an end token, no limit of its own."""
    import transformers as t

    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    )
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    trained.normalizer = normalizers.Replace(" ", "\u2581")
    trained.train_from_iterator(SENTENCES, trainer)
    content = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in content["merges"]]
    kind = t.Siglip2Tokenizer if lower else t.GemmaTokenizer
    return kind(vocab=content["vocab"], merges=merges, add_eos_token=True, **settings)


def bert_tokenizer(*, length: int) -> Any:
    """A BERT tokenizer whose words are letters, Chinese characters and a few words."""
    import transformers as t

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({letter for sentence in SENTENCES for letter in sentence.lower()} - {" "})
    words += letters + [f"##{letter}" for letter in letters]
    words += ["cat", "dog", "photo", "##s", "the", "ball"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    return t.BertTokenizer(vocab=vocabulary, model_max_length=length)


def xlmr_tokenizer(path: Path, *, length: int) -> Any:
    """An XLM-R tokenizer made from a sentencepiece file, which stays in `path`."""
    import transformers as t

    file = sentencepiece(path, unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    file = file.rename(path / "sentencepiece.bpe.model")
    return t.XLMRobertaTokenizer.from_pretrained(path, model_max_length=length)


def sentencepiece(path: Path, *, kind: str = "unigram", **ids: Any) -> Path:
    """Train a sentencepiece vocabulary."""
    import sentencepiece as spm

    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=420,
        hard_vocab_limit=False,
        model_type=kind,
        character_coverage=1.0,
        minloglevel=2,
        num_threads=1,
        **ids,
    )
    path.mkdir(parents=True, exist_ok=True)
    file = path / "vocabulary.model"
    file.write_bytes(model.getvalue())
    return file


def spread_weights(model: torch.nn.Module, *, seed: int = 0) -> None:
    """Draw weights so large that the vectors of different inputs point elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 or "embedding" in name:
                gain = 1.0 if "embedding" in name else float(weight[0].numel()) ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=generator) * gain * 1.4)


def _save(path: Path, model: Any, processor: Any, tokenizer: Any) -> Path:
    spread_weights(model)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _cropped(short: int, side: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": short}, "crop_size": {"height": side, "width": side}}
