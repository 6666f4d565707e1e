"""What one commit does to the tables. Runs inside a transaction of the caller."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlite_utils import Database

from mmsearch.core import Modality
from mmsearch.errors import ConfigError
from mmsearch.index import failpoints
from mmsearch.index.attributes import write_photos
from mmsearch.index.checksums import (
    FAILURE_COLUMNS,
    ITEM_COLUMNS,
    ItemValues,
    checked_item,
    item_checksum,
    row_checksum,
)
from mmsearch.index.rows import Batch, Failure, FileRow, MovedRow, TextRow, TouchedRow
from mmsearch.index.vectors import id_list, pack, table_name

_IDS = "(SELECT value FROM json_each(?))"
_VECTOR_COLUMNS = ["item_id", "revision", "crc", "vector"]
_PARAMETERS = 500  # of one statement, below SQLite's oldest limit of 999


@dataclass(frozen=True, slots=True)
class Target:
    """Where a batch's vectors go."""

    space_id: int
    dim: int


class BatchWriter:
    """Applies batches at one revision."""

    def __init__(self, db: Database, target: Target | None, revision: int) -> None:
        self._db = db
        self._target = target
        self._revision = revision
        self._spaces = [row[0] for row in db.execute("SELECT id FROM spaces")]

    def apply(self, batch: Batch) -> None:
        """Write the whole batch. Deletions come first, so that their paths are free."""
        self._delete(batch.gone)
        self._blank(batch.blank)
        self._move(batch.moved)
        self._touch(batch.touched)
        self._write_files({row.path: row for row in batch.files})
        self._write_texts({(row.root_id, row.digest): row for row in batch.texts})
        failpoints.reach("after-vectors")
        self._clear_failures(
            [*batch.cleared, *(r.path for r in batch.files), *(r.path for r in batch.moved)]
        )
        self._write_failures(batch.failures)

    def _delete(self, ids: Sequence[int]) -> None:
        if ids:
            self._blank(ids)
            self._db.execute(f"DELETE FROM items WHERE id IN {_IDS}", (id_list(ids),))

    def _blank(self, ids: Sequence[int]) -> None:
        for space_id in self._spaces if ids else ():
            self._drop_vectors(space_id, id_list(ids))
        if ids:
            self._drop_facts(id_list(ids))

    def _drop_facts(self, chosen: str) -> None:
        """Drop what described a file's old content; captions and labels belong to its path."""
        for table in ("fused", "photos"):
            self._db.execute(f"DELETE FROM {table} WHERE item_id IN {_IDS}", (chosen,))

    def _drop_vectors(self, space_id: int, chosen: str) -> None:
        for modality in Modality:
            name = table_name(space_id, modality)
            self._db.execute(
                "INSERT INTO removals (space_id, modality, revision, item_id) "
                f"SELECT ?, ?, ?, item_id FROM {name} WHERE item_id IN {_IDS}",
                (space_id, modality.value, self._revision, chosen),
            )
            self._db.execute(f"DELETE FROM {name} WHERE item_id IN {_IDS}", (chosen,))

    def _move(self, moved: Sequence[MovedRow]) -> None:
        """Give items their new paths; two may have swapped names, so free the old ones first."""
        if not moved:
            return
        known = self._items([row.id for row in moved])
        self._db.execute(
            f"UPDATE items SET path = CAST('moving ' || id AS BLOB) WHERE id IN {_IDS}",
            (id_list(row.id for row in moved),),
        )
        self._delete([known[0] for known in self._by_path([r.path for r in moved]).values()])
        to = {row.id: row for row in moved}
        self._update_items(
            (
                *row[:2],
                to[row[0]].root_id,
                to[row[0]].path,
                *row[4:7],
                to[row[0]].mtime_ns,
            )
            for row in known
        )

    def _touch(self, touched: Sequence[TouchedRow]) -> None:
        """Give items their new times, with a checksum of the whole row."""
        rows = self._items([row.id for row in touched])
        times = {row.id: row.mtime_ns for row in touched}
        self._update_items((*row[:7], times[row[0]]) for row in rows)

    def _items(self, ids: Sequence[int]) -> list[ItemValues]:
        """Return the rows of items, checked: a new checksum must not hide a damaged value."""
        rows = self._db.execute(
            f"SELECT {ITEM_COLUMNS}, crc FROM items WHERE id IN {_IDS}", (id_list(ids),)
        )
        return [checked_item(row[:8], row[8]) for row in rows.fetchall()]

    def _update_items(self, rows: Iterable[ItemValues]) -> None:
        self._db.conn.executemany(
            "UPDATE items SET path = ?, root_id = ?, mtime_ns = ?, crc = ? WHERE id = ?",
            [(row[3], row[2], row[7], item_checksum(row), row[0]) for row in rows],
        )

    def _by_path(self, paths: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Return (id, digest) of the items at those paths."""
        found: dict[bytes, tuple[int, bytes]] = {}
        for start in range(0, len(paths), _PARAMETERS):
            some = paths[start : start + _PARAMETERS]
            marks = ", ".join("?" * len(some))
            for path, number, digest in self._db.execute(
                f"SELECT path, id, digest FROM items WHERE path IN ({marks})", some
            ):
                found[path] = (number, digest)
        return found

    def _write_files(self, rows: dict[bytes, FileRow]) -> None:
        known = self._by_path(list(rows))
        fresh = self._fresh_ids()
        ids = {path: known[path][0] if path in known else next(fresh) for path in rows}
        changed = [
            number
            for path, (number, digest) in known.items()
            if digest != bytes.fromhex(rows[path].digest)
        ]
        for space_id in self._spaces:
            if changed and (self._target is None or space_id != self._target.space_id):
                self._drop_vectors(space_id, id_list(changed))
        if changed:
            self._drop_facts(id_list(changed))
        self._upsert_items(
            (
                ids[path],
                Modality.IMAGE.value,
                row.root_id,
                path,
                None,
                bytes.fromhex(row.digest),
                row.size,
                row.mtime_ns,
            )
            for path, row in rows.items()
        )
        self._upsert_vectors(Modality.IMAGE, [(ids[path], row) for path, row in rows.items()])
        self._unfuse(ids.values())
        facts = ((ids[path], row.photo) for path, row in rows.items())
        write_photos(self._db.conn, ((number, photo) for number, photo in facts if photo))

    def _unfuse(self, ids: Iterable[int]) -> None:
        """Forget what vectors of the current space were fused of: they are the pictures' own."""
        if self._target is not None:
            self._db.execute(
                f"DELETE FROM fused WHERE space_id = ? AND item_id IN {_IDS}",
                (self._target.space_id, id_list(ids)),
            )

    def _write_texts(self, rows: dict[tuple[int | None, str], TextRow]) -> None:
        fresh = self._fresh_ids()
        ids = {key: self._text_id(key) or next(fresh) for key in rows}
        self._upsert_items(
            (
                ids[key],
                Modality.TEXT.value,
                row.root_id,
                None,
                row.text,
                bytes.fromhex(row.digest),
                len(row.text.encode()),
                0,
            )
            for key, row in rows.items()
        )
        self._upsert_vectors(Modality.TEXT, [(ids[key], row) for key, row in rows.items()])

    def _text_id(self, key: tuple[int | None, str]) -> int | None:
        root_id, digest = key
        row = self._db.execute(
            "SELECT id FROM items WHERE ifnull(root_id, 0) = ? AND digest = ? AND text IS NOT NULL",
            (root_id or 0, bytes.fromhex(digest)),
        ).fetchone()
        return None if row is None else int(row[0])

    def _fresh_ids(self) -> "_Counter":
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
        return _Counter(0 if row is None else int(row[0]))

    def _upsert_items(self, rows: Iterable[ItemValues]) -> None:
        sealed = [(*row, item_checksum(row)) for row in rows]
        self._db.table("items").upsert_all([[*ITEM_COLUMNS.split(", "), "crc"], *sealed], pk="id")

    def _upsert_vectors(
        self, modality: Modality, rows: Sequence[tuple[int, FileRow | TextRow]]
    ) -> None:
        if not rows:
            return
        if self._target is None:
            raise ConfigError("the library has no space yet; set one before adding items")
        packed = [
            (number, self._revision, *pack(number, row.vector, self._target.dim))
            for number, row in rows
        ]
        name = table_name(self._target.space_id, modality)
        self._db.table(name).upsert_all([_VECTOR_COLUMNS, *packed], pk="item_id")

    def _clear_failures(self, paths: Sequence[bytes]) -> None:
        for path in paths:
            self._db.execute("DELETE FROM failures WHERE path = ?", (path,))

    def _write_failures(self, failures: Sequence[Failure]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (
                failure.path,
                failure.root_id,
                failure.reason,
                failure.size,
                failure.mtime_ns,
                None if failure.digest is None else bytes.fromhex(failure.digest),
                now,
            )
            for failure in failures
        ]
        self._db.table("failures").upsert_all(
            [[*FAILURE_COLUMNS.split(", "), "crc"], *((*row, row_checksum(row)) for row in rows)],
            pk="path",
        )


class _Counter:
    """Hands out the numbers after `last`."""

    def __init__(self, last: int) -> None:
        self._last = last

    def __next__(self) -> int:
        self._last += 1
        return self._last
