import json
from pathlib import Path

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import DataFormat, load_captions


def folder(path: Path, *images: object, name: str = "dataset_flickr8k.json") -> Path:
    (path / "images").mkdir(exist_ok=True)
    for image in ("a.jpg", "b.jpg", "c.jpg"):
        (path / "images" / image).touch()
    (path / name).write_text(json.dumps({"dataset": "flickr8k", "images": images}))
    return path


def entry(name: str, split: str, *raws: str) -> dict[str, object]:
    sentences = [{"raw": raw, "tokens": raw.split()} for raw in raws]
    return {"filename": name, "split": split, "sentences": sentences}


def test_sentences_are_captions_and_restval_is_train(tmp_path: Path) -> None:
    data = load_captions(
        folder(
            tmp_path,
            entry("a.jpg", "train", "one", "two "),
            entry("b.jpg", "restval", "three"),
            entry("c.jpg", "val", "four"),
        )
    )
    assert data.format is DataFormat.KARPATHY
    assert [image.captions for image in data.splits["train"]] == [("one", "two"), ("three",)]
    assert [image.captions for image in data.splits["dev"]] == [("four",)]
    assert data.splits["dev"][0].path == tmp_path / "images" / "c.jpg"


def test_the_folder_of_the_image_is_looked_in(tmp_path: Path) -> None:
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "a.jpg").touch()
    image = {**entry("a.jpg", "test", "one"), "filepath": "val2014"}
    data = load_captions(folder(tmp_path, image, {**entry("b.jpg", "test", "x"), "filepath": "?"}))
    assert [image.path.relative_to(tmp_path).as_posix() for image in data.splits["test"]] == [
        "val2014/a.jpg",
        "images/b.jpg",
    ]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("b.jpg", "not an object with filename, split and sentences"),
        ({"split": "train", "sentences": [{"raw": "x"}]}, "no filename"),
        ({"filename": "b.jpg", "split": "train"}, "no sentences for b.jpg"),
        ({"filename": "b.jpg", "split": "train", "sentences": []}, "no sentences for b.jpg"),
        (
            {"filename": "b.jpg", "split": "train", "sentences": [{"tokens": ["x"]}]},
            "a sentence of b.jpg has no raw text",
        ),
        ({"filename": "b.jpg", "split": "train", "sentences": ["x"]}, "a sentence of b.jpg has"),
        (entry("b.jpg", "train", ""), "the caption of b.jpg is empty"),
        (entry("z.jpg", "train", "x"), "image z.jpg is missing"),
        ({"filename": "b.jpg", "sentences": [{"raw": "x"}]}, "no split for b.jpg"),
    ],
)
def test_a_broken_image_is_reported_with_its_place(
    tmp_path: Path, broken: object, reason: str
) -> None:
    data = load_captions(folder(tmp_path, entry("a.jpg", "train", "kept"), broken))
    (problem,) = data.problems
    assert problem.where == f"{tmp_path / 'dataset_flickr8k.json'}:images[1]"
    assert problem.reason.startswith(reason)
    assert [image.captions for image in data.splits["train"]] == [("kept",)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"images":\n [}', r"dataset.json:2: not JSON"),
        (b"\xff\xfe\xff", r"dataset.json is not JSON"),
        (b'{"annotations": []}', 'has no list of "images"'),
        (b"[]", 'has no list of "images"'),
        (b'{"images": []}', "no usable caption; it is empty"),
    ],
)
def test_a_file_that_is_not_this_json_is_an_error(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_captions(tmp_path)


def test_several_data_sets_ask_for_one(tmp_path: Path) -> None:
    folder(tmp_path, entry("a.jpg", "train", "one"))
    folder(tmp_path, entry("a.jpg", "train", "two"), name="dataset_coco.json")
    with pytest.raises(DataError, match=r"2 data sets .*dataset_coco.json.*give one of these"):
        load_captions(tmp_path)
    data = load_captions(tmp_path / "dataset_coco.json")
    assert data.splits["train"][0].captions == ("two",)
