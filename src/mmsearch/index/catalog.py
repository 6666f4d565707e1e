"""The catalog: SQLite, the library's only truth about items, vectors, roots and failures."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.core import Ids, Item, Modality, Space, Vectors
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index import database, failpoints, selection
from mmsearch.index.checksums import (
    FAILURE_COLUMNS,
    FUSED_COLUMNS,
    ITEM_COLUMNS,
    DamagedRowError,
    ItemValues,
    checked,
    checked_item,
    row_checksum,
)
from mmsearch.index.registry import Registry
from mmsearch.index.rows import (
    Batch,
    Counts,
    Failure,
    KnownFile,
    KnownText,
    Root,
)
from mmsearch.index.vectors import HALF, VectorTable, id_list, table_name

_PARAMETERS = 500  # of one statement, below SQLite's oldest limit of 999


class Catalog(Registry):
    """Items, vectors, failures, roots and settings of one library; made by `Catalog.open`.

    A catalog belongs to the thread that opened it.
    """

    @staticmethod
    def exists(directory: Path) -> bool:
        """Return whether `directory` holds a library; a half-made one counts as none.

        Raises UnsoundLibraryError when its catalog is damaged, foreign or too new.
        """
        return database.is_made(directory)

    @staticmethod
    def is_older(directory: Path) -> bool:
        """Return whether `directory` holds a library that opening for writing migrates.

        Raises UnsoundLibraryError when its catalog is damaged, foreign or too new.
        """
        return database.is_older(directory)

    # Items

    def known_files(self, root_id: int) -> dict[bytes, KnownFile]:
        """Return the pictures at or under a root's path, by path.

        Pictures under it that were found through another root are among them, so that a
        folder inside an indexed folder is not indexed twice. One query.
        """
        ((path,),) = self.rows("SELECT path FROM roots WHERE id = ?", root_id)
        return self.known_under(path)

    def known_under(self, path: bytes) -> dict[bytes, KnownFile]:
        """Return the pictures at or under a path, by path."""
        encoded = self._encoded(Modality.IMAGE, many=True)
        return {
            known.path: known
            for where, values in selection.at_or_under(path)
            for known in self._files(where, *values, encoded=encoded)
        }

    def known_texts(self, root_id: int | None) -> dict[str, KnownText]:
        """Return the sentences of a root, by digest; None: those added from Python."""
        rows = self._items(
            self._encoded(Modality.TEXT),
            "text IS NOT NULL AND ifnull(root_id, 0) = ?",
            root_id or 0,
        )
        texts = (KnownText(row[0], row[5].hex(), bool(has)) for row, has in rows)
        return {text.digest: text for text in texts}

    def files_by_digest(self, digests: Sequence[str]) -> dict[str, list[KnownFile]]:
        """Return the pictures that have these contents, by digest; for moves and copies."""
        found: dict[str, list[KnownFile]] = {}
        for start in range(0, len(digests), _PARAMETERS):
            some = [bytes.fromhex(digest) for digest in digests[start : start + _PARAMETERS]]
            marks = ", ".join("?" * len(some))
            where = f"path IS NOT NULL AND digest IN ({marks})"
            encoded = self._encoded(Modality.IMAGE)
            for known in self._files(where, *some, encoded=encoded):
                found.setdefault(known.digest, []).append(known)
        return found

    def _files(self, where: str, *values: object, encoded: str) -> Iterator[KnownFile]:
        for row, has in self._items(encoded, where, *values):
            number, _, _, path, _, digest, size, mtime_ns = row
            yield KnownFile(number, path or b"", size, mtime_ns, digest.hex(), bool(has))

    def _items(self, more: str, where: str, *values: object) -> Iterator[tuple[ItemValues, Any]]:
        """Yield the items' rows that fit, checked, each with the value of one more expression."""
        rows = self.rows(
            f"SELECT {ITEM_COLUMNS}, crc, {more} FROM items WHERE {where} ORDER BY items.id",
            *values,
        )
        with database.explained(self.directory):
            for row in rows:
                yield checked_item(row[:8], row[8]), row[9]

    def _encoded(self, modality: Modality, *, many: bool = False) -> str:
        """Return the SQL expression that tells whether an item has a current vector.

        With `many` rows to ask it of, it pays to see first whether all have one: a look-up a
        row would read the whole table of vectors.
        """
        current = self._current_space()
        if current is None:
            return "0"
        name = table_name(current[0], modality)
        if many and selection.waiting(self, current[0], modality) == 0:
            return "1"
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
        found = self._items(
            "(SELECT path FROM roots WHERE roots.id = root_id)",
            "items.id IN (SELECT value FROM json_each(?))",
            id_list(ids),
        )
        return {row[0]: _item(row, root) for row, root in found}

    def found_items(self, space: Space, ids: Sequence[int] | Ids) -> dict[int, Item]:
        """Return the items that a search has found, without those deleted since.

        Raises UnsoundLibraryError when a vector is there and its item is not.
        """
        with self.snapshot():
            items = self.items(ids)
            missing = [int(number) for number in ids if int(number) not in items]
            for modality in Modality if missing else ():
                orphans, _ = self.vector_table(space, modality).find(missing)
                if len(orphans):
                    raise DamagedRowError(f"item {orphans[0]} has a vector and no row")
        return items

    def counts(self) -> Counts:
        """Return how much the library holds, all of one moment."""
        with self.snapshot():
            held = dict(self.rows("SELECT modality, rows FROM item_tallies"))
            ((failed,),) = self.rows("SELECT count(*) FROM failures")
            offline = selection.disjoint([root for root in self.roots() if root.offline])
            return Counts(
                held[Modality.IMAGE.value],
                held[Modality.TEXT.value],
                failed,
                sum(map(self._held, offline)),
            )

    def _held(self, root: Root) -> int:
        """Return how many items a root holds, wherever they were first found."""
        return selection.count(self, selection.of_root(root))

    def failures(self, root_id: int | None = None) -> list[Failure]:
        """Return what could not be indexed, by path; of one root when asked."""
        rows = self.rows(
            f"SELECT {FAILURE_COLUMNS}, crc FROM failures "
            "WHERE ? IS NULL OR root_id = ? ORDER BY path",
            root_id,
            root_id,
        )
        with database.explained(self.directory):
            return [_failure(row[:7], row[7]) for row in rows]

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

    def own_vectors(self, space: Space, ids: Sequence[int] | Ids) -> Vectors:
        """Return (n, dim) float32 as `vectors` does, of fused items that of the picture alone.

        Raises InputError as `vectors`.
        """
        with self.snapshot():
            vectors = self.vectors(space, ids)
            space_id = self.vector_table(space, Modality.IMAGE).space_id
            rows = self.rows(
                f"SELECT {FUSED_COLUMNS}, crc FROM fused WHERE space_id = ? "
                "AND item_id IN (SELECT value FROM json_each(?))",
                space_id,
                id_list(ids),
            )
            own = {row[1]: checked(row, "a fused vector", place=1)[4] for row in rows}
        for place, number in enumerate(ids):
            if int(number) in own:
                vectors[place] = np.frombuffer(own[int(number)], dtype=HALF)
        return vectors

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

    def waiting(self) -> int:
        """Return how many items are yet to be encoded in the current space: from the tallies.

        More than none when encoding everything anew was interrupted. Items whose file cannot be
        read at present are failures, and wait for nothing that could be done here.
        """
        with self.snapshot():  # a writer that commits between two tallies would leave a difference
            current = self._current_space()
            if current is None:
                return 0
            waiting = sum(selection.waiting(self, current[0], modality) for modality in Modality)
            return waiting and waiting - selection.broken(self, current[0])


def _item(row: ItemValues, root: bytes | None) -> Item:
    number, modality, _, path, text, digest, size, mtime_ns = row
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


def _failure(row: tuple[Any, ...], crc: int) -> Failure:
    path, root_id, reason, size, mtime_ns, digest, at = row
    if row_checksum(row) != crc:
        raise DamagedRowError("the row of a failure does not match its checksum")
    return Failure(path, reason, size, mtime_ns, digest and digest.hex(), root_id, at)
