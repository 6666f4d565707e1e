"""The SQLite file behind the catalog: how it is opened, and what its errors mean."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from mmsearch.errors import InputError, LibraryBusyError, MMSearchError, UnsoundLibraryError
from mmsearch.index import watermark
from mmsearch.index.checksums import DamagedRowError

FILE = "catalog.sqlite"
SWAP = f"{FILE}.swap"  # a repaired catalog that is about to take the place of the old one
QUARANTINE = "quarantine"  # the folder in which a repair keeps the catalogs that it replaced
APPLICATION_ID = 0x6D6D7372  # "mmsr", at offset 68 of the file
SCHEMA_VERSION = 3
PAGE_SIZE = 16384  # a 1024-d float16 vector fits a page several times over
BUSY_SECONDS = 30.0
NO_FTS5 = "no such module: fts5"  # Python's usual builds have it
_READ_WRITE = "mode=rw"

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What `sqlite3` raises where a catalog is damaged; the latter when its message is no text."""


class DamagedCatalogError(UnsoundLibraryError):
    """The catalog is a library's, and what it holds cannot be trusted: `repair` is for it."""


def is_made(directory: Path) -> bool:
    """Return whether `directory` holds a library; a half-made one counts as none.

    Raises UnsoundLibraryError when its catalog is damaged, foreign or from a newer version.
    """
    return _made_version(directory) > 0


def is_older(directory: Path) -> bool:
    """Return whether `directory` holds a library that a writer would have to migrate.

    Raises UnsoundLibraryError as `is_made` does.
    """
    return 0 < _made_version(directory) < SCHEMA_VERSION


def _made_version(directory: Path) -> int:
    """Return the version of a library's schema, 0 when it is absent or half made."""
    path = directory / FILE
    _refuse_lost(directory)
    try:
        if path.stat().st_size == 0:
            return 0
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise InputError(f"cannot read the library {directory}: {error.strerror}") from error
    with explained(directory):
        connection = _connect_reading(directory)
        try:
            return _version(connection, directory)
        finally:
            connection.close()


def connect_reader(directory: Path) -> sqlite3.Connection:
    """Open an existing catalog for reading.

    Raises InputError when there is none, UnsoundLibraryError when it is damaged, foreign,
    or of another version.
    """
    _refuse_lost(directory)
    if not (directory / FILE).exists():
        raise _absent(directory)
    with explained(directory):
        connection = _connect_reading(directory)
        try:
            version = _version(connection, directory)
            if version == 0:
                raise _absent(directory)
            if version < SCHEMA_VERSION:
                raise UnsoundLibraryError(
                    f"the library {directory} was written by an older mmsearch; "
                    "run `mmsearch index` on it once to upgrade it"
                )
            connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_unverified(directory: Path) -> sqlite3.Connection:
    """Open whatever lies in the catalog's place for reading, damaged as it may be.

    Damage beyond the file's header shows when something is read.
    """
    with explained(directory):
        connection = _connect_reading(directory)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA cell_size_check = 1")
    return connection


def connect_writer(directory: Path) -> sqlite3.Connection:
    """Open the catalog for writing and create the file when it is absent.

    The schema is left to the migrations. The caller holds the writer lock. Raises
    UnsoundLibraryError when the file is damaged, foreign, or from a newer version.
    """
    _refuse_lost(directory)
    with explained(directory):
        connection = _connect(directory, "mode=rwc")
        try:
            if _version(connection, directory) == 0:
                connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = 1")
        except BaseException:
            connection.close()
            raise
    return connection


def read_mode(directory: Path) -> str:
    """Return the URI parameters with which a reader opens the catalog.

    On read-only media without a writer or pending changes SQLite is told that nothing can
    change, since it could not create its shared-memory file. Elsewhere readers open read-write
    (and forbid themselves to write), so that the last to close leaves no write-ahead log.
    """
    if os.access(directory, os.W_OK):
        return _READ_WRITE
    log, shared = directory / f"{FILE}-wal", directory / f"{FILE}-shm"
    if shared.exists() or (log.exists() and log.stat().st_size > 0):
        return "mode=ro"
    return "mode=ro&immutable=1"


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Translate SQLite's errors about the file into ours; programming errors pass."""
    try:
        yield
    except DamagedRowError as error:
        raise damaged(directory, str(error)) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
        raise damaged(directory, "its schema is no text") from error
    except sqlite3.DatabaseError as error:
        if str(error) == NO_FTS5:
            raise MMSearchError("this Python's SQLite lacks FTS5; use another Python") from error
        translated = _translate(error, directory)
        if translated is None:
            raise
        raise translated from error


