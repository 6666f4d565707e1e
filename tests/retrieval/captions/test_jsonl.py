from pathlib import Path

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import DataFormat, load_captions


def folder(path: Path, *lines: str | bytes, file: str = "metadata.jsonl") -> Path:
    target = path / file
    target.parent.mkdir(exist_ok=True)
    for image in ("a.jpg", "b.jpg"):
        (target.parent / image).touch()
    joined = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    target.write_bytes(joined + b"\n")
    return path


@pytest.mark.parametrize(
    "line",
    [
        '{"file_name": "a.jpg", "text": "A dog"}',
        '{"image": "a.jpg", "caption": "A dog"}',
        '{"filename": "a.jpg", "captions": ["A dog"], "licence": 3}',
        '\ufeff{"image": "a.jpg", "text": ["  A dog "]}\r',
    ],
)
def test_the_usual_keys_are_understood(tmp_path: Path, line: str) -> None:
    data = load_captions(folder(tmp_path, line))
    assert data.format is DataFormat.JSONL
    (image,) = data.splits["all"]
    assert image.path == tmp_path / "a.jpg"
    assert image.captions == ("A dog",)
    assert data.problems == ()


def test_a_list_gives_several_captions_and_lines_of_one_image_add_up(tmp_path: Path) -> None:
    data = load_captions(
        folder(
            tmp_path,
            '{"file_name": "a.jpg", "text": ["one", "two", "Ha\u0308lfte"]}',
            "",
            '{"file_name": "a.jpg", "text": "four"}',
        )
    )
    assert data.splits["all"][0].captions == ("one", "two", "H\u00e4lfte", "four")


def test_a_split_key_defines_the_splits(tmp_path: Path) -> None:
    data = load_captions(
        folder(
            tmp_path,
            '{"file_name": "a.jpg", "text": "one", "split": "train"}',
            '{"file_name": "b.jpg", "text": "two", "split": "val"}',
        )
    )
    assert {split: len(images) for split, images in data.splits.items()} == {"train": 1, "dev": 1}


def test_folders_named_by_split_hold_their_own_metadata(tmp_path: Path) -> None:
    folder(tmp_path, '{"file_name": "a.jpg", "text": "one"}', file="train/metadata.jsonl")
    folder(tmp_path, '{"file_name": "a.jpg", "text": "two"}', file="validation/metadata.jsonl")
    data = load_captions(tmp_path)
    assert data.splits["train"][0].path == tmp_path / "train" / "a.jpg"
    assert data.splits["dev"][0].path == tmp_path / "validation" / "a.jpg"
    assert data.warnings == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"file_name": "a.jpg", "text":', "not JSON (Expecting value"),
        ("[" * 100_000, "not JSON ("),
        ('["a.jpg", "A dog"]', "not a JSON object with file_name and text"),
        ('{"text": "A dog"}', "no image name; the keys are file_name and text"),
        ('{"file_name": 3, "text": "A dog"}', "no image name; the keys are file_name and text"),
        ('{"file_name": "", "text": "A dog"}', "no image name"),
        ('{"file_name": "a.jpg"}', "no caption text for a.jpg; the keys are file_name and text"),
        ('{"file_name": "a.jpg", "text": [7]}', "no caption text for a.jpg"),
        ('{"file_name": "a.jpg", "text": []}', "no caption for a.jpg"),
        ('{"file_name": "a.jpg", "text": " "}', "the caption of a.jpg is empty"),
        ('{"file_name": "z.jpg", "text": "x"}', "image z.jpg is missing"),
        ('{"file_name": "a.jpg", "text": "x", "split": 1}', "split must be a name, not 1"),
        ('{"file_name": "a.jpg", "text": "\\ud800"}', "bytes that are not UTF-8"),
        (b'{"file_name": "a.jpg", "text": "caf\xe9"}', "bytes that are not UTF-8"),
    ],
)
def test_a_broken_line_is_reported_and_costs_only_itself(
    tmp_path: Path, line: str | bytes, reason: str
) -> None:
    data = load_captions(folder(tmp_path, '{"file_name": "b.jpg", "text": "kept"}', line))
    (problem,) = data.problems
    assert problem.where == f"{tmp_path / 'metadata.jsonl'}:2"
    assert problem.reason.startswith(reason)
    assert [image.captions for image in data.splits["all"]] == [("kept",)]


def test_only_broken_lines_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 problem\(s\), the first: .*metadata.jsonl:1: not JSON"):
        load_captions(folder(tmp_path, "image,caption"))
