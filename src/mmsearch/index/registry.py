"""What a library is made of, apart from its items: spaces, settings, roots, the revision."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsearch.core import Space
from mmsearch.errors import SpaceMismatchError
from mmsearch.index.rows import Root, RootKind
from mmsearch.index.session import Session
from mmsearch.index.vectors import table_statements

if TYPE_CHECKING:
    from sqlite_utils import Database


class Registry(Session):
    """The small tables of a catalog."""

    @property
    def revision(self) -> int:
        """The number of commits so far."""
        return int(self.rows("SELECT revision FROM library")[0][0])

    def space(self) -> Space | None:
        """Return the space that the library's current vectors belong to."""
        current = self._current_space()
        return None if current is None else current[1]

    def spaces(self) -> list[Space]:
        """Return every space that the library has vectors in, or had."""
        return [Space(*row) for row in self.rows("SELECT name, dim, digest FROM spaces")]

    def set_space(self, space: Space) -> None:
        """Make `space` the current one; the vectors of the others stay beside it.

        Raises SpaceMismatchError when the digest is known with another dimension.
        """
        from mmsearch.index.migrations import tally_space

        with self.transaction() as db:
            row = db.execute("SELECT id, dim FROM spaces WHERE digest = ?", (space.digest,))
            known = row.fetchone()
            if known is not None and known[1] != space.dim:
                raise SpaceMismatchError(
                    f"the space {space.name} has {space.dim} dimensions here and {known[1]} in "
                    "the library; export the model again"
                )
            values = {"name": space.name, "dim": space.dim, "digest": space.digest}
            if known is None:
                space_id = _insert(db, "spaces", values)
                for statement in table_statements(space_id):
                    db.execute(statement)
                tally_space(db, space_id)
            else:
                space_id = known[0]
                db.execute("UPDATE spaces SET name = ? WHERE id = ?", (space.name, space_id))
            db.execute("UPDATE library SET space_id = ?", (space_id,))

    def setting(self, key: str) -> str | None:
        """Return a setting, such as the model spec used last ("model")."""
        rows = self.rows("SELECT value FROM settings WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set_setting(self, key: str, value: str) -> None:
        """Keep a setting."""
        with self.transaction() as db:
            db.table("settings").upsert({"key": key, "value": value}, pk="key")

    def roots(self) -> list[Root]:
        """Return every place that was indexed, oldest first."""
        rows = self.rows("SELECT id, path, kind, offline FROM roots ORDER BY id")
        return [
            Root(number, os.fsdecode(path), RootKind(kind), bool(offline))
            for number, path, kind, offline in rows
        ]

    def add_root(self, path: str | bytes | Path, kind: RootKind) -> int:
        """Return the id of the root at this absolute path, new or known; it is online now."""
        raw = os.fsencode(path)
        with self.transaction() as db:
            found = db.execute(
                "SELECT id FROM roots WHERE path = ? AND kind = ?", (raw, kind.value)
            ).fetchone()
            if found is None:
                row = {"path": raw, "kind": kind.value, "offline": 0}
                return _insert(db, "roots", row)
            db.execute("UPDATE roots SET offline = 0 WHERE id = ?", (found[0],))
            return int(found[0])

    def set_offline(self, root_id: int, offline: bool) -> None:
        """Say whether a root is out of reach; its items stay either way."""
        with self.transaction() as db:
            db.execute("UPDATE roots SET offline = ? WHERE id = ?", (int(offline), root_id))

    def _current_space(self) -> tuple[int, Space] | None:
        rows = self.rows(
            "SELECT spaces.id, name, dim, digest FROM spaces "
            "JOIN library ON library.space_id = spaces.id"
        )
        return (rows[0][0], Space(*rows[0][1:])) if rows else None


def _insert(db: "Database", table: str, row: dict[str, Any]) -> int:
    db.table(table).insert(row)
    (number,) = db.execute("SELECT last_insert_rowid()").fetchone()
    return int(number)
