"""Seals: a checksum for every row of the catalog's small tables, and of its schema.

A flipped bit in the revision, the current space, an id counter or a column's declaration would
change answers without breaking the file. Every transaction verifies the seals first and renews
them last; every reader verifies them when it opens and after each commit of somebody else. The
tables have a few dozen rows together: it takes a fraction of a millisecond.
"""

import json
import sqlite3
from typing import Any, Final, NamedTuple, TypeAlias

from mmsearch.index.checksums import DamagedRowError, row_checksum


class _Sealed(NamedTuple):
    query: str
    keys: int
    """How many of the first columns name the row."""


SCHEMA: Final = "sqlite_master"
TABLES: Final = {
    SCHEMA: _Sealed(
        "SELECT name, type, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND substr(name, 1, 7) <> 'sqlite_'",
        1,
    ),
    "sqlite_sequence": _Sealed("SELECT name, seq FROM sqlite_sequence", 1),
    "library": _Sealed("SELECT * FROM library", 1),
    "settings": _Sealed("SELECT * FROM settings", 1),
    "spaces": _Sealed("SELECT * FROM spaces", 1),
    "roots": _Sealed("SELECT * FROM roots", 1),
    "generations": _Sealed("SELECT * FROM generations", 1),
    "tallies": _Sealed("SELECT * FROM tallies", 2),
    "item_tallies": _Sealed("SELECT * FROM item_tallies", 1),
}

TABLE: Final = """CREATE TABLE seals (
    name TEXT NOT NULL,
    row TEXT NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (name, row)
) WITHOUT ROWID"""

Seals: TypeAlias = dict[tuple[str, str], int]
"""Checksums by table and row."""


def seals_of(connection: sqlite3.Connection, name: str) -> Seals:
    """Return the seals that a table's rows should have."""
    sealed = TABLES[name]
    return {
        (name, row_name(row[: sealed.keys])): row_checksum(row)
        for row in connection.execute(sealed.query)
    }


def row_name(keys: tuple[Any, ...]) -> str:
    """Return how a row is called in `seals`, by the values of its key."""
    return json.dumps([key.hex() if isinstance(key, bytes) else key for key in keys])


def stored(connection: sqlite3.Connection) -> Seals:
    """Return the seals as they stand in the catalog."""
    rows = connection.execute("SELECT name, row, crc FROM seals")
    return {(name, row): crc for name, row, crc in rows}


def broken(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return (table, row) of every row that is missing, changed or not sealed.

    A table or index that somebody has added is none of our business.
    """
    actual: Seals = {}
    for name in TABLES:
        actual.update(seals_of(connection, name))
    known = stored(connection)
    wrong = [key for key, crc in known.items() if actual.get(key) != crc]
    wrong += [key for key in actual if key not in known and key[0] != SCHEMA]
    return sorted(wrong, key=repr)  # a flipped bit can make bytes of a text


def verify(connection: sqlite3.Connection) -> None:
    """Raise DamagedRowError when a row of a small table or the schema is not as it was."""
    try:
        wrong = broken(connection)
    except sqlite3.OperationalError as error:
        # an error without a code is Python's: a text that is not UTF-8
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF != sqlite3.SQLITE_ERROR:
            raise
        raise DamagedRowError(f"its tables are not as they were: {error}") from error
    if wrong:
        raise DamagedRowError(f"row {wrong[0][1]} of {wrong[0][0]} does not match its checksum")


def renew(connection: sqlite3.Connection) -> None:
    """Seal the rows as they are now; inside the transaction that changed them."""
    actual: Seals = {}
    for name in TABLES:
        actual.update(seals_of(connection, name))
    known = stored(connection)
    connection.executemany(
        "DELETE FROM seals WHERE name = ? AND row = ?", [key for key in known if key not in actual]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO seals (name, row, crc) VALUES (?, ?, ?)",
        [(*key, crc) for key, crc in actual.items() if known.get(key) != crc],
    )
