"""Check what a catalog knows of items beside their vectors, and the words that are searched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from mmsearch.index.checksums import (
    CAPTION_COLUMNS,
    FUSED_COLUMNS,
    LABEL_COLUMNS,
    PHOTO_COLUMNS,
    row_checksum,
)
from mmsearch.index.findings import Finding, Remedy, error, notice
from mmsearch.index.schema_3 import SHADOWS, WORDS

TABLES: Final = {
    "photos": PHOTO_COLUMNS,
    "labels": LABEL_COLUMNS,
    "captions": CAPTION_COLUMNS,
    "fused": FUSED_COLUMNS,
}
_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_DIFFERING: Final = (  # `words_content` has the columns of `words` as c0, c1, ...
    "SELECT count(*) FROM item_words JOIN words_content AS held USING (id) "
    "WHERE name IS NOT c0 OR folder IS NOT c1 OR item_words.text IS NOT c2 "
    "OR caption IS NOT c3 OR label IS NOT c4"
)


def check_attributes(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield the rows of facts, labels, captions and fused vectors that are damaged."""
    for table, columns in TABLES.items():
        for row in connection.execute(f"SELECT {columns}, crc FROM {table} NOT INDEXED"):
            if row_checksum(row[:-1]) != row[-1]:
                number = row[1] if table == "fused" else row[0]
                what = f"the row of item {number} in {table} does not match its checksum"
                yield error(what, Remedy.RESCUE)


def check_words(connection: sqlite3.Connection, *, quick: bool) -> Iterator[Finding]:
    """Yield how the words differ from the items' rows, which they can be made of anew."""
    ((items, rows),) = connection.execute(
        "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM words_docsize)"
    ).fetchall()
    if items != rows:
        yield error(f"the words of {rows:,} items are there instead of {items:,}", Remedy.COUNT)
    if quick:
        return
    ((differing,),) = connection.execute(_DIFFERING).fetchall()
    if differing:
        yield error(f"the words of {differing:,} items are not theirs", Remedy.COUNT)
    try:
        problem = _inverted(connection)
    except sqlite3.OperationalError as failed:
        if getattr(failed, "sqlite_errorcode", 0) & 0xFF not in _NO_ROOM:
            raise
        said = "free some room for temporary files and check again"
        yield notice(f"the index of words was not checked: {failed}", said)
        return
    if problem:
        yield error(f"the index of words is damaged: {problem}", Remedy.COUNT)


def _inverted(connection: sqlite3.Connection) -> str:
    """Return what FTS5 finds wrong with its index; "" when it is as its rows are.

    FTS5 checks only where it may write. A copy of its tables is checked, so that nobody waits
    and a catalog on read-only media can be checked as well.
    """
    with closing(_scratch()) as copy, _as_bytes(connection):
        copy.execute(WORDS)
        copy.execute("BEGIN")
        for table in SHADOWS:
            rows = connection.execute(f"SELECT * FROM {table}")
            marks = ", ".join("?" * len(rows.description))
            copy.execute(f"DELETE FROM {table}")
            copy.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        copy.execute("COMMIT")
        try:
            copy.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        except sqlite3.DatabaseError as problem:
            return str(problem)
    return ""


def _scratch() -> sqlite3.Connection:
    """Open an empty database that goes to a temporary file when it gets large."""
    return sqlite3.connect("", isolation_level=None)


@contextmanager
def _as_bytes(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts as bytes meanwhile: names of files need not be UTF-8."""
    before, connection.text_factory = connection.text_factory, bytes
    try:
        yield
    finally:
        connection.text_factory = before
