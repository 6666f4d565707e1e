"""Check a catalog: the file, its tables, every row. Reads in one snapshot, stops nobody."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmsearch.core import Modality
from mmsearch.index import database, seals, watermark
from mmsearch.index.checking_attributes import check_attributes, check_words
from mmsearch.index.checksums import (
    FAILURE_COLUMNS,
    ITEM_COLUMNS,
    DamagedRowError,
    checked_item,
    row_checksum,
)
from mmsearch.index.findings import Finding, Remedy, error, notice
from mmsearch.index.schema import DECLARATIONS, expected_schema
from mmsearch.index.schema_3 import SHADOWS
from mmsearch.index.vectors import CHUNK, VectorTable, table_name

_MOST: Final = 20  # findings of one kind that are named one by one
_LENGTH: Final = 0.01  # float16 rounds a unit row by less
_INDEX_WORDS: Final = ("missing from index", "wrong # of entries", "non-unique entry", "FTS5 table")


@dataclass(frozen=True, slots=True)
class Source:
    """A catalog that is being checked. `quick`: without reading every row."""

    directory: Path
    connection: sqlite3.Connection
    quick: bool

    def spaces(self) -> list[tuple[int, int]]:
        """Return (id, dim) of every space."""
        return self.connection.execute("SELECT id, dim FROM spaces ORDER BY id").fetchall()

    def tables(self) -> Iterator[VectorTable]:
        """Yield every table of vectors."""
        for space_id, dim in self.spaces():
            for modality in Modality:
                yield VectorTable(self.connection, space_id, modality, dim)


Step = Callable[[Source], Iterable[Finding]]


def check_catalog(directory: Path, *, quick: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a library's catalog; nothing when it is sound.

    Raises InputError when it cannot be read for a reason outside of the library.
    """
    noted = watermark.read(directory)
    with closing(database.connect_unverified(directory)) as connection:
        source = Source(directory, connection, quick)
        try:
            connection.execute("BEGIN")
            version = database.schema_version(connection)
            source.spaces()
        except database.UNREADABLE as problem:
            yield from _guarded(_integrity, source)
            yield _failed(source, problem)
            return
        if version < database.SCHEMA_VERSION:
            yield from _guarded(_integrity, source)
            yield notice("an older mmsearch wrote it: no checksums yet", "run `mmsearch index`")
            return
        for step in _STEPS:
            yield from limited(_guarded(step, source))
        yield from _compare(source, noted)


