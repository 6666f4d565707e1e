"""Opening a catalog: absent, half-made, damaged, foreign, newer, read-only."""

import sqlite3
from itertools import count
from pathlib import Path

import pytest
from tests.index.conftest import SPACE, one_hot, picture

from mmsearch.core import Modality
from mmsearch.errors import InputError, LibraryBusyError, UnsoundLibraryError
from mmsearch.index import database, watermark
from mmsearch.index.catalog import Catalog
from mmsearch.index.migrations import migrations
from mmsearch.index.rows import Batch


def change(directory: Path, *statements: str) -> None:
    """Run SQL on a library behind the catalog's back."""
    connection = sqlite3.connect(directory / database.FILE)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def library(catalog: Catalog, directory: Path) -> Path:
    """Return a closed library of two pictures."""
    catalog.commit(
        Batch(files=(picture("/photos/a", one_hot(0)), picture("/photos/b", one_hot(1))))
    )
    catalog.close()
    return directory


def test_an_absent_library_does_not_exist(directory: Path) -> None:
    assert not Catalog.exists(directory)
    with pytest.raises(InputError, match="run `mmsearch index PATH` first"):
        Catalog.open(directory)


def test_a_file_in_place_of_the_folder_is_no_library(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert not Catalog.exists(file)
    with pytest.raises(InputError, match="cannot make the library"):
        Catalog.open(file, write=True)


def test_a_library_that_is_made_while_it_is_looked_at_is_not_damaged(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    database.connect_writer(directory).close()
    change(directory, "PRAGMA journal_mode = WAL")
    plain = database._has_tables

    def made_first(connection: sqlite3.Connection) -> bool:
        monkeypatch.undo()
        with Catalog.open(directory, write=True) as writer:
            writer.set_space(SPACE)
        return plain(connection)

    monkeypatch.setattr(database, "_has_tables", made_first)
    assert not Catalog.exists(directory)
    assert Catalog.exists(directory)


def test_a_library_whose_first_commit_comes_while_it_is_looked_at_has_lost_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    database.connect_writer(directory).close()
    plain = watermark.noted_commits

    def noted(library: Path) -> int:
        if next(looks) == 1:  # the second look, after that for a lost catalog
            with Catalog.open(directory, write=True) as writer:
                writer.set_space(SPACE)
        return plain(library)

    looks = count()
    monkeypatch.setattr(watermark, "noted_commits", noted)
    assert Catalog.exists(directory)


def test_a_half_made_library_counts_as_none_and_is_finished_by_a_writer(directory: Path) -> None:
    directory.mkdir()
    (directory / database.FILE).touch()
    assert not Catalog.exists(directory)
    change(directory, f"PRAGMA application_id = {database.APPLICATION_ID}")
    assert not Catalog.exists(directory)
    with pytest.raises(InputError, match="no library"):
        Catalog.open(directory)
    with Catalog.open(directory, write=True):
        assert Catalog.exists(directory)


@pytest.mark.parametrize("write", [False, True], ids=["reading", "writing"])
def test_a_file_that_is_no_database_is_refused(library: Path, write: bool) -> None:
    (library / database.FILE).write_bytes(b"not a database, certainly not. " * 2000)
    with pytest.raises(UnsoundLibraryError, match=r"is damaged .* `mmsearch repair`"):
        Catalog.open(library, write=write)
    with pytest.raises(UnsoundLibraryError, match="is damaged"):
        Catalog.exists(library)


def test_a_truncated_catalog_is_refused(library: Path) -> None:
    file = library / database.FILE
    file.write_bytes(file.read_bytes()[: 3 * database.PAGE_SIZE])
    with pytest.raises(UnsoundLibraryError, match="is damaged"), Catalog.open(library) as catalog:
        catalog.items([1])


def test_a_flipped_bit_in_a_vector_is_noticed(library: Path) -> None:
    file = library / database.FILE
    content = file.read_bytes()
    stored = one_hot(1).astype("<f2").tobytes()
    assert content.count(stored) == 1
    file.write_bytes(content.replace(stored, b"\0\0\1" + stored[3:]))
    with (
        Catalog.open(library) as catalog,
        pytest.raises(UnsoundLibraryError, match="vector of item 2 does not match its checksum"),
    ):
        catalog.all_vectors(SPACE, Modality.IMAGE)


def test_another_programs_database_is_refused(directory: Path) -> None:
    directory.mkdir()
    change(directory, "CREATE TABLE notes (text)")
    for write in (False, True):
        with pytest.raises(UnsoundLibraryError, match="is not a catalog of mmsearch"):
            Catalog.open(directory, write=write)


def test_a_newer_schema_is_refused_with_an_instruction(library: Path) -> None:
    change(
        library,
        "INSERT INTO _sqlite_migrations VALUES (99, 'mmsearch', 'more', '2030')",
        "PRAGMA user_version = 99",
    )
    for write in (False, True):
        with pytest.raises(UnsoundLibraryError, match=r"schema 99.*upgrade mmsearch"):
            Catalog.open(library, write=write)


def test_every_migration_has_its_number(catalog: Catalog) -> None:
    names = [row[0] for row in catalog.rows("SELECT name FROM _sqlite_migrations ORDER BY id")]
    assert names == ["create_tables", "guard_rows", "describe_items"]
    assert len(names) == database.SCHEMA_VERSION
    assert catalog.rows("PRAGMA user_version") == [(database.SCHEMA_VERSION,)]
    assert migrations.name == "mmsearch"


def test_opening_again_migrates_nothing(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        assert len(catalog.rows("SELECT * FROM _sqlite_migrations")) == database.SCHEMA_VERSION
        assert catalog.counts().images == 2


def test_a_reader_says_what_it_cannot_read(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.0)
    other = sqlite3.connect(library / database.FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(LibraryBusyError, match="in use"):
            Catalog.open(library)
    finally:
        other.close()


def test_read_only_media_are_opened_as_unchanging(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.read_mode(library) == "mode=rw"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert database.read_mode(library) == "mode=ro&immutable=1"
    with Catalog.open(library) as catalog:
        assert catalog.counts().images == 2
        names = sorted(path.name for path in library.iterdir())
        assert names == ["catalog.commits", "catalog.sqlite", "writer.lock"]
    (library / f"{database.FILE}-wal").write_bytes(b"pending")
    assert database.read_mode(library) == "mode=ro"


def test_a_killed_writers_log_on_read_only_media_is_advised_about(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (library / f"{database.FILE}-wal").write_bytes(b"pending")
    monkeypatch.setattr("os.access", lambda *_: False)
    cannot = sqlite3.OperationalError("unable to open database file")
    cannot.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    with (
        pytest.raises(InputError, match="copy the whole folder to where it can"),
        database.explained(library),
    ):
        raise cannot


def test_a_reader_without_the_right_to_write_follows_a_writer(
    catalog: Catalog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with Catalog.open(directory) as reader:
        catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
        assert reader.counts().images == 1


def test_a_full_disk_is_reported_and_keeps_what_was_committed(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    pages = catalog.rows("PRAGMA page_count")[0][0]
    catalog.rows(f"PRAGMA max_page_count = {pages}")
    many = tuple(picture(f"/photos/{n}", one_hot(0)) for n in range(2000))
    with pytest.raises(InputError, match="no space left"):
        catalog.commit(Batch(files=many))
    assert catalog.counts().images == 1
    assert catalog.revision == 1


def test_programming_errors_keep_their_name(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        catalog.rows("SELECT * FROM absent")
