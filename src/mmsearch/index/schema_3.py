"""What the third version of the schema adds: facts, labels, captions, fused vectors and words.

Written out as it was when the step was made: later versions must not change it.
"""

from typing import Final

TABLES: Final = (
    # what a picture's file says of it; the fingerprint is stored as a signed number
    """CREATE TABLE photos (
        item_id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        taken INTEGER,
        camera TEXT,
        latitude REAL,
        longitude REAL,
        fingerprint INTEGER NOT NULL,
        crc INTEGER NOT NULL
    )""",
    """CREATE TABLE labels (
        item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('user', 'auto')),
        score REAL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (item_id, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX labels_name ON labels (name COLLATE NOCASE)",
    # sentences that are attached to a picture, in order
    """CREATE TABLE captions (
        item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
        place INTEGER NOT NULL,
        text TEXT NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (item_id, place)
    ) WITHOUT ROWID""",
    # of a vector that is one of a picture and its captions: the captions' digest, the weight,
    # and the picture's own vector
    """CREATE TABLE fused (
        space_id INTEGER NOT NULL REFERENCES spaces (id),
        item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
        weight REAL NOT NULL,
        captions BLOB NOT NULL,
        vector BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (space_id, item_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX fused_item ON fused (item_id)",
)


def _last_slash(path: str) -> str:
    """Return the SQL for where the last slash of an expression's bytes is, from 1; else 0.

    Paths are bytes that need not be UTF-8, so that functions for texts may cut them elsewhere.
    """
    after = f"instr(substr({path}, at + 1), x'2F')"
    return (
        f"(WITH RECURSIVE slash (at) AS (SELECT 0 UNION ALL SELECT at + {after} FROM slash "
        f"WHERE {after} > 0) SELECT max(at) FROM slash)"
    )


# Folders count from below the one that holds the root: the root's own name tells something,
# `/home/me` does not. Of a picture that is a root itself the name of its folder counts.
# A cast of bytes to a text takes any.
VIEW: Final = f"""CREATE VIEW item_words (id, name, folder, text, caption, label) AS
    SELECT id,
        CAST(substr(path, head + 1) AS TEXT),
        CAST(substr(path, top + 1, max(0, head - top)) AS TEXT),
        text,
        (SELECT group_concat(text, char(10)) FROM captions WHERE item_id = id),
        (SELECT group_concat(name, char(10)) FROM labels WHERE item_id = id)
    FROM (
        SELECT id, path, text, head,
            CASE kind WHEN 'folder' THEN {_last_slash("root")}
                ELSE {_last_slash("substr(path, 1, head - 1)")} END AS top
        FROM (
            SELECT items.id, items.path, items.text, roots.kind, roots.path AS root,
                {_last_slash("items.path")} AS head
            FROM items LEFT JOIN roots ON roots.id = items.root_id
        )
    )"""

WORDS: Final = (
    "CREATE VIRTUAL TABLE words USING fts5"
    "(name, folder, text, caption, label, tokenize = 'unicode61 remove_diacritics 2')"
)
FILL: Final = (
    "INSERT INTO words (rowid, name, folder, text, caption, label) SELECT * FROM item_words"
)
SHADOWS: Final = tuple(f"words_{part}" for part in ("data", "idx", "content", "docsize", "config"))
"""The tables in which FTS5 keeps `words`; how they are declared depends on SQLite's version."""

TRIGGERS: Final = (
    f"""CREATE TRIGGER items_worded AFTER INSERT ON items BEGIN
        {FILL} WHERE id = new.id;
    END""",
    f"""CREATE TRIGGER items_reworded AFTER UPDATE OF path, text, root_id ON items
        WHEN old.path IS NOT new.path OR old.text IS NOT new.text
            OR old.root_id IS NOT new.root_id BEGIN
        DELETE FROM words WHERE rowid = old.id;
        {FILL} WHERE id = new.id;
    END""",
    """CREATE TRIGGER items_unworded AFTER DELETE ON items BEGIN
        DELETE FROM words WHERE rowid = old.id;
    END""",
    *(
        f"""CREATE TRIGGER {column}s_{event} AFTER {what} ON {column}s BEGIN
        UPDATE words SET {column} = (SELECT {column} FROM item_words WHERE id = {row}.item_id)
        WHERE rowid = {row}.item_id;
    END"""
        for column, value in (("caption", "text"), ("label", "name"))
        for event, what, row in (
            ("inserted", "INSERT", "new"),
            ("updated", f"UPDATE OF {value}", "new"),
            ("deleted", "DELETE", "old"),
        )
    ),
)

STATEMENTS: Final = (*TABLES, VIEW, WORDS, *TRIGGERS)
