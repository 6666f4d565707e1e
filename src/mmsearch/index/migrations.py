"""The catalog's schema as ordered, named steps. Imported on the write path only.

Each step is recorded where it runs (sqlite-utils' `_sqlite_migrations`) and ends by setting
`user_version`, which readers compare. All steps that a library lacks run in one transaction: a
new one must never look like a library of the first version.
"""

from sqlite_utils import Database, Migrations

from mmsearch.core import Modality
from mmsearch.index import failpoints, schema_3, seals, tallies
from mmsearch.index.checksums import item_checksum, row_checksum
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
    "ALTER TABLE failures ADD COLUMN crc INTEGER",
    # how many transactions were committed, compared with the note beside the catalog
    "ALTER TABLE library ADD COLUMN commits INTEGER NOT NULL DEFAULT 0",
    # how many rows a table has, and the sum of their ids: a lost row shows
    """CREATE TABLE item_tallies (
        modality TEXT PRIMARY KEY,
        rows INTEGER NOT NULL DEFAULT 0,
        id_sum INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE tallies (
        space_id INTEGER NOT NULL REFERENCES spaces (id),
        modality TEXT NOT NULL,
        rows INTEGER NOT NULL DEFAULT 0,
        id_sum INTEGER NOT NULL DEFAULT 0,
        since INTEGER NOT NULL DEFAULT 0,
        newer INTEGER NOT NULL DEFAULT 0,
        newer_sum INTEGER NOT NULL DEFAULT 0,
        removed INTEGER NOT NULL DEFAULT 0,
        removed_sum INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (space_id, modality)
    )""",
    seals.TABLE,
)
_CHUNK = 10_000


@migrations()
def guard_rows(db: Database) -> None:
    """Add checksums of rows, tallies of tables, forgotten paths, parameters of index files."""
    for statement in _ADDED_IN_2:
        db.execute(statement)
    failpoints.reach("mid-migration")
    _add_checksums(db)
    for modality in Modality:
        db.execute(
            "INSERT INTO item_tallies SELECT ?, count(*), ifnull(sum(id), 0) FROM items "
            "WHERE modality = ?",
            (modality.value, modality.value),
        )
    for statement in tallies.item_statements():
        db.execute(statement)
    for (space_id,) in db.execute("SELECT id FROM spaces").fetchall():
        tally_space(db, space_id)
    db.execute("PRAGMA user_version = 2")
    seals.renew(db.conn)


@migrations()
def describe_items(db: Database) -> None:
    """Add facts of pictures, labels, captions, fused vectors, and the words of all items."""
    for statement in schema_3.STATEMENTS:
        db.execute(statement)
    failpoints.reach("mid-migration")
    db.execute(schema_3.FILL)
    db.execute("PRAGMA user_version = 3")
    seals.renew(db.conn)


def _add_checksums(db: Database) -> None:
    (last,) = db.execute("SELECT ifnull(max(id), 0) FROM items").fetchone()
    for start in range(0, last, _CHUNK):
        rows = db.execute(
            "SELECT id, modality, root_id, path, text, digest, size, mtime_ns FROM items "
            "WHERE id > ? AND id <= ?",
            (start, start + _CHUNK),
        ).fetchall()
        db.conn.executemany(
            "UPDATE items SET crc = ? WHERE id = ?", [(item_checksum(row), row[0]) for row in rows]
        )
    failures = db.execute(
        "SELECT path, root_id, reason, size, mtime_ns, digest, at FROM failures"
    ).fetchall()
    db.conn.executemany(
        "UPDATE failures SET crc = ? WHERE path = ?",
        [(row_checksum(row), row[0]) for row in failures],
    )


def tally_space(db: Database, space_id: int) -> None:
    """Count the vectors of a space's tables, and let triggers keep the counts."""
    for modality in Modality:
        name = table_name(space_id, modality)
        db.execute(
            "INSERT INTO tallies (space_id, modality) VALUES (?, ?)", (space_id, modality.value)
        )
        for statement in tallies.counted(name, space_id, modality):
            db.execute(statement)
        for statement in tallies.vector_statements(name, space_id, modality):
            db.execute(statement)


def migrate(db: Database) -> None:
    """Bring the schema up to date, wholly or not at all; does nothing when it is."""
    with db.atomic():
        migrations.apply(db)
