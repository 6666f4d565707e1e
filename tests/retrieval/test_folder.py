"""Model folders on disk."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.retrieval.onnx_models import PREPROCESSING, make_model

from mmsearch.core import Cut, Resize
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.folder import (
    Cleaning,
    TextSpec,
    read_model_folder,
    verify,
    verify_file,
    write_model_folder,
)


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((path / "model.json").read_text(encoding="utf-8"))
    change(document)
    (path / "model.json").write_text(json.dumps(document), encoding="utf-8")


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    written = make_model(tmp_path / "model", name="größer")
    assert read_model_folder(tmp_path / "model") == written
    assert written.preprocessing == PREPROCESSING
    assert written.name == "größer"


def test_every_part_of_a_description_is_read_back(tmp_path: Path) -> None:
    preprocessing = replace(PREPROCESSING, resize=Resize.PAD, short_side=9, cut=Cut.FLOOR, fill=7)
    described = replace(
        make_model(tmp_path),
        preprocessing=preprocessing,
        image_output="image_embeds",
        text=TextSpec(8, (Cleaning.FTFY, Cleaning.LOWER), pad=49407, fixed=True),
        text_output="text_embeds",
        int8={"text": {"cosine": 0.999}},
        optimised={"level": "extended", "runtime": "1.0"},
    )
    assert read_model_folder(tmp_path) != described
    assert write_model_folder(tmp_path, described) == described
    assert read_model_folder(tmp_path) == described


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_folder_of_the_first_format_is_read(tmp_path: Path, lowercase: bool) -> None:
    folder = make_model(tmp_path)

    def age(document: dict[str, Any]) -> None:
        for key in ("seal", "int8", "optimised"):
            del document[key]
        for key in ("output", "short_side", "cut", "fill"):
            del document["image"][key]
        text = {"file": "text.onnx", "length": 8, "lowercase": lowercase}
        document.update(format=1, text=text)

    _edit(tmp_path, age)
    cleaning = (Cleaning.NFC, Cleaning.LOWER) if lowercase else (Cleaning.NFC,)
    assert read_model_folder(tmp_path) == replace(folder, text=TextSpec(8, cleaning))


def test_8_bit_towers_are_stamped_when_they_are_there(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    assert (folder.image_int8_path, folder.text_int8_path) == (None, None)
    (tmp_path / "text.int8.onnx").write_bytes(b"graph")
    (tmp_path / "text.int8.onnx.data").write_bytes(b"weights")
    again = write_model_folder(tmp_path, folder)
    assert again.text_int8_path == tmp_path / "text.int8.onnx"
    assert set(again.files) - set(folder.files) == {"text.int8.onnx", "text.int8.onnx.data"}


def test_a_model_without_image_tower_has_no_image_file(tmp_path: Path) -> None:
    make_model(tmp_path, images=False)
    folder = read_model_folder(tmp_path)
    assert folder.preprocessing is None
    assert folder.image_path is None
    assert set(folder.files) == {"text.onnx", "tokenizer.json"}


def test_weights_that_lie_apart_are_stamped_too(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    (tmp_path / "image.onnx.data").write_bytes(b"weights")
    assert "image.onnx.data" in write_model_folder(tmp_path, folder).files


def test_a_folder_that_lacks_a_tower_cannot_be_described(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    (tmp_path / "text.onnx").unlink()
    with pytest.raises(ModelError, match=r"text\.onnx"):
        write_model_folder(tmp_path, folder)


def test_a_folder_without_model_json_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no model\.json"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '{"format": "one"}', '{"format": 0}'])
def test_model_json_that_is_none_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json .*export") as caught:
        read_model_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_newer_format_asks_for_a_newer_mmsearch(tmp_path: Path) -> None:
    make_model(tmp_path)
    _edit(tmp_path, lambda document: document.update(format=3))
    with pytest.raises(ModelError, match="update mmsearch"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("dim"),
        lambda d: d.update(dim="many"),
        lambda d: d.update(dim=True),
        lambda d: d.update(name=3),
        lambda d: d.update(files=[]),
        lambda d: d.update(files={}),
        lambda d: d["files"].update({"../secret": {"sha256": "", "bytes": 1}}),
        lambda d: d["text"].update(length=0),
        lambda d: d["image"].update(size=[0, 4]),
        lambda d: d["image"].update(size=["a", "b"]),
        lambda d: d["image"].update(std=[0.5, 0.5]),
        lambda d: d["image"].update(resize="stretch"),
        lambda d: d["image"].update(short_side=3),
        lambda d: d["image"].update(cut="here"),
        lambda d: d["image"].update(fill=256),
        lambda d: d["text"].update(cleaning="nfc"),
        lambda d: d["text"].update(cleaning=["soap"]),
        lambda d: d["text"].update(pad=-1),
        lambda d: d.update(metrics="good"),
    ],
    ids=range(19),
)
def test_a_damaged_description_is_one_clear_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    make_model(tmp_path)
    _edit(tmp_path, change)
    with pytest.raises(ModelError, match=r"model\.json") as caught:
        read_model_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make_model(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json"):
        read_model_folder(tmp_path)


def test_a_file_of_another_size_is_noticed_when_the_folder_is_read(tmp_path: Path) -> None:
    make_model(tmp_path)
    with (tmp_path / "image.onnx").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ModelError, match="differs from its record"):
        read_model_folder(tmp_path)


def test_a_flipped_bit_is_noticed_by_verify_unless_the_file_is_too_large(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    verify(folder)
    content = bytearray((tmp_path / "image.onnx").read_bytes())
    content[10] ^= 1
    (tmp_path / "image.onnx").write_bytes(content)
    verify_file(read_model_folder(tmp_path), "image.onnx", below=10)
    with pytest.raises(ModelError, match=r"image\.onnx differs"):
        verify(folder)


def test_a_text_length_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 token"):
        TextSpec(0)
