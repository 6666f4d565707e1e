"""Make anew what a catalog derives from its own rows: indexes, words, tallies, seals."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mmsearch.core import Modality
from mmsearch.index import database, schema_3, seals, tallies, watermark
from mmsearch.index.vectors import table_name
from mmsearch.index.watermark import Mark

# of rows, or of the tables in which FTS5 keeps the words
_CONTRADICTIONS = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR)


def recount(directory: Path) -> None:
    """Rebuild the b-tree indexes and the words, count the tallies anew and seal the result.

    The records of index files go as well: they rest on the index of revisions. Only for a
    catalog whose rows are sound, for the new seals vouch for all of it; the caller holds the
    writer lock. Raises UnsoundLibraryError when rows contradict each other; nothing is changed
    then.
    """
    with database.explained(directory), closing(database.connect_writer(directory)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _recount(connection)
            connection.execute("COMMIT")
        except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
            connection.rollback()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _CONTRADICTIONS:
                raise
            raise database.damaged(directory, str(error)) from error
        except BaseException:
            connection.rollback()
            raise


def _recount(connection: sqlite3.Connection) -> None:
    connection.execute("REINDEX")
    for statement in ("DROP TABLE words", schema_3.WORDS, schema_3.FILL):
        connection.execute(statement)
    connection.execute("DELETE FROM generations")
    connection.execute("DELETE FROM tallies")
    connection.execute("DELETE FROM item_tallies")
    for modality in Modality:
        connection.execute(
            "INSERT INTO item_tallies SELECT ?, count(*), ifnull(sum(id), 0) FROM items "
            "WHERE modality = ?",
            (modality.value, modality.value),
        )
    for (space_id,) in connection.execute("SELECT id FROM spaces").fetchall():
        for modality in Modality:
            connection.execute(
                "INSERT INTO tallies (space_id, modality) VALUES (?, ?)", (space_id, modality.value)
            )
            for statement in tallies.counted(table_name(space_id, modality), space_id, modality):
                connection.execute(statement)
    connection.execute("UPDATE library SET commits = commits + 1")
    seals.renew(connection)


def accept(directory: Path) -> tuple[Mark, Mark]:
    """Take the catalog for the right one, as far as it is; return what (was noted, is so)."""
    noted = watermark.read(directory) or Mark(0)
    with (
        database.explained(directory),
        closing(database.connect_unverified(directory)) as connection,
    ):
        now = watermark.mark_of(connection)
    watermark.advance(directory, now)
    return noted, now
