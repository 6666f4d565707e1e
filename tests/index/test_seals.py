"""Damage that SQLite does not see: rows of small tables, lost rows, lost commits."""

import os
import shutil
import zlib
from pathlib import Path

import pytest
from tests.index.conftest import (
    OTHER,
    SPACE,
    behind,
    fill,
    one_hot,
    picture,
    prepared,
)

from mmsearch.core import Modality
from mmsearch.errors import UnsoundLibraryError
from mmsearch.index import database, watermark
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, MovedRow, RootKind, TouchedRow

IMAGE = Modality.IMAGE


@pytest.fixture
def library(catalog: Catalog, directory: Path) -> Path:
    """Return a closed library of five pictures, a sentence and a failure."""
    fill(catalog, 5)
    catalog.set_setting("model:x", "mini")
    catalog.close()
    return directory


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE library SET revision = revision - 1",
        "UPDATE library SET space_id = NULL",
        "UPDATE spaces SET dim = 5",
        "UPDATE spaces SET digest = 'ab'",
        "UPDATE roots SET path = CAST('/photo3' AS BLOB)",
        "UPDATE settings SET value = 'mino'",
        "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'items'",
        "UPDATE tallies SET rows = 4",
        "DELETE FROM tallies",
        "UPDATE item_tallies SET rows = 4",
        "INSERT INTO settings VALUES ('a', 'b')",
        "DROP INDEX items_root",
    ],
)
def test_a_changed_row_of_a_small_table_is_noticed_at_once(library: Path, statement: str) -> None:
    behind(library, statement)
    for write in (False, True):
        with pytest.raises(UnsoundLibraryError, match=r"is damaged .*mmsearch repair"):
            Catalog.open(library, write=write)


def test_a_reader_that_is_open_notices_as_well(library: Path) -> None:
    with Catalog.open(library) as reader:
        behind(library, "UPDATE library SET revision = 0")
        with pytest.raises(UnsoundLibraryError, match="library"), reader.snapshot():
            pass


@pytest.mark.parametrize(
    "change",
    [
        "path = CAST('/photos/9' AS BLOB)",
        "size = 11",
        "mtime_ns = 1001",
        "digest = zeroblob(32)",
        "digest = 3",
        "root_id = NULL",
        "crc = NULL",
    ],
)
def test_a_changed_item_is_no_answer(library: Path, change: str) -> None:
    behind(library, f"UPDATE items SET {change} WHERE id = 2")
    with Catalog.open(library) as catalog:
        assert set(catalog.items([1, 3])) == {1, 3}
        with pytest.raises(UnsoundLibraryError, match="row of item 2 does not match"):
            catalog.items([1, 2])
        with pytest.raises(UnsoundLibraryError, match="row of item 2 does not match"):
            catalog.known_files(1)


def test_a_damaged_item_cannot_be_given_a_new_checksum_by_a_move_or_a_touch(library: Path) -> None:
    behind(library, "UPDATE items SET digest = zeroblob(32) WHERE id = 2")
    with Catalog.open(library, write=True) as catalog:
        for batch in (
            Batch(touched=(TouchedRow(2, 5),)),
            Batch(moved=(MovedRow(2, b"/photos/new", 1, 5),)),
        ):
            with pytest.raises(UnsoundLibraryError, match="row of item 2"):
                catalog.commit(batch)


