"""Directories: what is missing, damaged or unsupported is said in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.retrieval.convert.hf_models import clip

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.hf_files import check_directory, read_licence
from mmsearch.retrieval.convert.hf_source import load_hf
from mmsearch.retrieval.vse.backbone import weights_digest


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def directory(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "a-clip"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda d: (d / "config.json").unlink(), "has no config.json"),
    "config cut": (lambda d: (d / "config.json").write_text("{"), "config.json cannot be read"),
    "config no object": (lambda d: (d / "config.json").write_text("[]"), "does not hold an object"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "has no weights; it should"),
    "pickles": (lambda d: (d / "model.safetensors").rename(d / "model.bin"), "pickles alone"),
    "tensorflow": (
        lambda d: (d / "model.safetensors").rename(d / "tf_model.h5"),
        "no weights of PyTorch",
    ),
    "no image settings": (
        lambda d: (d / "preprocessor_config.json").unlink(),
        "has no preprocessor_config.json",
    ),
    "code": (
        lambda d: change(d / "config.json", auto_map={"AutoModel": "own.Own"}),
        "code that comes with the model .auto_map: AutoModel.",
    ),
    "code of the tokenizer": (
        lambda d: change(d / "tokenizer_config.json", auto_map={"AutoTokenizer": ["a", "b"]}),
        "tokenizer_config.json wants to run code",
    ),
    "weights damaged": (
        lambda d: (d / "model.safetensors").write_bytes(b"\x10" * 100),
        "cannot be loaded",
    ),
    "unknown kind": (
        lambda d: change(d / "config.json", model_type="clap2000"),
        "'clap2000', which the installed transformers does not know; supported are CLIP",
    ),
    "no dual encoder": (
        lambda d: change(d / "config.json", model_type="clip_vision_model"),
        "'clip_vision_model', which does not encode both .*; supported are CLIP",
    ),
    "naflex": (lambda d: change(d / "config.json", model_type="siglip2"), "NaFlex"),
    "other image size": (
        lambda d: change(d / "preprocessor_config.json", crop_size={"height": 24, "width": 24}),
        "does not take pictures of 24 x 24 pixels",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_directory_that_cannot_be_converted_is_refused(case: str, directory: Path) -> None:
    breaking, message = BROKEN[case]
    breaking(directory)
    with pytest.raises(ModelError, match=message) as refused:
        load_hf(directory)
    assert "\n" not in str(refused.value)


def test_a_missing_weight_is_named_instead_of_drawn_at_random(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights .*text_projection\.weight"):
        load_hf(directory)


def test_weights_in_parts_are_those_in_one_file(directory: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    parts = Path(shutil.copytree(directory, tmp_path / "parts"))
    (parts / "model.safetensors").unlink()
    AutoModel.from_pretrained(directory).save_pretrained(parts, max_shard_size="60KB")
    files = sorted(parts.glob("model-*.safetensors"))
    assert len(files) > 2
    whole, split = load_hf(directory), load_hf(parts)
    assert weights_digest(split.image) == weights_digest(whole.image)
    assert weights_digest(split.text) == weights_digest(whole.text)
    assert split.name == "parts"
    files[1].unlink()
    with pytest.raises(ModelError, match=f"lacks 1 of its {len(files)} weight files"):
        check_directory(parts)


# As the first versions of transformers wrote them, and as many published models still have them.
EARLY = {
    "CLIP": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 40, "crop_size": 32},
    "ViT": {"feature_extractor_type": "ViTFeatureExtractor", "size": 32},
    "by the model": {"size": 32, "crop_size": 32, "resample": 3},
    "fast": {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 32}},
}


@pytest.mark.parametrize("kind", EARLY)
def test_early_image_settings_are_understood(kind: str, directory: Path) -> None:
    (directory / "preprocessor_config.json").write_text(json.dumps(EARLY[kind]))
    if kind == "fast":
        change(directory / "preprocessor_config.json", crop_size={"height": 32, "width": 32})
    preprocessing = load_hf(directory).preprocessing
    assert preprocessing.size == (32, 32)
    assert preprocessing.short_side == {"CLIP": 40, "ViT": None}.get(kind, 32)


def test_settings_in_one_file_with_the_tokenizer_are_found(directory: Path) -> None:
    from transformers import AutoProcessor

    before = load_hf(directory).preprocessing
    processor = AutoProcessor.from_pretrained(directory)
    (directory / "preprocessor_config.json").unlink()
    processor.save_pretrained(directory)
    assert not (directory / "preprocessor_config.json").exists()
    assert (directory / "processor_config.json").is_file()
    assert load_hf(directory).preprocessing == before


def test_half_precision_becomes_float32(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    halves = {name: weight.to(torch.bfloat16) for name, weight in weights.items()}
    save_file(halves, directory / "model.safetensors", metadata={"format": "pt"})
    change(directory / "config.json", dtype="bfloat16")
    image = load_hf(directory).image.state_dict()
    assert {weight.dtype for weight in image.values()} <= {torch.float32, torch.int64}
    name = "visual_projection.weight"
    torch.testing.assert_close(image[f"model.{name}"], halves[name].float(), rtol=0, atol=0)


def test_a_source_says_what_it_is_and_leaves_out_the_other_tower(directory: Path) -> None:
    source = load_hf(directory)
    assert source.name == "a-clip"
    assert source.source["architecture"] == "CLIPModel"
    assert not any("text" in name for name in source.image.state_dict())
    assert not any("vision" in name for name in source.text.state_dict())


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\ntags:\n- clip\n---\n# A model", "mit"),
        ("---\ntags:\n- clip\nlicense: other\nlicense_name: 'apple-amlr'\n---\n", "apple-amlr"),
        ("---\nlanguage: en\n---\nlicense: mit", ""),
        ("# license: mit", ""),
    ],
)
def test_the_licence_is_that_of_the_card(card: str, licence: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert read_licence(tmp_path) == licence


def test_without_a_card_no_licence_is_known(tmp_path: Path) -> None:
    assert read_licence(tmp_path) == ""


def test_a_small_cut_from_a_large_picture_is_converted(directory: Path) -> None:
    change(directory / "preprocessor_config.json", size={"shortest_edge": 80})
    assert load_hf(directory).preprocessing.short_side == 80
