"""What must hold after every fault, read from the files with plain sqlite3 and NumPy.

`read_state` works on a copy of the catalog, so that looking at a library after a crash does
not mend it before mmsearch has seen it.
"""

import random
import re
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from mmsearch.cli import app
from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import Policy
from mmsearch.index.store import IndexStore

FILE: Final = "catalog.sqlite"
UNSOUND: Final = 3  # the exit code
_INDEX_FILE: Final = re.compile("error\tthe (image|text) index index/")


@dataclass(frozen=True, slots=True)
class Row:
    """An item with its vector's float16 bytes; `place` is its path or its text."""

    modality: str
    place: bytes
    digest: bytes
    vector: bytes


@dataclass(frozen=True, slots=True)
class State:
    """What a catalog holds: its items by id, the commit that wrote each one's vector."""

    revision: int = 0
    rows: Mapping[int, Row] = field(default_factory=dict)
    written: Mapping[int, int] = field(default_factory=dict)

    def places(self, modality: str) -> dict[bytes, Row]:
        """Return the items of a modality by path or text."""
        return {row.place: row for row in self.rows.values() if row.modality == modality}

    def ids(self, modality: str) -> dict[bytes, int]:
        """Return the ids of a modality by path or text."""
        return {row.place: number for number, row in self.rows.items() if row.modality == modality}


def read_state(library: Path) -> State:
    """Return what the catalog holds after SQLite's recovery; fail unless every item is whole."""
    with tempfile.TemporaryDirectory() as copy:
        for name in (FILE, f"{FILE}-wal", f"{FILE}-journal"):
            if (library / name).exists():
                shutil.copyfile(library / name, Path(copy, name))
        if not Path(copy, FILE).exists():
            return State()
        with closing(sqlite3.connect(Path(copy, FILE))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            if connection.execute("PRAGMA user_version").fetchone()[0] >= 3:
                _check_words(connection)
            return load(connection)


def _check_words(connection: sqlite3.Connection) -> None:
    """Fail unless the words are those of the items, and FTS5's index is that of the words."""
    for one, other in (("item_words", "words"), ("words", "item_words")):
        columns = ("name", "folder", "text", "caption", "label")
        casts = ", ".join(f"CAST({column} AS BLOB)" for column in columns)
        numbers = [{"words": "rowid", "item_words": "id"}[table] for table in (one, other)]
        assert not connection.execute(
            f"SELECT {numbers[0]}, {casts} FROM {one} "
            f"EXCEPT SELECT {numbers[1]}, {casts} FROM {other}"
        ).fetchall()
    connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")


def load(connection: sqlite3.Connection) -> State:
    """Return what an open catalog holds; fail unless every item is whole."""
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        return State()
    ((revision, space),) = connection.execute("SELECT revision, space_id FROM library").fetchall()
    items = connection.execute("SELECT id, modality, path, text, digest FROM items").fetchall()
    if space is None:
        assert items == [], "items without a space"
        return State(revision)
    vectors = {name: _vectors(connection, space, name) for name in ("image", "text")}
    rows, written = {}, {}
    for number, modality, path, text, digest in items:
        assert number in vectors[modality], f"item {number} has no vector"
        written[number], content = vectors[modality].pop(number)
        place = path if path is not None else text.encode()
        rows[number] = Row(modality, place, digest, content)
    assert not any(vectors.values()), f"vectors without an item: {vectors}"
    assert max(written.values(), default=0) <= revision, "a vector from a commit that never was"
    return State(revision, rows, written)


def _vectors(
    connection: sqlite3.Connection, space: int, modality: str
) -> dict[int, tuple[int, bytes]]:
    """Return (revision, bytes) by item id, each compared with its checksum."""
    table = f"vectors_{space}_{modality}"
    found = {}
    for number, revision, crc, content in connection.execute(
        f"SELECT item_id, revision, crc, vector FROM {table}"
    ):
        assert zlib.crc32(content, number) == crc, f"{table}: item {number} fails its checksum"
        found[number] = (revision, content)
    return found


def check_vectors(state: State, reference: Mapping[bytes, bytes]) -> None:
    """Compare every vector with that of an undisturbed library, by the content's digest."""
    for number, row in state.rows.items():
        assert reference[row.digest] == row.vector, f"item {number} has another's vector"


def check_search(library: Path, state: State, rng: random.Random, *, warns: bool = False) -> None:
    """Ask the library and compare with every vector of the state, for each modality.

    Opens the library as a reader does. `warns`: an index file may be missing or damaged.
    """
    with Catalog.open(library) as catalog:
        space = catalog.space()
        store = IndexStore(catalog, library, Policy(scan_below=0))  # through the files
        if space is None:
            assert not state.rows
            return
        for modality in Modality:
            ids, matrix = stacked(state, modality.value)
            generator = np.random.default_rng(rng.randrange(2**32))
            queries = generator.standard_normal((3, space.dim)).astype(np.float32)
            queries[0] = matrix[rng.randrange(len(ids))] if len(ids) else queries[0]
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
            k = rng.choice((1, 3, 10, 50))
            for query, found in zip(
                queries, store.search(space, modality, queries, k), strict=True
            ):
                expected = brute_force(ids, matrix, query, k)
                assert expected == list(
                    zip(found.ids.tolist(), found.scores.tolist(), strict=True)
                ), f"search differs from brute force for {modality}, k {k}"
        assert warns or store.warnings == [], store.warnings


def stacked(state: State, modality: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return ((n,) ids, (n, dim) float32 rows) of a modality, sorted by id."""
    ids = sorted(number for number, row in state.rows.items() if row.modality == modality)
    content = [np.frombuffer(state.rows[number].vector, dtype="<f2") for number in ids]
    matrix = np.array(content, dtype=np.float32).reshape(len(ids), -1 if ids else 0)
    return np.array(ids, dtype=np.int64), matrix


def brute_force(
    ids: NDArray[np.int64], matrix: NDArray[np.float32], query: NDArray[np.float32], k: int
) -> list[tuple[int, float]]:
    """Return the k best (id, cosine), ties by id."""
    if not len(ids):
        return []
    scores = (matrix.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[n]), float(scores[n])) for n in order]


def check_command(library: Path, *, warns: bool = False) -> None:
    """Run `mmsearch check` in this process: it must find the library sound.

    `warns`: it may find fault with index files, and with nothing else.
    """
    result = CliRunner().invoke(app, ["check", "--library", str(library)])
    errors = [line for line in result.stdout.splitlines() if line.startswith("error")]
    if warns and result.exit_code == UNSOUND and errors:
        errors = [line for line in errors if not _INDEX_FILE.match(line)]
        assert errors == [], errors
    else:
        assert result.exit_code == 0, f"check exits {result.exit_code}: {result.output}"


def check_tidy(library: Path) -> None:
    """Expect one whole file for each modality that has one, and nothing left over."""
    for folder in (library / "index").glob("*/*"):
        names = sorted(path.name for path in folder.iterdir() if path.suffix != ".damaged")
        assert len(names) <= 1, f"{folder} holds {names}"
        assert all(name.endswith(".faiss") for name in names), names
