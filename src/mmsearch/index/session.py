"""An open catalog file: reading in snapshots, writing in transactions.

Reading uses plain `sqlite3`; sqlite-utils is imported when a catalog is opened for writing.
A session belongs to the thread that opened it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmsearch.errors import InputError
from mmsearch.index import database, failpoints

if TYPE_CHECKING:
    from sqlite_utils import Database


class Session:
    """A connection to the catalog and, for a writer, the right to write."""

    def __init__(self, directory: Path, connection: sqlite3.Connection, closing: ExitStack) -> None:
        self.directory = directory
        self._connection = connection
        self._closing = closing
        self._writer: Database | None = None
        self._in_snapshot = False

    @classmethod
    def open(cls, directory: Path, *, write: bool = False) -> Self:
        """Open a library's catalog; for writing, take the lock, create and migrate.

        Raises InputError when there is none to read, LibraryBusyError when another process
        writes, UnsoundLibraryError when it is damaged or was written by a newer version.
        """
        with ExitStack() as opening:
            if not write:
                connection = database.connect_reader(directory)
                opening.callback(connection.close)
                return cls(directory, connection, opening.pop_all())
            from mmsearch.index.lock import WriterLock

            _make_directory(directory)
            opening.callback(WriterLock(directory).release)
            connection = database.connect_writer(directory)
            opening.callback(connection.close)
            writer = _migrated(directory, connection)
            session = cls(directory, connection, opening.pop_all())
            session._writer = writer
            return session

    def close(self) -> None:
        """Close the file and give the lock back; a second call does nothing."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def writable(self) -> bool:
        """Whether this catalog was opened for writing."""
        return self._writer is not None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let everything read inside see one moment, whatever a writer commits meanwhile."""
        with database.explained(self.directory):
            if self._connection.in_transaction:
                yield
            else:
                with self._moment():
                    yield

    @contextmanager
    def _moment(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        self._in_snapshot = True
        try:
            yield
        finally:
            self._in_snapshot = False
            self._connection.rollback()

    @contextmanager
    def transaction(self) -> Iterator["Database"]:
        """Let everything written inside happen as one, or not at all.

        Raises InputError when the session is for reading, or the disk is full.
        """
        if self._writer is None:
            raise InputError(f"the library {self.directory} is open for reading only")
        if self._in_snapshot:
            raise RuntimeError("a snapshot is open; what is written inside it would be lost")
        with database.explained(self.directory):
            with self._writer.atomic():
                yield self._writer
                failpoints.reach("before-commit")
            failpoints.reach("after-commit")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows of one query."""
        with database.explained(self.directory):
            return self._connection.execute(sql, values).fetchall()


def _migrated(directory: Path, connection: sqlite3.Connection) -> "Database":
    from sqlite_utils import Database

    from mmsearch.index.migrations import migrate

    db = Database(connection, execute_plugins=False)
    with database.explained(directory):
        migrate(db)
    database.fsync_directory(directory)
    return db


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the library {directory}: {error.strerror}") from error
