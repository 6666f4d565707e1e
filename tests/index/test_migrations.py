"""Libraries of older versions are brought to this one, their vectors untouched."""

import sqlite3
import zlib
from pathlib import Path

import pytest
from tests.index.conftest import SPACE, as_version_2, digest, fill, prepared, unit_rows

from mmsearch.core import Modality
from mmsearch.errors import MMSearchError, UnsoundLibraryError
from mmsearch.index import attributes, database
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.migrations import TABLES
from mmsearch.index.rows import Batch

VECTORS_1 = """CREATE TABLE vectors_1_{0} (
                item_id INTEGER PRIMARY KEY,
                revision INTEGER NOT NULL,
                crc INTEGER NOT NULL,
                vector BLOB NOT NULL
            )"""
INDEX_1 = "CREATE INDEX vectors_1_{0}_revision ON vectors_1_{0} (revision)"


@pytest.fixture
def old(directory: Path) -> Path:
    """Return a library of version 1: three pictures, a sentence, a failure, a removal."""
    directory.mkdir()
    connection = sqlite3.connect(directory / database.FILE, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {database.PAGE_SIZE}")
    connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(
        "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, "
        "name TEXT, applied_at TEXT)"
    )
    connection.execute(
        "CREATE UNIQUE INDEX idx__sqlite_migrations_migration_set_name "
        "ON _sqlite_migrations (migration_set, name)"
    )
    connection.execute(
        "INSERT INTO _sqlite_migrations VALUES (1, 'mmsearch', 'create_tables', '2026-01-01')"
    )
    connection.execute("INSERT INTO spaces VALUES (1, 'toy', 4, ?)", (SPACE.digest,))
    for modality in Modality:
        connection.execute(VECTORS_1.format(modality))
        connection.execute(INDEX_1.format(modality))
    connection.execute("UPDATE library SET revision = 3, space_id = 1")
    connection.execute("INSERT INTO roots VALUES (1, CAST('/photos' AS BLOB), 'folder', 0)")
    for number, row in enumerate(unit_rows(3, 4), start=1):
        path = b"/photos/%d" % number
        connection.execute(
            "INSERT INTO items VALUES (?, 'image', 1, ?, NULL, ?, 10, 1000)",
            (number, path, bytes.fromhex(digest(path))),
        )
        _vector(connection, number, "image", row.astype("<f2").tobytes())
    connection.execute(
        "INSERT INTO items VALUES (7, 'text', NULL, NULL, 'a dog', ?, 5, 0)",
        (bytes.fromhex(digest("a dog")),),
    )
    _vector(connection, 7, "text", unit_rows(1, 4, seed=9)[0].astype("<f2").tobytes())
    connection.execute(
        "INSERT INTO failures VALUES (CAST('/photos/bad' AS BLOB), 1, 'no picture', 3, 4, NULL, "
        "'2026-01-01T00:00:00+00:00')"
    )
    connection.execute("INSERT INTO removals VALUES (1, 'image', 2, 5)")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    return directory


def _vector(connection: sqlite3.Connection, number: int, modality: str, content: bytes) -> None:
    connection.execute(
        f"INSERT INTO vectors_1_{modality} VALUES (?, ?, ?, ?)",
        (number, number, zlib.crc32(content, number), content),
    )


def vectors(directory: Path) -> list[tuple[int, int, int, bytes]]:
    """Return every row of every table of vectors, byte for byte."""
    connection = sqlite3.connect(directory / database.FILE)
    rows = []
    for modality in Modality:
        rows += connection.execute(f"SELECT * FROM vectors_1_{modality}").fetchall()
    connection.close()
    return rows


def test_a_library_of_version_1_is_migrated_with_its_vectors_byte_for_byte(old: Path) -> None:
    before = vectors(old)
    with pytest.raises(UnsoundLibraryError, match="older mmsearch"):
        Catalog.open(old)
    with Catalog.open(old, write=True) as catalog:
        assert catalog.counts().images == 3
        assert catalog.counts().texts == 1
        assert [failure.reason for failure in catalog.failures()] == ["no picture"]
        assert catalog.items([7])[7].text == "a dog"
        assert len(catalog.known_files(1)) == 3
    assert vectors(old) == before
    assert list(check_catalog(old)) == []


def test_the_migration_counts_what_the_first_version_wrote(old: Path) -> None:
    with Catalog.open(old, write=True) as catalog:
        assert catalog.rows("SELECT * FROM item_tallies ORDER BY modality") == [
            ("image", 3, 6),
            ("text", 1, 7),
        ]
        assert catalog.rows("SELECT * FROM tallies ORDER BY modality") == [
            (1, "image", 3, 6, 0, 3, 6, 1, 5),
            (1, "text", 1, 7, 0, 1, 7, 0, 0),
        ]


def test_a_migrated_schema_is_that_of_a_new_library(old: Path, tmp_path: Path) -> None:
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%sqlite%' ORDER BY name"
    with (
        Catalog.open(old, write=True) as migrated,
        Catalog.open(tmp_path / "new", write=True) as new,
    ):
        new.set_space(SPACE)
        assert migrated.rows(query) == new.rows(query)


def test_a_migration_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmsearch.index.migrations.seals.renew", stop)
    with pytest.raises(KeyboardInterrupt):
        Catalog.open(old, write=True)
    monkeypatch.undo()
    assert vectors(old)
    connection = sqlite3.connect(old / database.FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone() == (1,)
    connection.close()
    with Catalog.open(old, write=True) as catalog:
        catalog.commit(Batch(gone=(1,)))
        assert catalog.counts().images == 2


@pytest.fixture
def second(directory: Path) -> Path:
    """Return a library of version 2: three pictures, a sentence, a failure."""
    with prepared(directory) as catalog:
        fill(catalog, 3)
    as_version_2(directory)
    return directory


def test_a_library_of_version_2_is_migrated_with_its_vectors_byte_for_byte(second: Path) -> None:
    before = vectors(second)
    with pytest.raises(UnsoundLibraryError, match="older mmsearch"):
        Catalog.open(second)
    with Catalog.open(second, write=True) as catalog:
        assert catalog.counts().items == 4
        assert [known.id for known in attributes.without_photo(catalog)] == [1, 2, 3]
    assert vectors(second) == before
    assert list(check_catalog(second)) == []


@pytest.mark.parametrize("version", ["old", "second"])
def test_the_words_of_an_older_library_are_found(
    version: str, request: pytest.FixtureRequest
) -> None:
    with Catalog.open(request.getfixturevalue(version), write=True) as catalog:
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
        assert catalog.rows(query, "folder:photos") == [(1,), (2,), (3,)]
        assert len(catalog.rows(query, "text:dog")) == 1
        catalog.commit(Batch(gone=(1,)))
        assert catalog.rows(query, "folder:photos") == [(2,), (3,)]


def test_a_migrated_schema_of_version_2_is_that_of_a_new_library(
    second: Path, tmp_path: Path
) -> None:
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%sqlite%' ORDER BY name"
    with (
        Catalog.open(second, write=True) as migrated,
        Catalog.open(tmp_path / "new", write=True) as new,
    ):
        new.set_space(SPACE)
        assert migrated.rows(query) == new.rows(query)


def test_a_python_without_fts5_is_told(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "CREATE VIRTUAL TABLE words USING fts5_that_is_not_there(name)"
    monkeypatch.setattr("mmsearch.index.schema_3.STATEMENTS", (missing,))
    monkeypatch.setattr(database, "NO_FTS5", "no such module: fts5_that_is_not_there")
    with pytest.raises(MMSearchError, match="SQLite lacks FTS5; use another Python"):
        Catalog.open(second, write=True)
    monkeypatch.undo()
    with Catalog.open(second, write=True) as catalog:
        assert catalog.counts().images == 3
