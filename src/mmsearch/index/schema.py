"""The schema as it should be, and mending a copy whose schema is damaged."""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Final

DECLARATIONS: Final = (  # sqlite-utils and FTS5 declare their own, and each version as it likes
    "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '%sqlite_migr%' "
    "AND substr(name, 1, 6) <> 'words_'"
)
_SPACE: Final = re.compile(rb"vectors_([0-9]{1,6})_")


def expected_schema(spaces: Iterable[int]) -> dict[str, str]:
    """Return the SQL of every table, index and trigger of a library with these spaces, by name."""
    from sqlite_utils import Database

    from mmsearch.index.migrations import migrate, tally_space
    from mmsearch.index.vectors import table_statements

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        db = Database(connection, execute_plugins=False)
        migrate(db)
        for space_id in spaces:
            for statement in table_statements(space_id):
                db.execute(statement)
            tally_space(db, space_id)
        return dict(connection.execute(DECLARATIONS).fetchall())


def mend_schema(connection: sqlite3.Connection) -> None:
    """Write the declarations anew that differ from what they should be, found by their names.

    For a copy that is thrown away, opened with `writable_schema`; open it again afterwards.
    Raises sqlite3.DatabaseError when the schema cannot be written to.
    """
    connection.text_factory = bytes
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    spaces = {int(found[1]) for name in names if (found := _SPACE.match(name or b""))}
    for name, sql in expected_schema(sorted(spaces)).items():
        connection.execute(
            "UPDATE sqlite_master SET sql = ?, tbl_name = CASE type WHEN 'table' THEN name "
            "ELSE tbl_name END WHERE name = ? AND sql IS NOT ?",
            (sql, name, sql),
        )
