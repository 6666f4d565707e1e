"""The catalog: SQLite, the library's only truth about items, vectors, roots and failures."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsearch.core import Ids, Item, Modality, Space, Vectors
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index import database, failpoints
from mmsearch.index.rows import (
    Batch,
    Counts,
    Failure,
    KnownFile,
    KnownText,
    Root,
    RootKind,
)
from mmsearch.index.session import Session
from mmsearch.index.vectors import VectorTable, id_list, table_name, table_statements

if TYPE_CHECKING:
    from sqlite_utils import Database

_PARAMETERS = 500  # of one statement, below SQLite's oldest limit of 999


class Catalog(Session):
    """Items, vectors, failures, roots and settings of one library; made by `Catalog.open`.

    A catalog belongs to the thread that opened it.
    """

    @staticmethod
    def exists(directory: Path) -> bool:
        """Return whether `directory` holds a library; a half-made one counts as none.

        Raises UnsoundLibraryError when its catalog is damaged, foreign or too new.
        """
        return database.is_made(directory)

    @property
    def revision(self) -> int:
        """The number of commits so far."""
        return int(self.rows("SELECT revision FROM library")[0][0])

    # Spaces, settings, roots

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
                for modality in Modality:
                    values = {"space_id": space_id, "modality": modality.value}
                    _insert(db, "tallies", {**values, "rows": 0, "id_sum": 0})
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

    # Items

    def known_files(self, root_id: int) -> dict[bytes, KnownFile]:
        """Return the pictures at or under a root's path, by path.

        Pictures under it that were found through another root are among them, so that a
        folder inside an indexed folder is not indexed twice. One query.
        """
        ((path, kind),) = self.rows("SELECT path, kind FROM roots WHERE id = ?", root_id)
        where, values = _at_or_under(path, RootKind(kind))
        return {known.path: known for known in self._files(where, *values)}

    def known_texts(self, root_id: int | None) -> dict[str, KnownText]:
        """Return the sentences of a root, by digest; None: those added from Python."""
        rows = self.rows(
            f"SELECT items.id, digest, {self._encoded(Modality.TEXT)} FROM items "
            "WHERE text IS NOT NULL AND ifnull(root_id, 0) = ?",
            root_id or 0,
        )
        texts = (KnownText(number, digest.hex(), bool(has)) for number, digest, has in rows)
        return {text.digest: text for text in texts}

    def files_by_digest(self, digests: Sequence[str]) -> dict[str, list[KnownFile]]:
        """Return the pictures that have these contents, by digest; for moves and copies."""
        found: dict[str, list[KnownFile]] = {}
        for start in range(0, len(digests), _PARAMETERS):
            some = [bytes.fromhex(digest) for digest in digests[start : start + _PARAMETERS]]
            marks = ", ".join("?" * len(some))
            for known in self._files(f"path IS NOT NULL AND digest IN ({marks})", *some):
                found.setdefault(known.digest, []).append(known)
        return found

    def _files(self, where: str, *values: object) -> Iterator[KnownFile]:
        rows = self.rows(
            f"SELECT items.id, path, size, mtime_ns, digest, {self._encoded(Modality.IMAGE)} "
            f"FROM items WHERE {where} ORDER BY items.id",
            *values,
        )
        for number, path, size, mtime_ns, digest, has in rows:
            yield KnownFile(number, path, size, mtime_ns, digest.hex(), bool(has))

    def _encoded(self, modality: Modality) -> str:
        """Return the SQL expression that tells whether an item has a current vector."""
        current = self._current_space()
        if current is None:
            return "0"
        name = table_name(current[0], modality)
        return f"EXISTS (SELECT 1 FROM {name} WHERE item_id = items.id)"

    def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction; when this returns, it is on the disk.

        Raises ConfigError when a vector does not fit the current space (nothing is written).
        """
        from mmsearch.index.writing import BatchWriter, Target

        with self.transaction() as db:
            current = self._current_space()
            target = None if current is None else Target(current[0], current[1].dim)
            revision = self.revision + 1
            db.execute("UPDATE library SET revision = ?", (revision,))
            failpoints.reach("mid-transaction")
            BatchWriter(db, target, revision).apply(batch)

    def items(self, ids: Sequence[int] | Ids) -> dict[int, Item]:
        """Return the items of those ids that exist. One query."""
        rows = self.rows(
            "SELECT items.id, modality, roots.path, items.path, text, digest, size, mtime_ns "
            "FROM items LEFT JOIN roots ON roots.id = root_id "
            "WHERE items.id IN (SELECT value FROM json_each(?))",
            id_list(ids),
        )
        return {row[0]: _item(row) for row in rows}

    def counts(self) -> Counts:
        """Return how much the library holds."""
        held: Counter[str] = Counter()
        for modality, count in self.rows(
            "SELECT modality, count(*) FROM items GROUP BY root_id, modality"
        ):
            held[modality] += count
        ((failed,),) = self.rows("SELECT count(*) FROM failures")
        return Counts(
            held[Modality.IMAGE.value],
            held[Modality.TEXT.value],
            failed,
            sum(map(self._held, _disjoint([root for root in self.roots() if root.offline]))),
        )

    def _held(self, root: Root) -> int:
        """Return how many items a root holds, wherever they were first found."""
        if root.kind is RootKind.TEXTS:
            rows = self.rows("SELECT count(*) FROM items WHERE root_id = ?", root.id)
        else:
            where, values = _at_or_under(os.fsencode(root.path), root.kind)
            rows = self.rows(f"SELECT count(*) FROM items WHERE {where}", *values)
        return int(rows[0][0])

    def failures(self, root_id: int | None = None) -> list[Failure]:
        """Return what could not be indexed, by path; of one root when asked."""
        rows = self.rows(
            "SELECT path, reason, size, mtime_ns, digest, root_id, at FROM failures "
            "WHERE ? IS NULL OR root_id = ? ORDER BY path",
            root_id,
            root_id,
        )
        return [
            Failure(path, reason, size, mtime_ns, digest and digest.hex(), root, at)
            for path, reason, size, mtime_ns, digest, root, at in rows
        ]

    # Vectors

    def vectors(self, space: Space, ids: Sequence[int] | Ids) -> Vectors:
        """Return (n, dim) float32: the stored float16 rows of these ids, in their order.

        Raises InputError when an item has no vector in that space.
        """
        rows: dict[int, Vectors] = {}
        for modality in Modality:
            with self.snapshot():
                found, vectors = self.vector_table(space, modality).find(ids)
            rows.update(zip(found.tolist(), vectors, strict=True))
        missing = [int(number) for number in ids if int(number) not in rows]
        if missing:
            raise InputError(
                f"item {missing[0]} has no vector in the space {space.name}; index it again"
            )
        picked = [rows[int(number)] for number in ids]
        return np.array(picked, dtype=np.float32).reshape(len(picked), space.dim)

    def all_vectors(self, space: Space, modality: Modality) -> tuple[Ids, Vectors]:
        """Return every row of a space and modality, sorted by id."""
        with self.snapshot():
            chunks = list(self.vector_table(space, modality).chunks())
        ids = [np.empty(0, dtype=np.int64), *(chunk[0] for chunk in chunks)]
        rows = [np.empty((0, space.dim), dtype=np.float32), *(chunk[1] for chunk in chunks)]
        return np.concatenate(ids), np.concatenate(rows)

    def vector_table(self, space: Space, modality: Modality) -> VectorTable:
        """Return the table of a space and modality; read it inside a `snapshot`.

        Raises SpaceMismatchError when the library has never held that space.
        """
        rows = self.rows("SELECT id, dim FROM spaces WHERE digest = ?", space.digest)
        if not rows or rows[0][1] != space.dim:
            current = self.space()
            raise SpaceMismatchError(
                f"the library {self.directory} holds no vectors of the model {space.name}"
                + ("" if current is None else f" (it holds {current.name})")
                + "; index it again with `mmsearch index PATH --model MODEL`"
            )
        return VectorTable(self._connection, rows[0][0], modality, space.dim)

    def _current_space(self) -> tuple[int, Space] | None:
        rows = self.rows(
            "SELECT spaces.id, name, dim, digest FROM spaces "
            "JOIN library ON library.space_id = spaces.id"
        )
        return (rows[0][0], Space(*rows[0][1:])) if rows else None


