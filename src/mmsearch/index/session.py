"""An open catalog file: reading in snapshots, writing in transactions.

Reading uses plain `sqlite3`; sqlite-utils is imported when a catalog is opened for writing.
A session belongs to the thread that opened it.
"""

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from mmsearch.errors import InputError
from mmsearch.index import database, failpoints, seals, watermark
from mmsearch.index.checksums import DamagedRowError

if TYPE_CHECKING:
    from sqlite_utils import Database

    from mmsearch.index.lock import WriterLock

_PANDAS: Final = "pandas"
_COMMAND_LINE: Final = "mmsearch.cli"


class Session:
    """A connection to the catalog and, for a writer, the right to write."""

    def __init__(self, directory: Path, connection: sqlite3.Connection) -> None:
        self.directory = directory
        self._connection = connection
        self._closing = ExitStack()
        self._writer: Database | None = None
        self._in_snapshot = False
        self._verified = -1

    @classmethod
    def open(
        cls, directory: Path, *, write: bool = False, lock: "WriterLock | None" = None
    ) -> Self:
        """Open a library's catalog; for writing, take the lock, create and migrate.

        A `lock` that the caller holds already stays the caller's.
        Raises InputError when there is none to read, LibraryBusyError when another process
        writes, UnsoundLibraryError when it is damaged or was written by a newer version.
        """
        with ExitStack() as opening:
            if not write:
                connection = database.connect_reader(directory)
                opening.callback(connection.close)
                session = cls(directory, connection)
                session._take(opening)
                return session
            from mmsearch.index.lock import WriterLock

            _make_directory(directory)
            if lock is None:
                opening.callback(WriterLock(directory).release)
            connection = database.connect_writer(directory)
            opening.callback(connection.close)
            writer = _migrated(directory, connection)
            session = cls(directory, connection)
            session._writer = writer
            session._take(opening)
            return session

    def _take(self, opening: ExitStack) -> None:
        """Verify the catalog; from now on it is the session that closes what was opened."""
        with self.snapshot():
            self._closing = opening.pop_all()

    def close(self) -> None:
        """Close the file and give the lock back; a second call does nothing."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def in_snapshot(self) -> bool:
        """Whether what is read now is of one moment."""
        return self._in_snapshot

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
        noted = watermark.read(self.directory)
        self._connection.execute("BEGIN")
        self._in_snapshot = True
        try:
            self._verify(noted)
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
            if self._connection.in_transaction:
                with self._writer.atomic():
                    yield self._writer
            else:
                with self._committed(self._writer):
                    yield self._writer

    @contextmanager
    def _committed(self, writer: "Database") -> Iterator[None]:
        """Verify the seals, let the caller write, seal what there is then, and commit."""
        with writer.atomic():
            seals.verify(self._connection)
            yield
            writer.execute("UPDATE library SET commits = commits + 1")
            watermark.ensure_id(self._connection)
            seals.renew(self._connection)
            mark = watermark.mark_of(self._connection)
            failpoints.reach("before-commit")
        watermark.advance(self.directory, mark)
        failpoints.reach("after-commit")

    def vacuum(self) -> None:
        """Write the file anew without free pages; readers go on with the old content meanwhile.

        Raises InputError when the session is for reading, or the disk is full.
        """
        if self._writer is None:
            raise InputError(f"the library {self.directory} is open for reading only")
        with database.explained(self.directory):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _verify(self, noted: watermark.Mark | None) -> None:
        """Compare the catalog with its seals, once for each state that others leave it in.

        `noted` is what was known of it before the moment at hand. It is compared every
        time: a repair replaces the file, and who has the old one open sees no change of it.
        """
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._verified:
            seals.verify(self._connection)
            self._verified = version
        watermark.compare(noted, watermark.mark_of(self._connection))

    def moment(self) -> tuple[int, int]:
        """Return what changes whenever the catalog does; inside the snapshot that is read from.

        SQLite's data version counts the commits of others, its total of changes our own.
        """
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return version, self._connection.total_changes

    def define(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Let SQL call some functions by their names; they give the same for the same."""
        for name, function in functions.items():
            self._connection.create_function(name, -1, function, deterministic=True)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows of one query."""
        with database.explained(self.directory):
            return self._connection.execute(sql, values).fetchall()


def _migrated(directory: Path, connection: sqlite3.Connection) -> "Database":
    db = _database_class()(connection, execute_plugins=False)
    with database.explained(directory):
        if database.schema_version(connection) < database.SCHEMA_VERSION:
            _migrate(db)
    database.fsync_directory(directory)
    return db


def _database_class() -> "type[Database]":
    """Import sqlite-utils, on the command line without pandas.

    Where pandas is installed sqlite-utils loads it, for a third of a second, to know its time
    stamps; no row here has one. A program of somebody else's may use both later, and another
    thread may want pandas at this very moment.
    """
    alone = _COMMAND_LINE in sys.modules and threading.active_count() == 1
    unwanted = alone and _PANDAS not in sys.modules
    if unwanted:
        sys.modules[_PANDAS] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        from sqlite_utils import Database
    finally:
        if unwanted:
            del sys.modules[_PANDAS]
    return Database


def _migrate(db: "Database") -> None:
    from mmsearch.index.migrations import migrate

    try:
        migrate(db)
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code != sqlite3.SQLITE_ERROR or str(error) == database.NO_FTS5:
            raise
        raise DamagedRowError(f"its tables are not those of its version: {error}") from error
    if database.schema_version(db.conn) != database.SCHEMA_VERSION:
        raise DamagedRowError("its version is not that of its tables")


def _make_directory(directory: Path) -> None:
    """Make the library's folder, so that a power cut does not take it away again."""
    try:
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # a folder may be written to and not read
                database.fsync_directory(directory.parent)
    except OSError as error:
        raise InputError(f"cannot make the library {directory}: {error.strerror}") from error
