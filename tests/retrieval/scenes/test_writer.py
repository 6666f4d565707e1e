"""The folder of pictures and caption files."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmsearch.errors import ConfigError
from mmsearch.retrieval.scenes import SceneOptions, Split, write_scenes

FEW = SceneOptions(train=12, dev=4, test=6, size=32, captions=3, seed=5)


def _rows(folder: Path, split: str) -> list[dict[str, str]]:
    with (folder / f"captions_{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
    }


def test_each_split_has_its_pictures_and_captions(tmp_path: Path) -> None:
    assert write_scenes(tmp_path, FEW) == {Split.TRAIN: 12, Split.DEV: 4, Split.TEST: 6}
    for split, count in (("train", 12), ("dev", 4), ("test", 6)):
        rows = _rows(tmp_path, split)
        assert len(rows) == 3 * count
        images = {row["image"] for row in rows}
        assert len(images) == count
        for image in images:
            with Image.open(tmp_path / image) as picture:
                assert picture.size == (32, 32)


def test_a_file_name_says_what_is_drawn(tmp_path: Path) -> None:
    write_scenes(tmp_path, FEW)
    for row in _rows(tmp_path, "test"):
        colours = set(Path(row["image"]).stem.replace("_", "-").split("-"))
        plain = {"red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown"}
        assert set(row["caption"].split()) & plain <= colours


def test_a_combination_of_the_test_file_names_is_in_no_training_file_name(tmp_path: Path) -> None:
    write_scenes(tmp_path, SceneOptions(train=200, dev=20, test=100, size=16))

    def combinations(split: str) -> set[tuple[str, ...]]:
        return {
            tuple(part.split("-")[1:])
            for path in (tmp_path / "images" / split).iterdir()
            for part in path.stem.split("_")
            if part.startswith(("small-", "large-"))
        }

    assert len(combinations("test")) == 16
    assert not combinations("test") & combinations("train")


def test_the_same_options_write_the_same_files(tmp_path: Path) -> None:
    write_scenes(tmp_path / "one", FEW)
    write_scenes(tmp_path / "two", FEW)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def test_more_training_scenes_leave_the_test_scenes_as_they_are(tmp_path: Path) -> None:
    write_scenes(tmp_path / "few", FEW)
    write_scenes(
        tmp_path / "more", SceneOptions(train=20, dev=4, test=6, size=32, captions=3, seed=5)
    )
    few, more = (_digests(tmp_path / name / "images" / "test") for name in ("few", "more"))
    assert few == more


def test_a_split_without_scenes_has_no_file(tmp_path: Path) -> None:
    assert write_scenes(tmp_path, SceneOptions(train=3, dev=0, test=0)) == {Split.TRAIN: 3}
    assert not (tmp_path / "captions_dev.csv").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"train": -1}, {"train": 0, "dev": 0, "test": 0}, {"size": 8}, {"captions": 0}, {"alone": 2}],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SceneOptions(**wrong)
