"""A library to write to, and rows to write."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsearch.core import Space, Vectors
from mmsearch.index import database, schema_3, seals
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, FileRow, RootKind, TextRow

SPACE = Space("toy", 4, "aa" * 32)
OTHER = Space("other", 3, "bb" * 32)


def digest(content: str | bytes) -> str:
    """Return the hex SHA-256 of some content."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()


def one_hot(place: int, dim: int = 4) -> NDArray[np.float32]:
    """Return the unit row whose `place` is 1."""
    return np.asarray(np.eye(dim, dtype=np.float32)[place % dim])


def unit_rows(count: int, dim: int, seed: int = 0) -> Vectors:
    """Return random unit rows."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def picture(
    path: str | bytes, vector: NDArray[np.float32], *, content: str = "", root_id: int = 1
) -> FileRow:
    """Return the row of a picture; its content is its path unless said otherwise."""
    raw = path.encode() if isinstance(path, str) else path
    return FileRow(raw, root_id, 10, 1_000, digest(content or raw), vector)


def sentence(text: str, vector: NDArray[np.float32], root_id: int | None = None) -> TextRow:
    """Return the row of a sentence."""
    return TextRow(text, root_id, digest(text), vector)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where the library is, or will be."""
    return tmp_path / "library"


@pytest.fixture
def catalog(directory: Path) -> Iterator[Catalog]:
    """Return a catalog open for writing, with a space and root 1 at /photos."""
    with prepared(directory) as opened:
        yield opened


@contextmanager
def prepared(directory: Path) -> Iterator[Catalog]:
    """Open a new catalog for writing, with a space and root 1 at /photos."""
    with Catalog.open(directory, write=True) as opened:
        opened.set_space(SPACE)
        opened.add_root("/photos", RootKind.FOLDER)
        yield opened


def fill(catalog: Catalog, pictures: int) -> None:
    """Add so many pictures, a sentence and a failure, in one commit."""
    rows = unit_rows(pictures, SPACE.dim)
    catalog.commit(
        Batch(
            files=tuple(picture(f"/photos/{n}", row) for n, row in enumerate(rows)),
            texts=(sentence("a dog", one_hot(1)),),
            failures=(Failure(b"/photos/bad", "no picture", 1, 2),),
        )
    )


def behind(directory: Path, *statements: str) -> None:
    """Change a library as a flipped bit would: without triggers, checksums and seals."""
    connection = sqlite3.connect(directory / database.FILE, isolation_level=None)
    dropped = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    triggers = dropped.fetchall()
    connection.execute("BEGIN")
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for _, sql in triggers:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.close()


def as_version_2(directory: Path) -> None:
    """Take from a closed library what the third version of the schema has added."""
    connection = sqlite3.connect(directory / database.FILE, isolation_level=None)
    connection.execute("BEGIN")
    for kind in ("trigger", "view", "table", "index"):
        for name, sql in connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = ?", (kind,)
        ).fetchall():
            if sql in schema_3.STATEMENTS:
                connection.execute(f"DROP {kind} IF EXISTS {name}")
    connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'describe_items'")
    seals.renew(connection)
    connection.execute("COMMIT")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
