"""One row of numbers a picture, on disk, found by the picture's content."""

import os
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import InputError

BUSY_SECONDS: Final = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    digest TEXT PRIMARY KEY, row INTEGER NOT NULL UNIQUE, crc INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells cheaply that a file is as it was: size in bytes, time of change."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, its content's hex SHA-256, and the row computed of it (None: there already)."""

    path: Path
    stamp: Stamp
    digest: str
    row: NDArray[Any] | None


class RowCache:
    """Rows of one shape and dtype: `KEY.rows`, one after the other, and an index in SQLite.

    Rows are added in one transaction with their checksums; what a killed process left behind is
    overwritten. A row whose checksum differs is forgotten, an index that SQLite cannot read is
    begun anew; `warnings` says so. Several processes may share a cache.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, ...], dtype: type) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.warnings: list[str] = []
        self._rows_file, self._index_file = folder / f"{key}.rows", folder / f"{key}.sqlite"
        self._row_bytes = int(np.prod(shape)) * self.dtype.itemsize
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index = self._open()
        except OSError as error:
            raise InputError(f"cannot write the cache {folder}: {error.strerror}") from error
        except sqlite3.OperationalError as error:
            raise InputError(f"cannot write the cache {folder}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._index.close()

    def known_files(self) -> dict[bytes, tuple[Stamp, str]]:
        """Return stamp and digest of every file seen, by path."""
        found = self._index.execute("SELECT path, size, mtime_ns, digest FROM files")
        return {path: (Stamp(size, mtime_ns), digest) for path, size, mtime_ns, digest in found}

    def rows(self) -> dict[str, int]:
        """Return the row number of every digest; rows that are damaged are forgotten."""
        found = self._index.execute("SELECT digest, row, crc FROM rows ORDER BY row").fetchall()
        stored = self.array()
        whole = {
            digest: row
            for digest, row, crc in found
            if row < len(stored) and zlib.crc32(stored[row].tobytes()) == crc
        }
        lost = [(digest,) for digest, _, _ in found if digest not in whole]
        if lost:
            self._index.execute("BEGIN IMMEDIATE")
            self._index.executemany("DELETE FROM rows WHERE digest = ?", lost)
            self._index.execute("COMMIT")
            self.warnings.append(
                f"{len(lost)} damaged rows in the cache {self._rows_file}; computed again"
            )
        return whole

    def array(self) -> NDArray[Any]:
        """Return all rows (n, *shape), memory-mapped, read-only, damaged ones included."""
        size = self._rows_file.stat().st_size if self._rows_file.exists() else 0
        count = size // self._row_bytes
        if count == 0:
            return np.empty((0, *self.shape), self.dtype)
        return np.memmap(self._rows_file, self.dtype, mode="r", shape=(count, *self.shape))

    def add(self, entries: Iterable[Entry]) -> None:
        """Remember files, and the rows of those that bring one, all or nothing.

        Raises InputError when the disk does not take them.
        """
        entries = list(entries)
        self._index.execute("BEGIN IMMEDIATE")
        try:
            self._append(_fresh(entries, self._stored(entries)))
            self._index.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                [
                    (os.fsencode(entry.path), entry.stamp.size, entry.stamp.mtime_ns, entry.digest)
                    for entry in entries
                ],
            )
            self._index.execute("COMMIT")
        except BaseException as error:
            if self._index.in_transaction:
                self._index.execute("ROLLBACK")
            if isinstance(error, OSError | sqlite3.OperationalError):
                raise InputError(f"cannot write the cache {self._rows_file}: {error}") from error
            raise

    def _append(self, entries: Sequence[Entry]) -> None:
        (last,) = self._index.execute("SELECT max(row) FROM rows").fetchone()
        first = 0 if last is None else last + 1
        mode = "r+b" if self._rows_file.exists() else "w+b"
        with self._rows_file.open(mode) as file:
            file.seek(first * self._row_bytes)
            for number, entry in enumerate(entries, start=first):
                row = np.ascontiguousarray(entry.row, self.dtype)
                if row.shape != self.shape:
                    raise ValueError(f"a row of shape {row.shape} in a cache of {self.shape}")
                data = row.tobytes()
                file.write(data)
                self._index.execute(
                    "INSERT INTO rows VALUES (?, ?, ?)", (entry.digest, number, zlib.crc32(data))
                )

    def _stored(self, entries: Sequence[Entry]) -> set[str]:
        return {
            entry.digest
            for entry in entries
            if self._index.execute(
                "SELECT 1 FROM rows WHERE digest = ?", (entry.digest,)
            ).fetchone()
        }

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.warnings.append(f"the cache {self._index_file} is damaged ({error}); begun anew")
            for suffix in ("", "-journal"):
                Path(f"{self._index_file}{suffix}").unlink(missing_ok=True)
            self._rows_file.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._index_file, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            index.executescript(_SCHEMA)
            (verdict,) = index.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            index.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            index.close()
            raise
        return index


def _fresh(entries: Sequence[Entry], stored: set[str]) -> list[Entry]:
    """Return the entries that bring a row of a digest not stored yet, each digest once."""
    by_digest = {
        entry.digest: entry
        for entry in reversed(entries)
        if entry.row is not None and entry.digest not in stored
    }
    return list(reversed(by_digest.values()))