def _refuse_lost(directory: Path) -> None:
    """Refuse a catalog that is in the middle of a repair, or that is gone with what it held."""
    if (directory / SWAP).exists():
        raise damaged(directory, "its repair was interrupted")
    path = directory / FILE
    if watermark.noted_commits(directory) and not (path.exists() and path.stat().st_size):
        raise damaged(directory, "it is empty or gone")


def _connect(directory: Path, mode: str) -> sqlite3.Connection:
    path = os.fsencode((directory / FILE).absolute())
    return sqlite3.connect(
        f"file:{quote(path)}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def _connect_reading(directory: Path) -> sqlite3.Connection:
    """Open the catalog for reading, also where the disk is full.

    Readers share a small file in memory with the writer. Where there is no room for it, the
    catalog is opened as if by its only user, who needs none; others wait meanwhile.
    """
    mode = read_mode(directory)
    connection = _connect(directory, mode)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:  # whatever else is wrong shows when something is read
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if mode == _READ_WRITE and code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
            connection.close()
            connection = _connect(directory, mode)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _version(connection: sqlite3.Connection, directory: Path) -> int:
    """Return the schema version, 0 for an empty file; refuse what is not ours or newer."""
    noted = watermark.noted_commits(directory)  # read first: the catalog is never behind it
    connection.execute("BEGIN")  # somebody may be making the library just now
    try:
        return _sound_version(connection, directory, noted)
    finally:
        connection.rollback()


def _sound_version(connection: sqlite3.Connection, directory: Path, noted: int) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = schema_version(connection)
    if application != APPLICATION_ID and not _is_empty(connection, application, version):
        if _has_tables(connection):
            raise DamagedRowError("its header is not that of a library")
        raise UnsoundLibraryError(
            f"{directory / FILE} is not a catalog of mmsearch; choose another --library"
        )
    if version > SCHEMA_VERSION:
        if _has_tables(connection) and _steps(connection) <= SCHEMA_VERSION:
            raise DamagedRowError("its version is not that of its tables")
        raise UnsoundLibraryError(
            f"the library {directory} was written by a newer mmsearch (schema {version}, "
            f"this one knows {SCHEMA_VERSION}); upgrade mmsearch to open it"
        )
    if version == 0 and _has_tables(connection):
        raise DamagedRowError("it has tables and no version")
    if version == 0 and noted:
        raise DamagedRowError("it holds nothing")
    return version


def _is_empty(connection: sqlite3.Connection, application: int, version: int) -> bool:
    """Return whether this is a database that nobody has written to."""
    query = "SELECT count(*) FROM sqlite_master"
    return application == version == 0 and connection.execute(query).fetchone()[0] == 0


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Return whether these are the tables of a library, whatever the header says."""
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('library', 'items', 'spaces')"
    return bool(connection.execute(query).fetchone()[0] > 1)


def _steps(connection: sqlite3.Connection) -> int:
    """Return how many migrations have made the schema."""
    try:
        (steps,) = connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()
    except sqlite3.OperationalError as error:
        raise DamagedRowError(str(error)) from error
    return int(steps)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema, 0 before there is one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _absent(directory: Path) -> InputError:
    return InputError(f"there is no library at {directory}; run `mmsearch index PATH` first")


def _translate(error: sqlite3.DatabaseError, directory: Path) -> MMSearchError | None:
    if str(error).startswith("Could not decode to UTF-8"):  # Python's own: it has no code
        return damaged(directory, "a text is not UTF-8")
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(directory, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LibraryBusyError(f"the library {directory} is in use; run this again later")
        case sqlite3.SQLITE_FULL:
            return InputError(
                f"no space left for the library {directory}; free some and run this again: "
                "what was finished is kept"
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_IOERR:
            return InputError(_out_of_reach(directory, error))
        case _:
            return None


def _out_of_reach(directory: Path, error: sqlite3.DatabaseError) -> str:
    said = f"cannot read or write the library {directory}: {error}"
    log = directory / f"{FILE}-wal"
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return f"{said}; no space is left on its disk, where reading needs 32 KiB: free some"
    if not os.access(directory, os.W_OK) and log.exists():
        return (
            f"{said}; it cannot be written to, and its last writer was killed: open it once where "
            "it can, or copy the whole folder to where it can and use the copy"
        )
    return f"{said}; check the permissions of its files, and the disk"


def fsync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(directory: Path, reason: str) -> DamagedCatalogError:
    """Return the error for a catalog whose content cannot be trusted."""
    return DamagedCatalogError(
        f"the catalog {directory / FILE} is damaged ({reason}); `mmsearch check` says what, "
        "`mmsearch repair` keeps what is sound and sets the rest aside"
    )
