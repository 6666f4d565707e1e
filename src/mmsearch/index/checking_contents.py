"""Compare what an index file holds with the catalog: its ids, and a sample of its vectors."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from mmsearch.core import Ids, Modality
from mmsearch.errors import MMSearchError
from mmsearch.index import database
from mmsearch.index.ann import FlatIndex, IvfIndex, open_index
from mmsearch.index.checksums import DamagedRowError
from mmsearch.index.findings import Finding, Remedy, error
from mmsearch.index.policy import IndexKind, Parameters
from mmsearch.index.records import Record
from mmsearch.index.vectors import VectorTable

_SAMPLE: Final = 256  # rows of a file whose vectors are compared
_ROUNDING: Final = 1e-3
_NEWEST: Final = (
    "SELECT file FROM generations WHERE space_id = ? AND modality = ? ORDER BY number DESC LIMIT 1"
)


def check_contents(directory: Path, record: Record) -> Iterator[Finding]:
    """Yield what differs. The file's checksum has been compared; it may be opened.

    What is wrong with the catalog itself is not said here.
    """
    try:
        index = _opened(directory, record)
    except (OSError, MMSearchError, ValueError, TypeError) as problem:
        yield error(f"{record.name} cannot be used: {problem}", Remedy.INDEX)
        return
    try:
        with closing(database.connect_unverified(directory)) as connection:
            connection.execute("BEGIN")
            what = _difference(connection, record, index)
    except (*database.UNREADABLE, DamagedRowError, MMSearchError, ValueError, TypeError):
        return
    if what:
        yield error(f"{record.name} holds other {what} than the catalog", Remedy.INDEX)


def _opened(directory: Path, record: Record) -> FlatIndex | IvfIndex:
    kind = IndexKind(record.kind)
    parameters = None if kind is IndexKind.FLAT else Parameters.from_json(record.parameters)
    return open_index(directory / record.file, kind, parameters)


def _difference(connection: sqlite3.Connection, record: Record, index: FlatIndex | IvfIndex) -> str:
    newest = connection.execute(_NEWEST, (record.space_id, record.modality)).fetchone()
    if newest != (record.file,):  # a writer has replaced it meanwhile
        return ""
    query = "SELECT dim FROM spaces WHERE id = ?"
    ((dim,),) = connection.execute(query, (record.space_id,)).fetchall()
    table = VectorTable(connection, record.space_id, Modality(record.modality), dim)
    if index.dim != dim or len(index) != record.rows or not _holds(table, record, index.ids()):
        return "items"
    if isinstance(index, FlatIndex) and not _agrees(table, record, index):
        return "vectors"
    return ""


def _holds(table: VectorTable, record: Record, ids: Ids) -> bool:
    """Return whether a file has every row of its revision, and no others but removed ones."""
    rows = f"SELECT item_id FROM {table.name} WHERE revision"
    old = _ids(table, f"{rows} <= ?", record.revision)
    newer = _ids(table, f"{rows} > ?", record.revision)
    removed = _ids(
        table,
        "SELECT item_id FROM removals WHERE space_id = ? AND modality = ? AND revision > ?",
        record.space_id,
        record.modality,
        record.revision,
    )
    known = np.concatenate([old, newer, removed])
    unique = len(np.unique(ids)) == len(ids)
    return unique and bool(np.isin(old, ids).all()) and bool(np.isin(ids, known).all())


def _ids(table: VectorTable, query: str, *values: object) -> Ids:
    rows = table.connection.execute(query, values)
    return np.fromiter((row[0] for row in rows), dtype=np.int64)


def _agrees(table: VectorTable, record: Record, index: FlatIndex) -> bool:
    """Return whether a sample of the file's vectors is the catalog's."""
    ids = np.sort(index.ids())[:: max(1, len(index) // _SAMPLE)]
    chosen = ids[~np.isin(ids, table.changed(record.revision))]
    for number, vector in zip(*table.find(chosen.tolist()), strict=True):
        (found,) = index.search(vector[np.newaxis], 1, among=np.array([number]))
        if len(found.ids) != 1 or abs(found.scores[0] - vector @ vector) > _ROUNDING:
            return False
    return True
