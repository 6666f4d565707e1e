"""Vector tables: float16 rows of one space and modality, each with its checksum.

A table `vectors_<space id>_<modality>` holds `item_id`, the `revision` that wrote the row,
`crc` and `vector` (little-endian float16). SQLite does not notice a flipped bit inside a
value; the CRC-32 of the bytes, started from the item's id, does, and also a row that stands
under another item's id.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mmsearch.core import Ids, Modality, Vectors
from mmsearch.errors import ConfigError
from mmsearch.index.checksums import DamagedRowError
from mmsearch.index.tallies import Tally, read_tally

CHUNK = 4096
HALF = np.dtype("<f2")


Inspected: TypeAlias = tuple[Ids, Ids, Vectors, list[str]]


@dataclass(frozen=True, slots=True)
class VectorTable:
    """One table of vectors, read through an open connection."""

    connection: sqlite3.Connection
    space_id: int
    modality: Modality
    dim: int

    @property
    def name(self) -> str:
        """The table's name."""
        return table_name(self.space_id, self.modality)

    def count(self) -> int:
        """Return the number of rows, from the tally."""
        return self.tally().rows

    def tally(self) -> Tally:
        """Return how many rows there must be. Raises DamagedRowError when nothing says so."""
        return read_tally(self.connection, self.space_id, self.modality)

    def written_after(self, revision: int, most: int) -> int:
        """Return how many rows revisions after `revision` wrote, counting no further than `most`.

        From the index by revision, without reading a row.
        """
        query = f"SELECT count(*) FROM (SELECT 1 FROM {self.name} WHERE revision > ? LIMIT ?)"
        ((count,),) = self.connection.execute(query, (revision, most))
        return int(count)

    def find(self, ids: Iterable[int] | Ids) -> tuple[Ids, Vectors]:
        """Return the rows of those ids that have one, sorted by id."""
        rows = self.connection.execute(
            f"SELECT item_id, crc, vector FROM {self.name} WHERE item_id IN "
            "(SELECT value FROM json_each(?)) ORDER BY item_id",
            (id_list(ids),),
        )
        return unpack(rows.fetchall(), self.dim)

    def chunks(self, *, after: int = 0, size: int = CHUNK) -> Iterator[tuple[Ids, Vectors]]:
        """Yield the rows that revisions after `after` wrote, `size` at a time.

        All of them, sorted by id, when it is 0. Raises DamagedRowError when a row does not
        match its checksum, and at the end when some of all rows were missing.
        """
        chosen = "WHERE revision > ?" if after else "WHERE ? = 0"
        order = "revision, item_id" if after else "item_id"
        cursor = self.connection.execute(
            f"SELECT item_id, crc, vector FROM {self.name} {chosen} ORDER BY {order}", (after,)
        )
        count = id_sum = 0
        while rows := cursor.fetchmany(size):
            ids, vectors = unpack(rows, self.dim)
            count, id_sum = count + len(ids), id_sum + int(ids.sum())
            yield ids, vectors
        if not after:
            tally = self.tally()
            self._compare("rows", (count, id_sum), (tally.rows, tally.id_sum))

    def inspected(self, size: int = CHUNK) -> Iterator[Inspected]:
        """Yield (ids, revisions, vectors, problems) of all rows, `size` at a time.

        A row that does not match its checksum is a problem, and counts as a row of zeros.
        """
        cursor = self.connection.execute(
            f"SELECT item_id, crc, vector, revision FROM {self.name} NOT INDEXED"
        )
        while rows := cursor.fetchmany(size):
            problems = []
            vectors = np.zeros((len(rows), self.dim), dtype=np.float32)
            for place, row in enumerate(rows):
                try:
                    vectors[place] = unpack([row[:3]], self.dim)[1]
                except DamagedRowError as problem:
                    problems.append(str(problem))
            if not np.isfinite(vectors).all():
                problems.append(f"a vector of {self.name} holds values that are not finite")
            ids = np.array([row[0] for row in rows], dtype=np.int64)
            revisions = [row[3] if isinstance(row[3], int) else 0 for row in rows]
            yield ids, np.array(revisions, dtype=np.int64), vectors, problems

    def sample(self, count: int, generator: "np.random.Generator") -> Vectors:
        """Return up to `count` rows (n, dim) at random, without reading the others."""
        ids = np.array(self._ids(f"SELECT item_id FROM {self.name}"), dtype=np.int64)
        chosen = np.sort(generator.permutation(ids)[:count])
        rows = np.empty((len(chosen), self.dim), dtype=np.float32)
        for start in range(0, len(chosen), CHUNK):
            found, vectors = self.find(chosen[start : start + CHUNK].tolist())
            rows[start : start + len(found)] = vectors
        return rows

    def changed(self, revision: int) -> Ids:
        """Return the ids that revisions after that of the index file wrote or removed, sorted.

        Raises DamagedRowError when some of them are missing.
        """
        newer = self._ids(f"SELECT item_id FROM {self.name} WHERE revision > ?", revision)
        removed = self._ids(
            "SELECT item_id FROM removals WHERE space_id = ? AND modality = ? AND revision > ?",
            self.space_id,
            self.modality.value,
            revision,
        )
        tally = self.tally()
        if tally.since == revision:
            self._compare("newer rows", (len(newer), sum(newer)), (tally.newer, tally.newer_sum))
            self._compare(
                "removals", (len(removed), sum(removed)), (tally.removed, tally.removed_sum)
            )
        # np.unique would import numpy.ma, a tenth of the time of a query in a fresh process
        return np.array(sorted({*newer, *removed}), dtype=np.int64)

    def _ids(self, sql: str, *values: object) -> list[int]:
        return [row[0] for row in self.connection.execute(sql, values)]

    def _compare(self, what: str, found: tuple[int, int], expected: tuple[int, int]) -> None:
        if found != expected:
            raise DamagedRowError(
                f"{found[0]} {what} of the {self.modality} vectors were found instead of "
                f"{expected[0]}, or others than these"
            )


