"""The catalog's schema as ordered, named steps. Imported on the write path only.

Each step runs in a transaction together with the record that it ran (sqlite-utils'
`_sqlite_migrations`) and ends by setting `user_version`, which readers compare.
"""

from sqlite_utils import Database, Migrations

from mmsearch.core import Modality
from mmsearch.index import failpoints
from mmsearch.index.checksums import item_checksum
from mmsearch.index.vectors import table_name

migrations = Migrations("mmsearch")

TABLES = (
    """CREATE TABLE library (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,
        space_id INTEGER REFERENCES spaces (id)
    )""",
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE spaces (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        dim INTEGER NOT NULL CHECK (dim > 0),
        digest TEXT NOT NULL UNIQUE
    )""",
    """CREATE TABLE roots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('folder', 'file', 'texts')),
        offline INTEGER NOT NULL DEFAULT 0,
        UNIQUE (path, kind)
    )""",
    """CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        modality TEXT NOT NULL,
        root_id INTEGER REFERENCES roots (id),
        path BLOB,
        text TEXT,
        digest BLOB NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        CHECK (modality <> 'image' OR (path IS NOT NULL AND text IS NULL)),
        CHECK (modality <> 'text' OR (path IS NULL AND text IS NOT NULL))
    )""",
    "CREATE UNIQUE INDEX items_path ON items (path) WHERE path IS NOT NULL",
    "CREATE UNIQUE INDEX items_text ON items (ifnull(root_id, 0), digest) WHERE text IS NOT NULL",
    "CREATE INDEX items_digest ON items (digest)",
    "CREATE INDEX items_root ON items (root_id, modality)",
    """CREATE TABLE failures (
        path BLOB PRIMARY KEY,
        root_id INTEGER REFERENCES roots (id),
        reason TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest BLOB,
        at TEXT NOT NULL
    )""",
    """CREATE TABLE removals (
        space_id INTEGER NOT NULL,
        modality TEXT NOT NULL,
        revision INTEGER NOT NULL,
        item_id INTEGER NOT NULL
    )""",
    "CREATE INDEX removals_since ON removals (space_id, modality, revision)",
    """CREATE TABLE generations (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        space_id INTEGER NOT NULL REFERENCES spaces (id),
        modality TEXT NOT NULL,
        kind TEXT NOT NULL,
        revision INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        file TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL
    )""",
    "CREATE INDEX generations_of ON generations (space_id, modality)",
    "INSERT INTO library (id, revision) VALUES (1, 0)",
)


@migrations()
def create_tables(db: Database) -> None:
    """Make every table of the first version."""
    for statement in TABLES:
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")


# Written out as they were when the step was made: later versions must not change it.
_ADDED_IN_2 = (
    # how an index file is built and searched, JSON
    "ALTER TABLE generations ADD COLUMN parameters TEXT NOT NULL DEFAULT '{}'",
    # paths that were forgotten on purpose and must not come back by themselves
    "CREATE TABLE forgotten (path BLOB PRIMARY KEY)",
    "ALTER TABLE items ADD COLUMN crc INTEGER",
    # how many rows a table of vectors has, and the sum of their ids: a lost row shows
    """CREATE TABLE tallies (
        space_id INTEGER NOT NULL REFERENCES spaces (id),
        modality TEXT NOT NULL,
        rows INTEGER NOT NULL,
        id_sum INTEGER NOT NULL,
        PRIMARY KEY (space_id, modality)
    )""",
)


@migrations()
def guard_rows(db: Database) -> None:
    """Add checksums of items, tallies of vectors, forgotten paths, parameters of index files."""
    for statement in _ADDED_IN_2:
        db.execute(statement)
    failpoints.reach("mid-migration")
    rows = db.execute(
        "SELECT id, modality, root_id, path, text, digest, size, mtime_ns FROM items"
    ).fetchall()
    db.conn.executemany(
        "UPDATE items SET crc = ? WHERE id = ?", ((item_checksum(row), row[0]) for row in rows)
    )
    for (space_id,) in db.execute("SELECT id FROM spaces").fetchall():
        for modality in Modality:
            db.execute(
                "INSERT INTO tallies SELECT ?, ?, count(*), ifnull(sum(item_id), 0) "
                f"FROM {table_name(space_id, modality)}",
                (space_id, modality.value),
            )
    db.execute("PRAGMA user_version = 2")


def migrate(db: Database) -> None:
    """Bring the schema up to date; does nothing when it is."""
    migrations.apply(db)
