"""Copy facts, labels, captions and fused vectors out of a damaged catalog.

A row counts when its checksum does and its item was kept. The words are not copied: the triggers
make them of what is.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from mmsearch.core import Modality
from mmsearch.index import caption_files, database
from mmsearch.index.checking_attributes import TABLES
from mmsearch.index.checksums import row_checksum
from mmsearch.index.fusing import unsettle
from mmsearch.index.salvage import readable
from mmsearch.index.vectors import id_list, table_name

_PICTURES: Final = ("photos", "captions")  # labels stand at sentences, too


def copy_attributes(
    source: sqlite3.Connection, target: sqlite3.Connection, high: int, spaces: Iterable[int]
) -> dict[str, int]:
    """Copy every sound row up to the item `high`; return the numbers of damaged ones, by table.

    `spaces` are those whose vectors were copied before.
    """
    dropped: dict[str, int] = {}
    for table in ("photos", "labels", "captions"):
        where = "id = ?" + (" AND modality = 'image'" if table in _PICTURES else "")
        insert = _insert(table, f"SELECT 1 FROM items WHERE {where}")
        for row in _sound(source, table, high, dropped):
            target.execute(insert, (*row, row[0]))
    if gone := max(_gone_labels(source, target), dropped.get("labels", 0)):
        dropped["labels"] = gone
    for row in _sound(source, "fused", high, dropped):
        if row[0] in spaces:
            vectors = table_name(row[0], Modality.IMAGE)
            insert = _insert("fused", f"SELECT 1 FROM {vectors} WHERE item_id = ?")
            target.execute(insert, (*row, row[1]))
    for space_id in spaces:
        _drop_unknown(source, target, space_id)
    unsettle(target)  # captions that were lost are to be missed
    caption_files.to_read_again(target)  # and to come back where a file says them
    return dropped


def _insert(table: str, owner: str) -> str:
    columns = TABLES[table]
    marks = ", ".join("?" * (columns.count(",") + 2))
    return f"INSERT OR IGNORE INTO {table} ({columns}, crc) SELECT {marks} WHERE EXISTS ({owner})"


def _sound(
    source: sqlite3.Connection, table: str, high: int, dropped: dict[str, int]
) -> Iterable[tuple[Any, ...]]:
    query = f"SELECT {TABLES[table]}, crc FROM {table} WHERE ? < item_id AND item_id <= ?"
    for row in readable(source, query, high):
        if row_checksum(row[:-1]) == row[-1]:
            yield row
        else:
            dropped[table] = dropped.get(table, 0) + 1


def _gone_labels(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Return how many labels of kept items the index of names still has and the table has not.

    A page of the table that cannot be read loses some hundred rows that nobody would miss.
    """
    try:
        named = set(source.execute("SELECT item_id, name FROM labels INDEXED BY labels_name"))
    except database.UNREADABLE:  # there is nothing more to go by
        return 0
    gone = named - set(target.execute("SELECT item_id, name FROM labels"))
    kept = {number for (number,) in target.execute("SELECT id FROM items")}
    return sum(1 for number, _ in gone if number in kept)


def _drop_unknown(source: sqlite3.Connection, target: sqlite3.Connection, space_id: int) -> None:
    """Drop the vectors of which nobody can say any more whether captions are part of them.

    Those without a sound row in `fused` whose row is still named by the index on that table, and
    of pictures with captions where others have one. They are encoded again.
    """
    table = table_name(space_id, Modality.IMAGE)
    unknown = (
        f"DELETE FROM {table} WHERE item_id NOT IN (SELECT item_id FROM fused WHERE space_id = ?)"
    )
    target.execute(
        f"{unknown} AND EXISTS (SELECT 1 FROM fused WHERE space_id = ?) "
        "AND item_id IN (SELECT item_id FROM captions)",
        (space_id, space_id),
    )
    try:
        named = [
            row[0]
            for row in source.execute(
                "SELECT item_id FROM fused INDEXED BY fused_item WHERE space_id = ?", (space_id,)
            )
            if isinstance(row[0], int)
        ]
    except database.UNREADABLE:  # there is nothing more to go by
        return
    target.execute(
        f"{unknown} AND item_id IN (SELECT value FROM json_each(?))", (space_id, id_list(named))
    )
