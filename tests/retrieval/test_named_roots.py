"""Places that were named inside what a scan passes over, and links into other roots."""

import os
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.forget import find, forget
from mmsearch.retrieval.ingest import IngestOptions, ingest, ingest_touched
from mmsearch.retrieval.paths import EVERYTHING, Filter, separate


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, colour in (("red", RED), ("sub/.own/green", GREEN), ("sub/deep/blue", BLUE)):
        draw(folder / f"{name}.png", colour)
    return folder


def names(catalog: Catalog, encoder: FakeEncoder) -> set[str]:
    ids, _ = catalog.all_vectors(encoder.space, Modality.IMAGE)
    return {Path(item.path or "").name for item in catalog.items(ids).values()}


def remove(catalog: Catalog, path: Path) -> None:
    assert forget(catalog, find(catalog, [path]))


@pytest.mark.parametrize("named", ["sub/.own", "sub/.own/green.png"])
def test_a_hidden_place_that_was_named_stays_in_the_library(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, named: str
) -> None:
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=2, encoded=2)
    assert ingest(catalog, encoder, [photos / named]).as_dict() == counts(new=1, encoded=1)
    for paths in ([], [photos], [photos / "sub"], [photos / named]):
        assert ingest(catalog, encoder, paths).new == 0
        assert names(catalog, encoder) == {"red.png", "green.png", "blue.png"}
    wanted = IngestOptions(hidden=True)
    assert ingest(catalog, encoder, [], wanted).as_dict() == counts(unchanged=3)
    (photos / "sub" / ".own" / "green.png").unlink()
    if named == "sub/.own":
        draw(photos / "sub" / ".own" / "other.png", (1, 2, 3))
        assert ingest(catalog, encoder, [photos]).as_dict() == counts(
            new=1, gone=1, unchanged=2, encoded=1
        )


def test_a_hidden_place_that_was_named_goes_offline_by_itself(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos, photos / "sub" / ".own"])
    (photos / "sub" / ".own").rename(photos.with_name("away"))
    report = ingest(catalog, encoder, [])
    assert report.as_dict() == counts(unchanged=2, offline=1)
    assert report.offline_roots == [photos / "sub" / ".own"]


@pytest.mark.parametrize("touched", ["sub", "sub/.own", "sub/.own/new.png", "sub/deep"])
def test_what_happens_around_a_hidden_place_takes_nothing_from_it(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, touched: str
) -> None:
    ingest(catalog, encoder, [photos, photos / "sub" / ".own"])
    draw(photos / "sub" / ".own" / "new.png", (9, 9, 9))
    report = ingest_touched(catalog, encoder, [os.fsencode(photos / touched)])
    assert (report.gone, report.offline) == (0, 0)
    assert report.new == (touched != "sub/deep")
    assert names(catalog, encoder) >= {"red.png", "green.png", "blue.png"}


def test_one_picture_of_a_forgotten_folder_comes_back_alone(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    draw(photos / "sub" / "deep" / "white.png", (255, 255, 255))
    ingest(catalog, encoder, [photos])
    remove(catalog, photos / "sub")
    assert ingest(catalog, encoder, [photos / "sub" / "deep" / "blue.png"]).new == 1
    draw(photos / "sub" / "later.png", (4, 4, 4))
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=2)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=2)
    assert names(catalog, encoder) == {"red.png", "blue.png"}
    remove(catalog, photos / "sub")
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=1)
    assert ingest(catalog, encoder, [photos / "sub"]).new == 3
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=4)


def test_links_into_another_root_give_no_second_items_in_any_order(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    album = tmp_path / "album"
    draw(album / "own.png", (7, 7, 7))
    (album / "all").symlink_to(photos)
    (album / "red.png").symlink_to(photos / "red.png")
    ingest(catalog, encoder, [photos])
    assert ingest(catalog, encoder, [album]).as_dict() == counts(new=1, encoded=1)
    assert ingest(catalog, encoder, [album]).as_dict() == counts(unchanged=1)
    touched = [os.fsencode(album / "red.png")]
    assert ingest_touched(catalog, encoder, touched).as_dict() == counts()
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=3)


def test_a_path_is_apart_when_what_lies_between_is_hidden_or_forgotten() -> None:
    paths = [b"/a", b"/a/b", b"/a/.c/d", b"/a/.c/d/e", b"/a/f", b"/g/.h"]
    assert separate(paths, EVERYTHING) == [b"/a", b"/a/.c/d", b"/g/.h"]
    assert separate(paths, Filter(hidden=True)) == [b"/a", b"/g/.h"]
    assert separate(paths, Filter(forgotten=frozenset({b"/a/f"}))) == [
        b"/a",
        b"/a/.c/d",
        b"/a/f",
        b"/g/.h",
    ]
