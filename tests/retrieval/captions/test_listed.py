"""Captions by the names of their pictures, which need not be there."""

import json
import os
from pathlib import Path

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.captions.listed import Listed, read_listed, stamp_of


def read(file: Path, content: str) -> Listed:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return read_listed(file)


def said(listed: Listed) -> dict[str, list[str]]:
    return {entry.names[0]: entry.captions for entry in listed.entries}


def test_every_layout_of_training_is_read_without_its_pictures(tmp_path: Path) -> None:
    expected = {"a.jpg": ["one dog", "two dogs"], "b.jpg": ["a cat"]}
    rows = [(name, text) for name, texts in expected.items() for text in texts]
    csv = "image,caption\n" + "".join(f"{name},{text}\n" for name, text in rows)
    assert said(read(tmp_path / "c.csv", csv)) == expected
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
    assert said(read(tmp_path / "c.jsonl", "\n".join(lines))) == expected
    images = [
        {"filename": name, "split": "train", "sentences": [{"raw": text} for text in texts]}
        for name, texts in expected.items()
    ]
    assert said(read(tmp_path / "d.json", json.dumps({"images": images}))) == expected
    tokens = "a.jpg#0\tone dog\na.jpg#1\ttwo dogs\nb.jpg#0\ta cat\n"
    assert said(read(tmp_path / "f.token", tokens)) == expected


def test_captions_are_composed_on_one_line_and_kept_once(tmp_path: Path) -> None:
    content = 'image,caption\na.jpg," a cafe\u0301\n at  night "\na.jpg,a caf\u00e9 at night\n'
    assert said(read(tmp_path / "c.csv", content)) == {"a.jpg": ["a caf\u00e9 at night"]}


def test_an_empty_caption_says_that_there_is_none(tmp_path: Path) -> None:
    listed = read(tmp_path / "c.csv", "image,caption\na.jpg,\nb.jpg,  \nb.jpg,a cat\n")
    assert said(listed) == {"a.jpg": [], "b.jpg": ["a cat"]}
    assert listed.problems == ()


def test_broken_rows_are_problems_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_bytes(
        b"image,caption\na.jpg,one,two\n,nameless\nb.jpg,\xff\nc.jpg,a\0b\nd.jpg,a dog\n"
    )
    listed = read_listed(file)
    assert said(listed) == {"d.jpg": ["a dog"]}
    assert [str(problem).removeprefix(f"{file}:") for problem in listed.problems] == [
        "2: 3 cell(s) where the header has 2; quote captions that hold ','",
        "3: no image name",
        "4: bytes that are not UTF-8",
        "5: a NUL character; is this a text file?",
    ]


def test_a_folder_is_read_whole_whatever_its_splits(tmp_path: Path) -> None:
    read(tmp_path / "data" / "captions_train.csv", "image,caption\na.jpg,a dog\n")
    read(tmp_path / "data" / "captions_dev.csv", "image,caption\nb.jpg,a cat\n")
    listed = read_listed(tmp_path / "data")
    assert said(listed) == {"a.jpg": ["a dog"], "b.jpg": ["a cat"]}


def test_a_picture_is_looked_for_beside_the_file_before_elsewhere(tmp_path: Path) -> None:
    (entry,) = read(tmp_path / "c.csv", "image,caption\na.jpg,a dog\n").entries
    places = list(entry.candidates([Path("/photos")]))
    assert places[:2] == [tmp_path / "a.jpg", tmp_path / "images" / "a.jpg"]
    assert places[-1] == Path("/photos/a.jpg")


def test_a_decomposed_name_is_looked_for_composed_too(tmp_path: Path) -> None:
    (entry,) = read(tmp_path / "c.csv", "image,caption\ncafe\u0301.jpg,a dog\n").entries
    assert tmp_path / "caf\u00e9.jpg" in list(entry.candidates())


def test_a_stamp_changes_with_the_file_and_is_empty_without_it(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    first = read(file, "image,caption\na.jpg,a dog\n")
    assert stamp_of(file) == first.stamp != ""
    os.utime(file, ns=(1, 1))
    assert stamp_of(file) != first.stamp
    file.unlink()
    assert stamp_of(file) == ""


@pytest.mark.parametrize("name", ["absent.csv", "notes.md"])
def test_what_is_no_file_of_captions_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.md").write_text("a note")
    with pytest.raises(DataError, match="accepted are"):
        read_listed(tmp_path / name)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(DataError, match="cannot read"):
        read_listed(tmp_path / "shut")