def test_moved_and_touched_items_have_right_checksums(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        moved = MovedRow(1, b"/photos/1", 1, 7)  # over another one
        catalog.commit(Batch(moved=(moved,), touched=(TouchedRow(3, 9),)))
        known = catalog.known_files(1)
        assert (known[b"/photos/1"].id, known[b"/photos/1"].mtime_ns) == (1, 7)
        assert known[b"/photos/2"].mtime_ns == 9
        assert catalog.counts().images == 4


def test_a_text_that_is_not_utf8_is_damage(library: Path) -> None:
    behind(library, "UPDATE items SET text = CAST(x'61ff' AS TEXT) WHERE text IS NOT NULL")
    with Catalog.open(library) as catalog, pytest.raises(UnsoundLibraryError, match="UTF-8"):
        catalog.items([6])


def test_a_changed_failure_is_noticed(library: Path) -> None:
    behind(library, "UPDATE failures SET reason = 'no pictura'")
    with Catalog.open(library) as catalog, pytest.raises(UnsoundLibraryError, match="failure"):
        catalog.failures()


def test_a_scan_that_misses_a_row_is_no_answer(library: Path) -> None:
    behind(library, "DELETE FROM vectors_1_image WHERE item_id = 4")
    with (
        Catalog.open(library) as catalog,
        pytest.raises(UnsoundLibraryError, match="4 rows of the image vectors"),
    ):
        catalog.all_vectors(SPACE, IMAGE)


def test_changes_that_are_missing_are_no_answer(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(gone=(1,)))
    for statement in (
        "UPDATE vectors_1_image SET revision = 0 WHERE item_id = 4",
        "DELETE FROM removals",
    ):
        behind(library, statement)
        with (
            Catalog.open(library) as catalog,
            pytest.raises(UnsoundLibraryError, match="vectors were found instead"),
            catalog.snapshot(),
        ):
            catalog.vector_table(SPACE, IMAGE).changed(0)


def test_a_vector_without_its_item_is_damage_not_a_shorter_list(library: Path) -> None:
    behind(library, "DELETE FROM items WHERE id = 2")
    with Catalog.open(library) as catalog:
        assert set(catalog.found_items(SPACE, [1, 99])) == {1}
        with pytest.raises(UnsoundLibraryError, match="item 2 has a vector and no row"):
            catalog.found_items(SPACE, [1, 2])


def test_tallies_follow_every_kind_of_change(catalog: Catalog) -> None:
    def tally() -> tuple[object, ...]:
        return tuple(
            catalog.rows("SELECT * FROM tallies WHERE space_id = 1 AND modality = 'image'")[0]
        )

    catalog.commit(Batch(files=tuple(picture(f"/photos/{n}", one_hot(n)) for n in range(4))))
    assert tally() == (1, "image", 4, 10, 0, 4, 10, 0, 0)
    catalog.commit(Batch(files=(picture("/photos/0", one_hot(1), content="new"),)))
    assert tally() == (1, "image", 4, 10, 0, 4, 10, 0, 0)
    catalog.commit(Batch(gone=(2,)))
    assert tally() == (1, "image", 3, 8, 0, 3, 8, 1, 2)
    catalog.set_space(OTHER)
    catalog.commit(Batch(files=(picture("/photos/0", one_hot(1, 3), content="newer"),)))
    assert tally() == (1, "image", 2, 7, 0, 2, 7, 2, 3)
    assert catalog.rows("SELECT * FROM item_tallies WHERE modality = 'image'") == [("image", 3, 8)]


def test_a_lost_write_ahead_log_is_noticed(
    catalog: Catalog, directory: Path, tmp_path: Path
) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.commit(Batch(files=(picture("/photos/b", one_hot(1)),)))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (database.FILE, watermark.NAME):
        (copy / name).write_bytes((directory / name).read_bytes())
    for write in (False, True):
        with pytest.raises(UnsoundLibraryError, match="write-ahead log is lost"):
            Catalog.open(copy, write=write)
    (copy / watermark.NAME).unlink()  # then nobody can know
    with Catalog.open(copy) as opened:
        assert opened.counts().images == 1


@pytest.mark.parametrize("content", [b"", b"x" * 29, b"00000000000000000009 00000000\n"])
def test_a_damaged_note_of_commits_is_not_believed(library: Path, content: bytes) -> None:
    (library / watermark.NAME).write_bytes(content)
    with Catalog.open(library) as catalog:
        assert catalog.counts().images == 5


def test_an_emptied_catalog_is_no_empty_library(library: Path) -> None:
    for size in (1, 0):
        os.truncate(library / database.FILE, size)
        with pytest.raises(UnsoundLibraryError, match="is damaged"):
            Catalog.exists(library)
        with pytest.raises(UnsoundLibraryError, match="is damaged"):
            Catalog.open(library, write=True)


def test_nested_transactions_are_sealed_once(catalog: Catalog) -> None:
    before = catalog.rows("SELECT commits FROM library")[0][0]
    with catalog.transaction():
        catalog.set_setting("a", "b")
        catalog.add_root("/more", RootKind.FOLDER)
    assert catalog.rows("SELECT commits FROM library")[0][0] == before + 1


def test_another_librarys_catalog_is_noticed(library: Path, tmp_path: Path) -> None:
    with prepared(tmp_path / "other") as other:
        for _ in range(20):  # more commits than the library has
            fill(other, 1)
    shutil.copy(tmp_path / "other" / database.FILE, library / database.FILE)
    for write in (False, True):
        with pytest.raises(UnsoundLibraryError, match="it is another library's: its id is"):
            Catalog.open(library, write=write)


def test_a_copy_of_the_whole_folder_is_the_same_library(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path / "copy")
    with Catalog.open(tmp_path / "copy", write=True) as catalog:
        assert catalog.counts().images == 5
        assert catalog.setting(watermark.SETTING) == read(library).library


def test_a_library_of_an_older_version_gets_an_id_with_its_next_commit(library: Path) -> None:
    before = read(library)
    behind(
        library,
        "DELETE FROM settings WHERE key = 'library'",
        """DELETE FROM seals WHERE name = 'settings' AND row = '["library"]'""",
    )
    number = b"%020d" % before.commits
    (library / watermark.NAME).write_bytes(number + b" %08x\n" % zlib.crc32(number))
    assert read(library) == watermark.Mark(before.commits)
    with Catalog.open(library) as catalog:
        assert catalog.counts().images == 5
    with Catalog.open(library, write=True) as catalog:
        catalog.set_setting("a", "b")
        assert catalog.setting(watermark.SETTING) == read(library).library != before.library


def read(library: Path) -> watermark.Mark:
    mark = watermark.read(library)
    assert mark is not None
    return mark
