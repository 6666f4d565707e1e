"""Folders of a library that are moved, renamed or not mounted, alone and inside one another."""

import os
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.ingest import ingest
from mmsearch.retrieval.paths import is_gone
from mmsearch.retrieval.presence import Presence, presence


@pytest.fixture
def places(tmp_path: Path, catalog: Catalog, encoder: FakeEncoder) -> Path:
    """A folder with the indexed folders `archive` (red, inner/green) and `new` (day/blue)."""
    draw(tmp_path / "archive" / "red.png", RED)
    draw(tmp_path / "archive" / "inner" / "green.png", GREEN)
    draw(tmp_path / "new" / "day" / "blue.png", BLUE)
    ingest(catalog, encoder, [tmp_path / "archive", tmp_path / "new"])
    return tmp_path


def paths(catalog: Catalog, encoder: FakeEncoder, folder: Path) -> dict[str, int]:
    """Return ids by path below a folder."""
    ids, _ = catalog.all_vectors(encoder.space, Modality.IMAGE)
    found = catalog.items(ids).values()
    return {str(Path(item.path or "").relative_to(folder)): item.id for item in found}


def test_a_root_that_is_moved_into_another_one_keeps_its_ids(
    catalog: Catalog, encoder: FakeEncoder, places: Path
) -> None:
    before = paths(catalog, encoder, places)
    (places / "new").rename(places / "archive" / "2024")
    report = ingest(catalog, encoder, [])
    assert report.as_dict() == counts(moved=1, unchanged=2)
    assert report.offline_roots == []
    after = paths(catalog, encoder, places)
    assert after["archive/2024/day/blue.png"] == before["new/day/blue.png"]
    assert encoder.images_seen == 3


def test_all_that_a_root_held_moves_into_another_one(
    catalog: Catalog, encoder: FakeEncoder, places: Path
) -> None:
    before = paths(catalog, encoder, places)
    (places / "new" / "day").rename(places / "archive" / "day")
    assert ingest(catalog, encoder, []).as_dict() == counts(moved=1, unchanged=2)
    after = paths(catalog, encoder, places)
    assert after["archive/day/blue.png"] == before["new/day/blue.png"]
    again = ingest(catalog, encoder, [])
    assert again.as_dict() == counts(unchanged=3)
    assert again.offline_roots == []  # it holds nothing any more


def test_a_root_inside_another_one_is_renamed_without_encoding(
    catalog: Catalog, encoder: FakeEncoder, places: Path
) -> None:
    ingest(catalog, encoder, [places / "archive" / "inner"])
    before = paths(catalog, encoder, places)
    (places / "archive" / "inner").rename(places / "archive" / "outer")
    assert ingest(catalog, encoder, []).as_dict() == counts(moved=1, unchanged=2)
    after = paths(catalog, encoder, places)
    assert after["archive/outer/green.png"] == before["archive/inner/green.png"]
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=3)


def test_a_copy_of_a_part_of_an_unmounted_root_takes_nothing_from_it(
    catalog: Catalog, encoder: FakeEncoder, places: Path
) -> None:
    draw(places / "new" / "day" / "white.png", (255, 255, 255))
    ingest(catalog, encoder, [])
    (places / "new").rename(places / "away")
    copy = places / "archive" / "blue.png"
    copy.write_bytes((places / "away" / "day" / "blue.png").read_bytes())
    report = ingest(catalog, encoder, [])
    assert report.as_dict() == counts(new=1, unchanged=2, offline=2)
    assert report.offline_roots == [places / "new"]


def test_a_file_that_was_named_and_moves_into_a_folder_is_not_offline(
    catalog: Catalog, encoder: FakeEncoder, places: Path
) -> None:
    single = draw(places / "white.png", (255, 255, 255))
    ingest(catalog, encoder, [single])
    single.rename(places / "archive" / "white.png")
    report = ingest(catalog, encoder, [])
    assert report.as_dict() == counts(moved=1, unchanged=3)
    assert report.offline_roots == []


@pytest.mark.parametrize("left", [".keep", ".DS_Store", ".mmsearchignore"])
def test_a_hidden_file_in_a_mount_point_does_not_make_it_mounted(
    catalog: Catalog, encoder: FakeEncoder, places: Path, left: str
) -> None:
    (places / "new").rename(places / "away")
    (places / "new").mkdir()
    (places / "new" / left).touch()
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=2, offline=1)
    assert ingest(catalog, encoder, [places / "new"]).as_dict() == counts(offline=1)


def test_hidden_folders_and_pictures_fill_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / ".trash").mkdir(parents=True)
    draw(tmp_path / "b" / ".hidden.png")
    assert presence(os.fsencode(tmp_path / "a")) is Presence.FOLDER
    assert presence(os.fsencode(tmp_path / "b")) is Presence.FOLDER


def test_what_cannot_be_looked_at_is_not_gone(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    assert is_gone(folder + b"/none")
    assert is_gone(os.fsencode(draw(tmp_path / "a.png")) + b"/below")
    assert not is_gone(folder + b"/a.png")
    assert not is_gone(folder + b"/" + b"n" * 300)  # too long a name: the system refuses to look
