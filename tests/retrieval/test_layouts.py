"""What a list of files is."""

from pathlib import Path

import pytest

from mmsearch.retrieval.layouts import (
    CLIP_VOCABULARY,
    Layout,
    layouts,
    names_in,
    needed_files,
    not_a_model,
    pair_files,
)

TRANSFORMERS = ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
JS = ["config.json", "onnx/vision_model.onnx", "onnx/text_model.onnx", "tokenizer.json"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.json", "text.onnx", "tokenizer.json"], [Layout.MODEL_FOLDER]),
        (TRANSFORMERS, [Layout.TRANSFORMERS]),
        (["config.json", "model-00001-of-00002.safetensors"], [Layout.TRANSFORMERS]),
        (["open_clip_config.json", "open_clip_model.safetensors"], [Layout.OPEN_CLIP]),
        # timm keeps its image tower in the same repository
        (
            [*TRANSFORMERS, "open_clip_config.json", "open_clip_model.safetensors"],
            [Layout.OPEN_CLIP, Layout.TRANSFORMERS],
        ),
        (["visual/model.onnx", "textual/model.onnx"], [Layout.PHOTO_SERVER]),
        (JS, [Layout.TRANSFORMERS_JS]),
        ([*JS, "model.safetensors"], [Layout.TRANSFORMERS, Layout.TRANSFORMERS_JS]),
        (["a/visual.onnx", "a/textual.onnx", f"b/{CLIP_VOCABULARY}"], [Layout.RCLIP]),
        (["a/visual.onnx", "a/textual.onnx"], []),
        (["config.json", "pytorch_model.bin"], []),
        ([], []),
    ],
)
def test_files_are_recognised_by_their_names(names: list[str], expected: list[Layout]) -> None:
    assert layouts(names) == expected


def test_only_what_is_needed_is_fetched() -> None:
    names = [
        *TRANSFORMERS,
        "pytorch_model.bin",
        "flax_model.msgpack",
        "modeling.py",
        "README.md",
        "onnx/model.onnx",
        "vocab.json",
    ]
    assert needed_files(Layout.TRANSFORMERS, names) == sorted(
        [*TRANSFORMERS, "README.md", "vocab.json"]
    )
    js = [*JS, "onnx/vision_model_fp16.onnx", "onnx/vision_model_q4.onnx", "onnx/model.onnx"]
    assert needed_files(Layout.TRANSFORMERS_JS, js) == sorted(JS)


def test_full_precision_comes_before_half_and_eight_bits() -> None:
    half = {f"onnx/{part}_model_fp16.onnx" for part in ("vision", "text")}
    quantised = {f"onnx/{part}_model_quantized.onnx" for part in ("vision", "text")}
    found = pair_files(Layout.TRANSFORMERS_JS, half | quantised)
    assert found is not None
    assert found.image == "onnx/vision_model_fp16.onnx"
    found = pair_files(Layout.TRANSFORMERS_JS, quantised | {"onnx/vision_model_fp16.onnx"})
    assert found is not None
    assert found.text == "onnx/text_model_quantized.onnx"


def test_pickles_alone_are_refused_for_what_they_are() -> None:
    message = str(not_a_model("org/name", ["config.json", "pytorch_model.bin"]))
    assert "org/name holds only pickled weights (pytorch_model.bin)" in message
    assert ".safetensors" in message
    assert "holds none of" in str(not_a_model("org/name", ["README.md"]))


def test_a_folder_is_listed_a_few_levels_deep(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    for place in ("top", "a/one", "a/b/two", "a/b/c/d/four"):
        (tmp_path / place).touch()
    assert names_in(tmp_path) == {"top", "a/one", "a/b/two"}