def _at_or_under(root: bytes, kind: RootKind) -> tuple[str, tuple[bytes, ...]]:
    """Return the SQL condition on a picture's path, with its values."""
    if kind is not RootKind.FOLDER:
        return "path = ?", (root,)
    low = root.rstrip(b"/") + b"/"
    return "path >= ? AND path < ?", (low, low[:-1] + b"0")  # "0" comes after "/"


def _disjoint(roots: Sequence[Root]) -> list[Root]:
    """Return the roots without those that lie in another one."""
    kept = [root for root in roots if root.kind is RootKind.TEXTS]
    pictures = {
        os.fsencode(root.path).rstrip(b"/") + b"/": root
        for root in roots
        if root.kind is not RootKind.TEXTS
    }
    top = b""
    for path in sorted(pictures):
        if not top or not path.startswith(top):
            kept.append(pictures[path])
            top = path
    return kept


def _item(row: tuple[Any, ...]) -> Item:
    number, modality, root, path, text, digest, size, mtime_ns = row
    return Item(
        number,
        Modality(modality),
        None if root is None else os.fsdecode(root),
        None if path is None else os.fsdecode(path),
        text,
        digest.hex(),
        size,
        mtime_ns,
    )


def _insert(db: "Database", table: str, row: dict[str, Any]) -> int:
    db.table(table).insert(row)
    (number,) = db.execute("SELECT last_insert_rowid()").fetchone()
    return int(number)