def limited(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings and count the rest; the gravest remedy is kept."""
    remaining = iter(findings)
    yield from islice(remaining, _MOST)
    rest = list(remaining)
    if rest:
        gravest = next((f.remedy for f in rest if f.remedy is Remedy.RESCUE), rest[0].remedy)
        yield Finding(rest[0].level, f"and {len(rest):,} more of the kind", gravest, rest[0].advice)


def _guarded(step: Step, source: Source) -> Iterator[Finding]:
    """Run a step; where SQLite gives up, that is a finding."""
    try:
        yield from step(source)
    except DamagedRowError as problem:
        yield error(str(problem), Remedy.RESCUE)
    except TypeError as problem:  # a declaration is damaged, so that values are of another type
        yield error(f"the catalog holds values of a wrong type: {problem}", Remedy.RESCUE)
    except database.UNREADABLE as problem:
        yield _failed(source, problem)


def _failed(source: Source, problem: Exception) -> Finding:
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        with database.explained(source.directory):
            raise problem
    return error(f"the catalog cannot be read: {problem}", Remedy.RESCUE)


def _integrity(source: Source) -> Iterator[Finding]:
    """Let SQLite look at its b-trees."""
    pragma = "quick_check" if source.quick else "integrity_check"
    try:
        rows = source.connection.execute(f"PRAGMA {pragma}(100)").fetchall()
    except database.UNREADABLE as problem:
        yield _failed(source, problem)
        return
    for (line,) in rows:
        if line != "ok":
            remedy = Remedy.COUNT if any(w in line for w in _INDEX_WORDS) else Remedy.RESCUE
            yield error(f"the catalog's file: {line}", remedy)
    for table, row, parent, _ in source.connection.execute("PRAGMA foreign_key_check"):
        yield error(
            f"row {row} of {table} refers to a row of {parent} that is not there", Remedy.RESCUE
        )


def _schema(source: Source) -> Iterator[Finding]:
    """Compare tables, indexes and triggers with those of the version."""
    actual = dict(source.connection.execute(DECLARATIONS))
    expected = expected_schema(space_id for space_id, _ in source.spaces())
    for name, sql in expected.items():
        if actual.get(name) != sql:
            state = "is not as it should be" if name in actual else "is missing"
            yield error(f"{name} of the catalog's schema {state}", Remedy.RESCUE)
    tables = {name for (name,) in source.connection.execute("SELECT name FROM sqlite_master")}
    for name in sorted({*SHADOWS} - tables):
        yield error(f"{name} of the catalog's schema is missing", Remedy.RESCUE)
    for name in sorted(actual.keys() - expected.keys()):
        yield notice(f"{name} in the catalog was not made by mmsearch")


def _seals(source: Source) -> Iterator[Finding]:
    for table, row in seals.broken(source.connection):
        remedy = Remedy.COUNT if table in {"tallies", "item_tallies"} else Remedy.RESCUE
        yield error(f"row {row} of {table} does not match its checksum", remedy)


def _compare(source: Source, noted: watermark.Mark | None) -> Iterator[Finding]:
    try:
        now = watermark.mark_of(source.connection)
        watermark.compare(noted, now)
        if noted is None and now.commits:
            yield notice(
                f"{watermark.NAME} is missing or damaged: lost commits would not be noticed",
                "the next change of the library writes it",
            )
    except DamagedRowError as problem:
        yield error(f"the catalog is not the one that was written last: {problem}", Remedy.ACCEPT)
    except (*database.UNREADABLE, ValueError, TypeError):
        return  # found by the other steps


def _items(source: Source) -> Iterator[Finding]:
    """Read every item: its checksum, a sentence's digest, and the tallies."""
    if source.quick:
        return
    found = {modality.value: [0, 0] for modality in Modality}
    cursor = source.connection.execute(f"SELECT {ITEM_COLUMNS}, crc FROM items NOT INDEXED")
    for row in cursor:
        sums = found.setdefault(row[1], [0, 0])
        sums[0], sums[1] = sums[0] + 1, sums[1] + row[0]
        try:
            number, _, _, _, text, digest, _, _ = checked_item(row[:8], row[8])
        except DamagedRowError as problem:
            yield error(str(problem), Remedy.RESCUE)
            continue
        if text is not None and hashlib.sha256(text.encode()).digest() != digest:
            yield error(f"the digest of item {number} is not that of its text", Remedy.RESCUE)
    for modality, rows, id_sum in source.connection.execute("SELECT * FROM item_tallies"):
        if found.get(modality) != [rows, id_sum]:
            yield error(f"the tally of {modality} items is not their number", Remedy.COUNT)


def _failures(source: Source) -> Iterator[Finding]:
    for row in source.connection.execute(f"SELECT {FAILURE_COLUMNS}, crc FROM failures"):
        if row_checksum(row[:7]) != row[7]:
            yield error("the row of a failure does not match its checksum", Remedy.RESCUE)


def _vectors(source: Source) -> Iterator[Finding]:
    """Read every vector: checksum, width, values, length, tally; and compare with the items."""
    for table in source.tables():
        if not source.quick:
            yield from _rows(table)
        yield from _owners(table)


def _rows(table: VectorTable) -> Iterator[Finding]:
    count = id_sum = newer = short = 0
    tally = table.tally()
    for ids, revisions, vectors, problems in table.inspected(CHUNK):
        yield from (error(problem, Remedy.RESCUE) for problem in problems)
        count, id_sum = count + len(ids), id_sum + int(ids.sum())
        newer += int((revisions > tally.since).sum())
        if not problems:  # a damaged row counts as zeros
            lengths = np.linalg.norm(vectors, axis=1)
            short += int((np.abs(lengths - 1) > _LENGTH).sum())
    if (count, id_sum, newer) != (tally.rows, tally.id_sum, tally.newer):
        yield error(f"the tally of {table.name} is not its number of rows", Remedy.COUNT)
    if short:
        yield notice(f"{short:,} vectors of {table.name} are not of length one: the model's doing")


def _owners(table: VectorTable) -> Iterator[Finding]:
    orphans = table.connection.execute(
        f"SELECT item_id, modality FROM {table.name} LEFT JOIN items ON items.id = item_id "
        "WHERE modality IS NOT ? ORDER BY item_id",
        (table.modality.value,),
    )
    for number, modality in orphans:
        owner = "no item" if modality is None else f"an item of modality {modality}"
        yield error(f"vector {number} of {table.name} belongs to {owner}", Remedy.RESCUE)


def _attributes(source: Source) -> Iterator[Finding]:
    if not source.quick:
        yield from check_attributes(source.connection)


def _words(source: Source) -> Iterator[Finding]:
    yield from check_words(source.connection, quick=source.quick)


def _waiting(source: Source) -> Iterator[Finding]:
    """Count what has no vector in the current space."""
    rows: list[tuple[Any, ...]] = source.connection.execute(
        "SELECT space_id FROM library WHERE space_id IS NOT NULL"
    ).fetchall()
    for (space_id,) in rows:
        for modality in Modality:
            ((waiting,),) = source.connection.execute(
                "SELECT count(*) FROM items WHERE modality = ? AND NOT EXISTS (SELECT 1 FROM "
                f"{table_name(space_id, modality)} WHERE item_id = items.id) "
                "AND NOT EXISTS (SELECT 1 FROM failures WHERE failures.path = items.path)",
                (modality.value,),
            ).fetchall()
            if waiting:
                yield notice(
                    f"{waiting:,} {modality} items wait to be encoded", "run `mmsearch index`"
                )


_STEPS: Final[tuple[Step, ...]] = (
    _integrity,
    _schema,
    _seals,
    _items,
    _vectors,
    _failures,
    _attributes,
    _words,
    _waiting,
)
