"""Salvage a damaged catalog: a new one of every row that can be read and whose checksum holds.

The order makes it safe to kill at any time: the new catalog is built beside the old one and
made durable; the old files are copied into the quarantine; then the new one takes its name
`catalog.sqlite.swap`, the old write-ahead log goes, and the swap replaces the catalog. Until the
last step the old catalog stands, and while a swap is there it is refused (without its log it
would be an older one): the next `repair` finishes.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mmsearch.index import database, watermark
from mmsearch.index.database import FILE, QUARANTINE, SWAP, fsync_directory
from mmsearch.index.generation import synced_copy
from mmsearch.index.schema import mend_schema

_WORK: Final = "repair.tmp"
_LOG: Final = f"{FILE}-wal"
_SHARED: Final = f"{FILE}-shm"
_STAMP: Final = "%Y%m%dT%H%M%S%fZ"


@dataclass(slots=True)
class Salvaged:
    """What became of a damaged catalog.

    `lost`: items that could not be kept, by id, with their path or text where it is known.
    `unverified`: rows kept as they were read, because nothing could be compared.
    `dropped_rows`: how many damaged rows of facts, labels, captions and fused vectors were left
    out, by table.
    """

    items: int = 0
    vectors: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    dropped_vectors: int = 0
    dropped_rows: dict[str, int] = field(default_factory=dict)
    unverified: list[str] = field(default_factory=list)
    quarantine: str = ""


def interrupted(directory: Path) -> bool:
    """Return whether a repair was killed just before its end."""
    return (directory / SWAP).exists()


def salvage(directory: Path) -> Salvaged:
    """Replace the catalog by one of its sound rows. The caller holds the writer lock.

    Raises OSError when the disk is full or fails; then the old catalog stands, and nothing
    that was written stays to keep the disk full.
    """
    work = directory / _WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        done = _prepared(directory, work)
        finish(directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


def _prepared(directory: Path, work: Path) -> Salvaged:
    """Make the new catalog in a folder for the work, set the old one aside, name the swap."""
    from mmsearch.index.rebuilding import rebuild

    old, new = work / "old", work / "new"
    old.mkdir(parents=True)
    for name in (FILE, _LOG):
        if (directory / name).exists():
            shutil.copyfile(directory / name, old / name)
    noted = watermark.noted_commits(directory)
    with closing(opened(old)) as source:
        done = rebuild(source, new, noted)
    done.quarantine = _set_aside(directory)
    (new / FILE).replace(directory / SWAP)
    fsync_directory(directory)
    return done


def finish(directory: Path) -> None:
    """Put the new catalog in the place of the old one; the old one is in the quarantine."""
    (directory / _LOG).unlink(missing_ok=True)
    (directory / _SHARED).unlink(missing_ok=True)
    fsync_directory(directory)
    (directory / SWAP).replace(directory / FILE)
    fsync_directory(directory)
    with closing(database.connect_unverified(directory)) as connection:
        mark = watermark.mark_of(connection)
    watermark.advance(directory, mark)


def _set_aside(directory: Path) -> str:
    """Copy the catalog's files into a folder of the quarantine; return its name."""
    name = f"{QUARANTINE}/{datetime.now(UTC).strftime(_STAMP)}"
    folder = directory / name
    folder.mkdir(parents=True)
    try:
        for file in (FILE, _LOG, watermark.NAME):
            if (directory / file).is_file():
                synced_copy(directory / file, folder / file)
    except OSError:  # the originals stand where they were
        shutil.rmtree(folder, ignore_errors=True)
        raise
    fsync_directory(folder)
    fsync_directory(folder.parent)
    fsync_directory(directory)
    return name


def opened(folder: Path) -> sqlite3.Connection:
    """Open a copy of a damaged catalog so that as much as possible can be read.

    The header's fields are constants of every library: a header that SQLite refuses is written
    anew. A schema that is damaged in part is read in part, and a file that is too short as far
    as it goes. Of what cannot be opened at all an empty database is returned.
    """
    path = folder / FILE
    for mend in (False, True):
        if mend and not _mend_header(path):
            break
        try:
            with closing(_lenient(path)) as connection:
                mend_schema(connection)
            return _lenient(path)
        except database.UNREADABLE:
            continue
    return sqlite3.connect(":memory:", isolation_level=None)


def _lenient(path: Path) -> sqlite3.Connection:
    """Open a copy that may be too short or have a schema that SQLite would refuse."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("PRAGMA cell_size_check = 1")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _mend_header(path: Path) -> bool:
    """Write the fields of the header that are the same in every library; False if too short."""
    with path.open("r+b") as file:
        header = bytearray(file.read(100))
        if len(header) < 100:
            return False
        header[:24] = (
            b"SQLite format 3\0"
            + database.PAGE_SIZE.to_bytes(2, "big")
            + bytes([2, 2, 0, 64, 32, 32])
        )
        header[28:32] = bytes(4)  # the number of pages: SQLite takes the file's size instead
        header[32:40] = bytes(8)  # no free pages: nothing will be written here
        header[44:48] = (4).to_bytes(4, "big")  # the schema's format
        header[52:56] = bytes(4)  # no auto-vacuum
        header[56:60] = (1).to_bytes(4, "big")  # UTF-8
        header[64:68] = bytes(4)
        file.seek(0)
        file.write(header)
    return True


def readable(
    connection: sqlite3.Connection, query: str, high: int, step: int = 4096
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query with `? < id AND id <= ?`, up to the id `high`.

    A range that cannot be read is halved until the rows that cannot are alone: each is looked
    for from the root of the table, past the damage.
    """
    ranges = [(low, min(low + step, high)) for low in range(0, high, step)][::-1]
    while ranges:
        low, top = ranges.pop()
        try:
            rows = connection.execute(query, (low, top)).fetchall()
        except (*database.UNREADABLE, OverflowError):
            if top - low > 1:
                middle = (low + top) // 2
                ranges += [(middle, top), (low, middle)]
            continue
        yield from rows
