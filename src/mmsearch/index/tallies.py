"""Tallies: how many rows a table holds and the sum of their ids, kept by triggers.

A b-tree that has lost a row still answers, without it. The tally of the rows shows the loss
to whoever reads all of them, and saves counting a million of them. Triggers keep the tallies,
so that no statement can forget to.

`newer` counts the vectors written after revision `since`, that of the recorded index file, and
`removed` those taken away since: what a search adds to the file's answer must be complete, too.
"""

import sqlite3
from dataclasses import dataclass

from mmsearch.core import Modality
from mmsearch.index.checksums import DamagedRowError


@dataclass(frozen=True, slots=True)
class Tally:
    """The tally of one table of vectors."""

    rows: int
    id_sum: int
    since: int
    newer: int
    newer_sum: int
    removed: int
    removed_sum: int


def read_tally(connection: sqlite3.Connection, space_id: int, modality: Modality) -> Tally:
    """Return the tally of a space and modality. Raises DamagedRowError when it is not there."""
    row = connection.execute(
        "SELECT rows, id_sum, since, newer, newer_sum, removed, removed_sum FROM tallies "
        "WHERE space_id = ? AND modality = ?",
        (space_id, modality.value),
    ).fetchone()
    if row is None:
        raise DamagedRowError(f"the tally of the {modality} vectors is missing")
    return Tally(*row)


def item_statements() -> list[str]:
    """Return the triggers that keep `item_tallies` and the removals of `tallies`."""
    return [
        """CREATE TRIGGER items_inserted AFTER INSERT ON items BEGIN
            UPDATE item_tallies SET rows = rows + 1, id_sum = id_sum + new.id
            WHERE modality = new.modality;
        END""",
        """CREATE TRIGGER items_deleted AFTER DELETE ON items BEGIN
            UPDATE item_tallies SET rows = rows - 1, id_sum = id_sum - old.id
            WHERE modality = old.modality;
        END""",
        """CREATE TRIGGER removals_inserted AFTER INSERT ON removals BEGIN
            UPDATE tallies SET removed = removed + 1, removed_sum = removed_sum + new.item_id
            WHERE space_id = new.space_id AND modality = new.modality AND since < new.revision;
        END""",
        """CREATE TRIGGER removals_deleted AFTER DELETE ON removals BEGIN
            UPDATE tallies SET removed = removed - 1, removed_sum = removed_sum - old.item_id
            WHERE space_id = old.space_id AND modality = old.modality AND since < old.revision;
        END""",
    ]


def vector_statements(table: str, space_id: int, modality: Modality) -> list[str]:
    """Return the triggers that keep the tally of one table of vectors."""
    here = f"space_id = {space_id} AND modality = '{modality.value}'"
    return [
        f"""CREATE TRIGGER {table}_inserted AFTER INSERT ON {table} BEGIN
            UPDATE tallies SET rows = rows + 1, id_sum = id_sum + new.item_id,
            newer = newer + (new.revision > since),
            newer_sum = newer_sum + (new.revision > since) * new.item_id WHERE {here};
        END""",
        f"""CREATE TRIGGER {table}_updated AFTER UPDATE OF revision ON {table} BEGIN
            UPDATE tallies SET
            newer = newer + (new.revision > since) - (old.revision > since),
            newer_sum = newer_sum
                + ((new.revision > since) - (old.revision > since)) * new.item_id WHERE {here};
        END""",
        f"""CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} BEGIN
            UPDATE tallies SET rows = rows - 1, id_sum = id_sum - old.item_id,
            newer = newer - (old.revision > since),
            newer_sum = newer_sum - (old.revision > since) * old.item_id WHERE {here};
        END""",
        f"""CREATE TRIGGER {table}_recorded AFTER INSERT ON generations
            WHEN new.space_id = {space_id} AND new.modality = '{modality.value}' BEGIN
            {_based(table, here, "new.revision")};
        END""",
    ]


def counted(table: str, space_id: int, modality: Modality) -> list[str]:
    """Return the statements that count a table's tally anew; its row must exist."""
    here = f"space_id = {space_id} AND modality = '{modality.value}'"
    return [
        (
            "UPDATE tallies SET (rows, id_sum) = "
            f"(SELECT count(*), ifnull(sum(item_id), 0) FROM {table}) WHERE {here}"
        ),
        _based(table, here, f"(SELECT ifnull(max(revision), 0) FROM generations WHERE {here})"),
    ]


def _based(table: str, here: str, revision: str) -> str:
    """Return the statement that counts what came after a revision."""
    return (
        f"UPDATE tallies SET since = {revision}, (newer, newer_sum) = "
        f"(SELECT count(*), ifnull(sum(item_id), 0) FROM {table} WHERE revision > {revision}), "
        f"(removed, removed_sum) = (SELECT count(*), ifnull(sum(item_id), 0) FROM removals "
        f"WHERE {here} AND revision > {revision}) WHERE {here}"
    )
