"""The user's pictures, to try 8-bit networks on."""

from pathlib import Path

import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.onnx_models import PREPROCESSING

from mmsearch.errors import InputError
from mmsearch.retrieval import int8_samples
from mmsearch.retrieval.int8_samples import read_int8_samples


def test_pictures_are_read_at_the_networks_size_and_others_passed_over(tmp_path: Path) -> None:
    draw(tmp_path / "deep" / "red.png", RED)
    draw(tmp_path / "blue.png", BLUE)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    found = read_int8_samples(tmp_path, PREPROCESSING)
    assert [picture.shape for picture in found.pictures] == [(6, 4, 3)] * 2
    assert found.pictures[0].mean(axis=(0, 1)).argmax() == 2
    assert (found.sentences, found.labelled) == ((), None)


def test_captions_come_with_their_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "red.png", RED)
    draw(tmp_path / "green.png", GREEN)
    lines = ["image,caption", "red.png,a red thing", "red.png,red", "green.png,green", "x.png,no"]
    (tmp_path / "captions.csv").write_text("\n".join(lines) + "\n")
    found = read_int8_samples(tmp_path, PREPROCESSING)
    assert found.labelled is not None
    assert [list(captions) for _, captions in found.labelled] == [["a red thing", "red"], ["green"]]
    assert list(found.sentences) == ["a red thing", "red", "green"]
    assert len(found.pictures) == 2


def test_a_folder_without_pictures_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="holds no pictures; give a folder of them to --calibrate"):
        read_int8_samples(tmp_path, PREPROCESSING)


def test_of_many_pictures_some_are_taken_all_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_samples, "MOST", 3)
    for n in range(9):
        draw(tmp_path / f"{n}.png", (n * 20, 0, 0))
    found = read_int8_samples(tmp_path, PREPROCESSING)
    assert [int(picture[0, 0, 0]) for picture in found.pictures] == [0, 80, 160]