def table_name(space_id: int, modality: Modality) -> str:
    """Return the name of the table of a space and modality."""
    return f"vectors_{space_id}_{modality.value}"


def table_statements(space_id: int) -> list[str]:
    """Return the statements that make a space's tables."""
    statements = []
    for modality in Modality:
        name = table_name(space_id, modality)
        statements += [
            f"""CREATE TABLE {name} (
                item_id INTEGER PRIMARY KEY,
                revision INTEGER NOT NULL,
                crc INTEGER NOT NULL,
                vector BLOB NOT NULL
            )""",
            f"CREATE INDEX {name}_revision ON {name} (revision)",
        ]
    return statements


def id_list(ids: Iterable[int] | Ids) -> str:
    """Return ids as the JSON array that `json_each` takes: one parameter for any number."""
    if isinstance(ids, np.ndarray):
        return json.dumps(ids.tolist())
    return json.dumps([int(number) for number in ids])


def pack(item_id: int, vector: Vectors, dim: int) -> tuple[int, bytes]:
    """Return (crc, float16 bytes) of one float32 row.

    Raises ConfigError when it has another width than the space or a value that is not finite.
    """
    if vector.shape != (dim,):
        raise ConfigError(f"a vector of shape {vector.shape} does not fit a space of {dim}")
    with np.errstate(over="ignore"):
        half = np.asarray(vector, dtype=HALF)
    if not np.isfinite(half).all():
        raise ConfigError("a vector holds values that are not finite; check the model")
    content = half.tobytes()
    return checksum(item_id, content), content


def checksum(item_id: int, content: bytes) -> int:
    """Return the CRC-32 of a row's bytes, started from its id."""
    return zlib.crc32(content, item_id & 0xFFFFFFFF)


def unpack(rows: Sequence[tuple[int, int, bytes]], dim: int) -> tuple[Ids, Vectors]:
    """Return ((n,) ids, (n, dim) float32) of (id, crc, bytes) rows, in their order.

    Raises DamagedRowError when a row does not match its checksum or its width.
    """
    width = dim * HALF.itemsize
    for item_id, crc, content in rows:
        if (
            not (isinstance(content, bytes) and isinstance(item_id, int))
            or len(content) != width
            or checksum(item_id, content) != crc
        ):
            raise DamagedRowError(f"the vector of item {item_id} does not match its checksum")
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    half = np.frombuffer(b"".join(row[2] for row in rows), dtype=HALF)
    return ids, half.reshape(len(rows), dim).astype(np.float32)
