"""SIGKILL in the middle of a migration."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.faults.kills import KILLS
from tests.faults.libraries import BATCH, Place, check_completed
from tests.faults.oracle import FILE, State, read_state
from tests.faults.processes import failpoint, run

from mmsearch.core import Modality
from mmsearch.index.database import APPLICATION_ID
from mmsearch.index.migrations import TABLES


def in_migration(rng: random.Random, folder: Path) -> None:
    """Kill the migration of a version-1 library: it stays whole and migrates the next time."""
    place = Place(folder)
    place.draw(5 * BATCH)
    place.write_texts(rng.randint(3, 30))
    state = check_completed(place, State(), place.index(), rng)
    as_version_1(place.library)
    for _ in range(KILLS):
        ending = place.index(failpoint("mid-migration"))
        assert ending.killed, ending
        assert read_state(place.library) == state
        assert _version(place.library) == 1
        refused = run("query", "red", "--library", place.library)
        assert (refused.code, "upgrade" in refused.err) == (3, True), refused
    now = check_completed(place, state, place.index(), rng)
    assert _version(place.library) > 1
    assert now.rows == state.rows


# What the first version wrote beside `migrations.TABLES`, to the letter: `check` compares it.
_VECTORS_1: Final = (
    """CREATE TABLE {name} (
                item_id INTEGER PRIMARY KEY,
                revision INTEGER NOT NULL,
                crc INTEGER NOT NULL,
                vector BLOB NOT NULL
            )""",
    "CREATE INDEX {name}_revision ON {name} (revision)",
)


def as_version_1(library: Path) -> None:
    """Write a library's rows into a catalog of the schema's first version."""
    new, old = library.parent / "old.sqlite", library / FILE
    with closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA page_size = 16384")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("ATTACH ? AS old", (str(old),))
        ((steps,),) = connection.execute(
            "SELECT sql FROM old.sqlite_master WHERE name = '_sqlite_migrations'"
        ).fetchall()
        for statement in (steps, *TABLES):
            connection.execute(statement)
        for modality in Modality:
            for statement in _VECTORS_1:
                connection.execute(statement.format(name=f"vectors_1_{modality.value}"))
        connection.execute("DELETE FROM library")
        for (table,) in connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table'"
        ).fetchall():
            columns = connection.execute(f"PRAGMA main.table_info({table})").fetchall()
            names = ", ".join(column[1] for column in columns)
            connection.execute(
                f"INSERT INTO main.{table} ({names}) SELECT {names} FROM old.{table}"
            )
        connection.execute("DELETE FROM _sqlite_migrations WHERE name <> 'create_tables'")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    for path in library.glob(f"{old.stem}.*"):
        path.unlink()
    new.rename(old)


def _version(library: Path) -> int:
    copy = library.parent / "version.sqlite"
    shutil.copyfile(library / FILE, copy)
    if (log := library / f"{FILE}-wal").exists():
        shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
    with closing(sqlite3.connect(copy)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
