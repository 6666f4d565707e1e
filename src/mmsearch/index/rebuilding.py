"""Make a catalog of what is sound in a damaged one; ids are kept and never go back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

from mmsearch.core import Modality
from mmsearch.index import database, seals, watermark
from mmsearch.index.checksums import (
    FAILURE_COLUMNS,
    ITEM_COLUMNS,
    DamagedRowError,
    checked_item,
    item_checksum,
    row_checksum,
)
from mmsearch.index.migrations import migrate, tally_space
from mmsearch.index.rebuilding_attributes import copy_attributes
from mmsearch.index.rows import RootKind
from mmsearch.index.salvage import Salvaged, readable
from mmsearch.index.vectors import table_name, table_statements, unpack

_LARGEST: Final = 1 << 40  # an id above is a flipped bit
_MARGIN: Final = 1_000_000  # ids left out when nobody knows which one was the last


def rebuild(source: sqlite3.Connection, folder: Path, noted: int) -> Salvaged:
    """Write a new catalog into `folder` from every sound row of `source`.

    `noted` is the number of commits that the library is known to have had. Raises
    sqlite3.DatabaseError or OSError when the new one cannot be written.
    """
    folder.mkdir(parents=True)
    with closing(database.connect_writer(folder)) as target:
        migrate(Database(target, execute_plugins=False))
        work = _Rebuild(source, target)
        target.execute("BEGIN IMMEDIATE")
        work.copy(noted)
        seals.renew(target)
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return work.done


class _Rebuild:
    """Copies table after table."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        self.done = Salvaged()
        self._source = source
        self._target = target
        self._revision = 0
        self._spaces: dict[int, int] = {}
        self._seals = self._stored_seals()

    def copy(self, noted: int) -> None:
        """Copy everything, and say what became of it in `done`."""
        self._copy_spaces()
        self._copy_small("settings", ("key", "value"))
        self._copy_roots()
        high = self._highest()
        self._copy_items(high)
        for space_id, dim in self._spaces.items():
            for modality in Modality:
                self._copy_vectors(space_id, dim, modality, high)
        self.done.dropped_rows = copy_attributes(self._source, self._target, high, self._spaces)
        self._copy_failures()
        self._copy_forgotten()
        self._name_lost()
        self._set_sequences(high)
        self._set_library(noted)
        ((self.done.items, self.done.vectors),) = self._target.execute(
            "SELECT (SELECT count(*) FROM items), (SELECT ifnull(sum(rows), 0) FROM tallies)"
        ).fetchall()

    # Small tables: a row counts when its seal does

    def _stored_seals(self) -> seals.Seals:
        try:
            return seals.stored(self._source)
        except database.UNREADABLE:
            return {}

    def _small(
        self, table: str, columns: tuple[str, ...]
    ) -> Iterator[tuple[tuple[Any, ...], bool]]:
        """Yield the rows of a small table and whether they match their seals."""
        try:
            actual = seals.seals_of(self._source, table)
            rows = self._source.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        except database.UNREADABLE as error:
            self.done.unverified.append(f"{table} cannot be read ({error})")
            return
        keys = seals.TABLES[table].keys
        for row in rows:
            name = (table, seals.row_name(row[:keys]))
            yield row, name in actual and actual[name] == self._seals.get(name)

    def _copy_spaces(self) -> None:
        for row, sound in self._small("spaces", ("id", "name", "dim", "digest")):
            if not sound:  # its vectors might be another model's
                self.done.unverified.append(f"the space {row[1]}; its vectors are left out")
                continue
            self._target.execute("INSERT INTO spaces VALUES (?, ?, ?, ?)", row)
            self._spaces[row[0]] = row[2]
            db = Database(self._target, execute_plugins=False)
            for statement in table_statements(row[0]):
                db.execute(statement)
            tally_space(db, row[0])

    def _copy_small(self, table: str, columns: tuple[str, ...]) -> None:
        for row, sound in self._small(table, columns):
            if not sound and row[0] == watermark.SETTING:
                continue  # the next commit makes another id
            if not sound:
                self.done.unverified.append(f"{row[0]} of {table}, kept as it was read")
            marks = ", ".join("?" * len(row))
            self._target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)

    def _copy_roots(self) -> None:
        for row, sound in self._small("roots", ("id", "path", "kind", "offline")):
            number, path, kind, offline = row
            if not isinstance(path, bytes) or kind not in list(RootKind):
                self.done.unverified.append(f"root {number} is left out; index it again")
                continue
            if not sound:
                self.done.unverified.append(f"the root {path!r}, kept as it was read")
            self._target.execute(
                "INSERT OR IGNORE INTO roots (id, path, kind, offline) VALUES (?, ?, ?, ?)",
                (number, path, kind, int(offline == 1)),
            )

    # Items and vectors: a row counts when its checksum does

    def _highest(self) -> int:
        """Return an id that no item is above."""
        queries = ["SELECT max(seq) FROM sqlite_sequence WHERE name = 'items'"]
        queries += ["SELECT max(id) FROM items", "SELECT max(item_id) FROM removals"]
        for space_id in self._spaces:
            for modality in Modality:
                queries.append(f"SELECT max(item_id) FROM {table_name(space_id, modality)}")
        found = [self._number(query) for query in queries]
        return max(number for number in found if number <= _LARGEST)

    def _number(self, query: str) -> int:
        """Return the number that a query gives; 0 when it gives none."""
        try:
            row = self._source.execute(query).fetchone()
        except database.UNREADABLE:
            return 0
        return row[0] if row and isinstance(row[0], int) else 0

    def _copy_items(self, high: int) -> None:
        roots = {row[0] for row in self._target.execute("SELECT id FROM roots")}
        query = f"SELECT {ITEM_COLUMNS}, crc FROM items WHERE ? < id AND id <= ?"
        for row in readable(self._source, query, high):
            try:
                item = checked_item(row[:8], row[8])
            except DamagedRowError:
                self.done.lost[row[0]] = ""
                continue
            if item[2] not in roots:
                item = (*item[:2], None, *item[3:])
            self._target.execute(
                f"INSERT OR IGNORE INTO items ({ITEM_COLUMNS}, crc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*item, item_checksum(item)),
            )

    def _copy_vectors(self, space_id: int, dim: int, modality: Modality, high: int) -> None:
        name = table_name(space_id, modality)
        query = (
            f"SELECT item_id, crc, vector, revision FROM {name} WHERE ? < item_id AND item_id <= ?"
        )
        for row in readable(self._source, query, high):
            number, crc, content, revision = row
            try:
                unpack([row[:3]], dim)
            except DamagedRowError:
                self.done.dropped_vectors += 1
                continue
            revision = revision if isinstance(revision, int) and revision < _LARGEST else 0
            kept = self._target.execute(
                f"INSERT OR IGNORE INTO {name} (item_id, revision, crc, vector) SELECT ?, ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM items WHERE id = ? AND modality = ?)",
                (number, revision, crc, content, number, modality.value),
            ).rowcount
            self._revision = max(self._revision, revision)
            if not kept:
                self.done.lost.setdefault(number, "")

    def _copy_failures(self) -> None:
        try:
            rows = self._source.execute(f"SELECT {FAILURE_COLUMNS}, crc FROM failures").fetchall()
        except database.UNREADABLE as error:
            self.done.unverified.append(f"the failures are left out ({error})")
            return
        roots = {row[0] for row in self._target.execute("SELECT id FROM roots")}
        for row in rows:
            if row_checksum(row[:7]) == row[7] and row[1] in {None, *roots}:
                self._target.execute(
                    f"INSERT OR IGNORE INTO failures ({FAILURE_COLUMNS}, crc) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )

    def _copy_forgotten(self) -> None:
        try:
            rows = self._source.execute("SELECT path FROM forgotten").fetchall()
        except database.UNREADABLE as error:
            self.done.unverified.append(f"the forgotten paths are left out ({error})")
            return
        self._target.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", rows)

    def _name_lost(self) -> None:
        """Find the paths of lost items in the index of paths, which has them once more."""
        kept = "SELECT 1 FROM items WHERE id = ?"
        query = "SELECT id, path FROM items INDEXED BY items_path WHERE path IS NOT NULL"
        try:
            for number, path in self._source.execute(query):
                known = self._target.execute(kept, (number,)).fetchone()
                if known is None and isinstance(path, bytes):
                    self.done.lost[number] = path.decode("utf-8", "surrogateescape")
        except database.UNREADABLE:  # then they stay without a name
            return

    # Counters

    def _set_sequences(self, high: int) -> None:
        sound = {
            row[0]: row[1] for row, good in self._small("sqlite_sequence", ("name", "seq")) if good
        }
        for table in ("items", "roots", "generations"):
            column = "number" if table == "generations" else "id"
            known = sound.get(table)
            last = max(
                self._number(f"SELECT max({column}) FROM {table}") if table != "items" else high,
                _MARGIN if known is None else known,
            )
            last = last + _MARGIN if known is None else last
            self._target.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            self._target.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last)
            )

    def _set_library(self, noted: int) -> None:
        """Set the counters and the current space: as they were, or as the rows suggest."""
        columns = ("id", "revision", "space_id", "commits")
        rows = [row for row, sound in self._small("library", columns) if sound]
        revision, space_id, commits = rows[0][1:] if rows else (0, self._fullest(), 0)
        self._target.execute(
            "UPDATE library SET revision = ?, space_id = ?, commits = ?",
            (
                max(revision, self._revision) + 1,
                space_id if space_id in self._spaces else None,
                max(commits, noted) + 1,
            ),
        )

    def _fullest(self) -> int | None:
        """Return the space with the most vectors."""
        row = self._target.execute(
            "SELECT space_id FROM tallies GROUP BY space_id ORDER BY sum(rows) DESC"
        ).fetchone()
        return None if row is None else int(row[0])
