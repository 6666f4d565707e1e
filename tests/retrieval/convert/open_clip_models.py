"""Tiny open_clip models of random weights, laid out as they are published.

Each family is a folder with open_clip_config.json, open_clip_model.safetensors and, where the
text side is one of transformers, the files of its tokenizer and of its text tower.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.retrieval.convert import hf_models
from torch import nn

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
SMALL_TEXT = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}


@dataclass(frozen=True)
class Family:
    """A kind of model: its `model_cfg` and `preprocess_cfg`, what lies beside, `fixed` length."""

    model: dict[str, Any]
    pictures: dict[str, Any] = field(default_factory=dict)
    files: Callable[[Path], None] | None = None
    fixed: bool = False


def timm(name: str, *, pool: str = "", proj: str | None = "linear", size: int = 64) -> Any:
    """The `vision_cfg` of a network of timm."""
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "image_size": size,
    }


def siglip_tokenizer(path: Path, *, pad: str = "</s>") -> None:
    """A sentencepiece vocabulary as SigLIP's, kept as a tokenizer.json; its end fills up."""
    import transformers

    file = hf_models.sentencepiece(path, unk_id=2, bos_id=-1, eos_id=1, pad_id=0)
    file = file.rename(path / "spiece.model")
    tokenizer = transformers.T5Tokenizer.from_pretrained(path, extra_ids=0, pad_token=pad)
    tokenizer.save_pretrained(path)
    file.unlink()


def xlm_roberta(path: Path) -> None:
    """A multilingual text tower of transformers, and its tokenizer."""
    import transformers

    hf_models.xlmr_tokenizer(path, length=40).save_pretrained(path)
    transformers.XLMRobertaConfig(**SMALL_TEXT).save_pretrained(path)


def mt5(path: Path) -> None:
    """A text tower that is the encoder of an encoder and decoder."""
    import transformers

    siglip_tokenizer(path, pad="<pad>")
    config = transformers.MT5Config(
        vocab_size=600, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2
    )
    config.save_pretrained(path)


def bert_words(path: Path) -> None:
    """BERT's tokenizer, for towers that leave its separator out."""
    hf_models.bert_tokenizer(length=512).save_pretrained(path)


def gemma_words(path: Path) -> None:
    """A tokenizer that fills sentences up on the left."""
    hf_models.gemma_tokenizer().save_pretrained(path)


SIGLIP_TEXT = {
    **TEXT,
    "context_length": 16,
    "vocab_size": 600,
    "hf_tokenizer_name": "nobody/siglip",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "pool_type": "last",
    "proj_bias": True,
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
SQUASHED = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}


def _hf_text(pooler: str) -> dict[str, Any]:
    return {
        "hf_model_name": "nobody/text",
        "hf_tokenizer_name": "nobody/text",
        "hf_proj_type": "mlp",
        "hf_pooler_type": pooler,
        "context_length": 24,
    }


FAMILIES = {
    "clip": Family({"vision_cfg": VISION, "text_cfg": TEXT}),
    "quickgelu": Family(
        {
            "quick_gelu": True,
            "vision_cfg": {**VISION, "image_size": 40},
            "text_cfg": {**TEXT, "context_length": 32},
        },
        {"resize_mode": "longest", "fill_color": 128},
    ),
    "resnet": Family(
        {
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
            "text_cfg": TEXT,
        },
        {"interpolation": "bilinear"},
    ),
    "mobileclip": Family(
        {
            "custom_text": True,
            "vision_cfg": timm("test_byobnet", pool="avg"),
            "text_cfg": {**TEXT, "no_causal_mask": True},
        },
        {"interpolation": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3},
        fixed=True,
    ),
    "convnext": Family({"vision_cfg": timm("test_convnext"), "text_cfg": TEXT}),
    "siglip": Family(
        {
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": timm("test_vit3", pool="map", size=160),
            "text_cfg": SIGLIP_TEXT,
        },
        SQUASHED,
        siglip_tokenizer,
        fixed=True,
    ),
    "siglip2": Family(
        {
            "custom_text": True,
            "vision_cfg": timm("test_vit3", pool="map", size=160),
            "text_cfg": SIGLIP_TEXT,
        },
        SQUASHED,
        gemma_words,
        fixed=True,
    ),
    "clipa": Family(
        {
            "vision_cfg": {**VISION, "no_ln_pre": True, "pool_type": "avg"},
            "text_cfg": {
                **SIGLIP_TEXT,
                "tokenizer_kwargs": {"strip_sep_token": True},
                "hf_tokenizer_name": "nobody/bert",
            },
        },
        {"resize_mode": "squash"},
        bert_words,
        fixed=True,
    ),
    "coca": Family(
        {
            "custom_text": True,
            "vision_cfg": {
                **VISION,
                "attentional_pool": True,
                "attn_pooler_heads": 2,
                "output_tokens": True,
            },
            "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {**TEXT, "context_length": 76, "layers": 1},
        },
        fixed=True,
    ),
    "xlm-roberta": Family(
        {"vision_cfg": VISION, "text_cfg": _hf_text("mean_pooler")}, files=xlm_roberta
    ),
    "mt5": Family({"vision_cfg": VISION, "text_cfg": _hf_text("mean_pooler")}, files=mt5),
    "eos": Family(
        {
            "custom_text": True,
            "vision_cfg": VISION,
            "text_cfg": {
                **TEXT,
                "vocab_size": 600,
                "hf_tokenizer_name": "nobody/xlm-v",
                "pool_type": "eos",
                "eos_id": 2,
            },
        },
        files=xlm_roberta,
    ),
    "custom-attention": Family(
        {
            "vision_cfg": {**VISION, "qk_norm": True, "scale_attn": True, "ls_init_value": 0.5},
            "text_cfg": {**TEXT, "qk_norm": True, "scale_heads": True},
        }
    ),
}


def publish(family: str, path: Path, *, seed: int = 0) -> Path:
    """Write a model of a family into `path`; another seed is another model."""
    import open_clip

    path.mkdir(parents=True, exist_ok=True)
    chosen = FAMILIES[family]
    config = {"embed_dim": 32, **chosen.model}
    document = {"model_cfg": config, "preprocess_cfg": chosen.pictures}
    (path / CONFIG).write_text(json.dumps(document), encoding="utf-8")
    changed: dict[str, Any] = {}
    if chosen.files is not None:
        chosen.files(path)
    if "hf_model_name" in config["text_cfg"]:
        here = {"hf_model_name": str(path), "hf_model_pretrained": False}
        changed["text_cfg"] = config["text_cfg"] | here
    torch.manual_seed(seed)
    model = open_clip.create_model(
        f"local-dir:{path}", load_weights=False, pretrained_text=False, **changed
    )
    spread(model)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path / WEIGHTS, {"format": "pt"})
    return path


def spread(model: nn.Module) -> None:
    """Scale random weights up: else a network gives nearly the same vector for everything."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3)
