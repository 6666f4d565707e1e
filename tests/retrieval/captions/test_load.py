import json
from pathlib import Path

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import DataFormat, load_captions


def captions(path: Path, image: str, text: str, file: str = "captions.csv") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    target = path / file
    target.write_text(f"image,caption\n{image},{text}\n")
    return target


def test_images_are_looked_up_beside_the_csv_then_in_images(tmp_path: Path) -> None:
    captions(tmp_path, "a.jpg", "x")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    assert load_captions(tmp_path).splits["all"][0].path == tmp_path / "images" / "a.jpg"
    (tmp_path / "a.jpg").touch()
    assert load_captions(tmp_path).splits["all"][0].path == tmp_path / "a.jpg"


def test_a_given_image_folder_comes_first_and_may_lie_elsewhere(tmp_path: Path) -> None:
    captions(tmp_path / "data", "sub/a.jpg", "x")
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "sub" / "a.jpg").touch()
    data = load_captions(tmp_path / "data", images=photos)
    assert data.splits["all"][0].path == photos / "sub" / "a.jpg"


def test_an_absolute_image_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    captions(tmp_path / "data", str(tmp_path / "a.jpg"), "x")
    assert load_captions(tmp_path / "data").splits["all"][0].path == tmp_path / "a.jpg"


def test_a_decomposed_file_name_is_found_by_its_composed_spelling(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301.jpg").touch()
    captions(tmp_path, "caf\u00e9.jpg", "x")
    assert load_captions(tmp_path).splits["all"][0].path.exists()


def test_a_missing_image_folder_is_an_error(tmp_path: Path) -> None:
    captions(tmp_path, "a.jpg", "x")
    with pytest.raises(DataError, match=r"image folder .*nowhere does not exist"):
        load_captions(tmp_path, images=tmp_path / "nowhere")


def test_a_file_may_be_given_and_its_name_may_give_the_split(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    named = captions(tmp_path, "a.jpg", "x", file="captions_val.csv")
    assert list(load_captions(named).splits) == ["dev"]
    plain = captions(tmp_path, "a.jpg", "x", file="mine.csv")
    assert list(load_captions(plain).splits) == ["all"]


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("captions.txt", "image,caption\na.jpg,x\n", DataFormat.CSV),
        ("labels.csv", "image,caption\na.jpg,x\n", DataFormat.CSV),
        ("captions.tsv", "image\tcaption\na.jpg\tx\n", DataFormat.CSV),
        ("pairs.jsonl", '{"image": "a.jpg", "text": "x"}', DataFormat.JSONL),
        ("x.token", "a.jpg#0\tx\n", DataFormat.FLICKR),
    ],
)
def test_other_file_names_are_recognised(
    tmp_path: Path, file: str, content: str, kind: DataFormat
) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / file).write_text(content)
    for data in (load_captions(tmp_path), load_captions(tmp_path / file)):
        assert data.format is kind
        assert data.splits["all"][0].captions == ("x",)


def test_a_text_file_is_recognised_by_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "tokens.txt").write_text("a.jpg#0\tx\n")
    assert load_captions(tmp_path / "tokens.txt").format is DataFormat.FLICKR
    (tmp_path / "table.txt").write_text("image,caption\na.jpg,x\n")
    assert load_captions(tmp_path / "table.txt").format is DataFormat.CSV


def test_of_two_layouts_one_is_read_and_the_other_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    captions(tmp_path, "a.jpg", "from the table")
    entry = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "from the JSON"}]}
    (tmp_path / "dataset.json").write_text(json.dumps({"images": [entry]}))
    data = load_captions(tmp_path)
    assert data.splits["all"][0].captions == ("from the table",)
    assert "dataset.json (karpathy) is not read" in data.warnings[0]
    asked = load_captions(tmp_path, format=DataFormat.KARPATHY)
    assert asked.splits["test"][0].captions == ("from the JSON",)
    assert asked.warnings == ()


def test_a_caption_on_different_images_of_two_splits_is_a_warning_with_its_count(
    tmp_path: Path,
) -> None:
    for split, image, text in (("train", "a.jpg", "A dog"), ("dev", "b.jpg", "A dog")):
        (tmp_path / image).touch()
        captions(tmp_path, image, text, file=f"captions_{split}.csv")
    assert load_captions(tmp_path).warnings == (
        "1 caption(s) stand in both train and dev on different images, such as 'A dog'",
    )


def test_an_image_in_two_splits_warns_once_and_its_captions_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for split in ("train", "dev"):
        captions(tmp_path, "a.jpg", "A dog", file=f"captions_{split}.csv")
    assert load_captions(tmp_path).warnings == (
        "1 image(s) stand in both train and dev, such as a.jpg: figures on dev will be too good",
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [("absent", "does not exist"), ("empty", "holds no captions"), ("x.bin", "no known layout")],
)
def test_data_of_no_layout_is_an_error_that_lists_the_layouts(
    tmp_path: Path, place: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").touch()
    with pytest.raises(DataError, match=said) as error:
        load_captions(tmp_path / place)
    for word in ("captions_{train,dev,test}.csv", "metadata.jsonl", "dataset_*.json", "*.token"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wanted_layout_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    captions(tmp_path, "a.jpg", "x")
    with pytest.raises(DataError, match="holds no captions in the jsonl layout"):
        load_captions(tmp_path, format=DataFormat.JSONL)


@pytest.mark.shared_data
def test_flickr8k_loads_whole(shared_data: Path) -> None:
    data = load_captions(shared_data / "flickr8k")
    assert {
        split: (len(images), sum(len(image.captions) for image in images))
        for split, images in data.splits.items()
    } == {"train": (6000, 30000), "dev": (1000, 5000)}
    assert data.problems == ()
