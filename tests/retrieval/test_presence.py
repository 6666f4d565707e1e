"""Mount points with something in them: unmounted drives, emptied folders, other file systems."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Query, TextTerm
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import RootKind
from mmsearch.retrieval.forget import find
from mmsearch.retrieval.ingest import ingest
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.online import offline_ids
from mmsearch.retrieval.presence import filesystem, is_same_place, note_place, stands
from mmsearch.retrieval.prune import prune, survey
from mmsearch.retrieval.roots import settle


@pytest.fixture
def kept(drive: Path, tmp_path: Path) -> Iterator[Path]:
    """A second place at which the drive's content is mounted."""
    keep = tmp_path / "keep"
    keep.mkdir()
    subprocess.run(["mount", "--bind", drive, keep], check=True)
    yield keep
    subprocess.run(["umount", keep], check=False)


def unmount(drive: Path) -> None:
    """Unmount, and leave a picture and a note in the mount point."""
    subprocess.run(["umount", drive], check=True)
    draw(drive / "stray.png", BLUE, (20, 20))
    (drive / "READ ME.txt").write_text("mount the drive here\n", encoding="utf-8")


def found(library: Library, *, online: bool) -> list[str]:
    hits = library.search(Query((TextTerm("red"),), 10, None, online))
    return [Path(hit.item.path or "").name for hit in hits]


def test_a_drive_is_unmounted_although_a_visible_file_lies_in_its_mount_point(
    library: Library, encoder: FakeEncoder, drive: Path, kept: Path, tmp_path: Path
) -> None:
    for name, colour in {"red": RED, "sub/green": GREEN}.items():
        draw(drive / f"{name}.png", colour)
    home = draw(tmp_path / "home" / "blue.png", BLUE).parent
    library.add([drive, home])
    ids = {hit.item.path: hit.item.id for hit in library.search("red")}
    unmount(drive)
    assert found(library, online=True) == ["blue.png"]  # no run has noticed
    for _ in range(2):
        report = library.refresh()
        assert report.as_dict() == counts(unchanged=1, offline=2)
        assert report.offline_roots == [drive]
        assert found(library, online=True) == ["blue.png"]
        assert found(library, online=False)[0] == "red.png"
    (holding,) = find(library.catalog, [drive / "red.png"])
    assert holding.comes_back

    subprocess.run(["mount", "--bind", kept, drive], check=True)
    assert found(library, online=True)[0] == "red.png"
    assert library.refresh().as_dict() == counts(unchanged=3)
    assert {hit.item.path: hit.item.id for hit in library.search("red")} == ids
    assert encoder.images_seen == 3


def test_a_copy_at_home_takes_nothing_from_an_unmounted_drive(
    library: Library, drive: Path, kept: Path, tmp_path: Path
) -> None:
    for name, colour in {"red": RED, "green": GREEN}.items():
        draw(drive / f"{name}.png", colour)
    library.add(drive)
    unmount(drive)
    draw(tmp_path / "home" / "red.png", RED)
    assert library.add(tmp_path / "home").as_dict() == counts(new=1)
    subprocess.run(["mount", "--bind", kept, drive], check=True)
    assert library.refresh().as_dict() == counts(unchanged=3)


def test_a_drive_that_is_mounted_elsewhere_has_moved(
    library: Library, encoder: FakeEncoder, drive: Path, kept: Path
) -> None:
    draw(drive / "sub" / "red.png", RED)
    draw(drive / "green.png", GREEN)
    library.add(drive)
    unmount(drive)
    assert library.add(kept).as_dict() == counts(moved=2)
    assert encoder.images_seen == 2


def test_prune_removes_what_a_stray_file_stands_in_the_place_of(
    catalog: Catalog, encoder: FakeEncoder, drive: Path
) -> None:
    draw(drive / "red.png", RED)
    ingest(catalog, encoder, [drive])
    unmount(drive)
    leftovers = survey(catalog)
    assert [absent.root.path for absent in leftovers.absent] == [str(drive)]
    assert prune(catalog, leftovers)
    assert (catalog.counts().items, catalog.roots()) == (0, [])
    assert catalog.rows("SELECT key FROM settings WHERE key LIKE 'filesystem:%'") == []
    assert ingest(catalog, encoder, [drive]).as_dict() == counts(new=1, encoded=1)


# Other file systems without mounting: what was noted is made to differ


@pytest.fixture
def folder(tmp_path: Path, catalog: Catalog, encoder: FakeEncoder) -> Path:
    """An indexed folder of a red and a green picture, noted on a file system that is not there."""
    for name, colour in {"red": RED, "green": GREEN}.items():
        draw(tmp_path / "folder" / f"{name}.png", colour)
    ingest(catalog, encoder, [tmp_path / "folder"])
    catalog.set_setting("filesystem:1", "another one")
    return tmp_path / "folder"


def test_one_known_picture_is_enough_to_recognise_a_folder(
    catalog: Catalog, encoder: FakeEncoder, folder: Path
) -> None:
    (folder / "red.png").unlink()
    assert ingest(catalog, encoder, []).as_dict() == counts(gone=1, unchanged=1)
    (root,) = catalog.roots()
    assert is_same_place(catalog, root)


def test_a_folder_all_of_whose_pictures_were_renamed_is_recognised_by_their_content(
    catalog: Catalog, encoder: FakeEncoder, folder: Path
) -> None:
    (folder / "red.png").rename(folder / "a.png")
    (folder / "green.png").rename(folder / "b.png")
    assert ingest(catalog, encoder, []).as_dict() == counts(moved=2)
    (root,) = catalog.roots()
    assert stands(catalog, root)


@pytest.mark.parametrize("noted", ["this one", "another one", "none, by an older version"])
def test_pictures_that_all_gave_way_to_others_are_gone_from_the_same_file_system_alone(
    catalog: Catalog, encoder: FakeEncoder, folder: Path, noted: str
) -> None:
    (root,) = catalog.roots()
    if noted == "this one":
        note_place(catalog, root.id, root.raw)
    elif noted != "another one":
        with catalog.transaction() as db:
            db.execute("DELETE FROM settings")
    for file in folder.iterdir():
        file.unlink()
    draw(folder / "blue.png", BLUE)
    report = ingest(catalog, encoder, [])
    if noted == "this one":
        assert report.as_dict() == counts(new=1, gone=2, encoded=1)
    else:
        assert report.as_dict() == counts(offline=2)
        assert len(offline_ids(catalog)) == 2


def test_a_folder_inside_another_one_is_looked_at_by_itself(
    catalog: Catalog, encoder: FakeEncoder, folder: Path
) -> None:
    draw(folder.parent / "blue.png", BLUE)
    assert ingest(catalog, encoder, [folder.parent]).as_dict() == counts(
        new=1, unchanged=2, encoded=1
    )
    (root, _) = catalog.roots()
    assert is_same_place(catalog, root)
    catalog.set_setting("filesystem:1", "another one")
    for file in folder.iterdir():
        file.unlink()
    draw(folder / "stray.png", BLUE, (30, 30))
    for _ in range(2):  # the stray picture must not vouch for the others
        assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=1, offline=2)


def test_a_drive_that_goes_away_during_the_scan_is_noticed(
    catalog: Catalog, encoder: FakeEncoder, folder: Path
) -> None:
    raw = os.fsencode(folder)
    places = settle(catalog, [raw])
    assert places.unmounted() == []
    places.filesystems[raw] = "another one"
    assert places.unmounted() == [raw]
    assert filesystem(raw + b"/none") == ""
    assert catalog.roots()[0].kind is RootKind.FOLDER
