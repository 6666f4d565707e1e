"""Which library a catalog is, and how many commits were acknowledged, kept beside the catalog.

SQLite drops damaged frames of its write-ahead log without a word, and with them commits that
were acknowledged: the catalog is whole, and older than it was. The file `catalog.commits` is
written after each commit, so that it never says more than what was durable; a catalog that has
fewer commits has lost some, and one with another id is another library's. Without the file
nothing can be compared, and nothing is.
"""

import os
import sqlite3
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmsearch.index.checksums import DamagedRowError

NAME: Final = "catalog.commits"
SETTING: Final = "library"  # of the random id
_DIGITS: Final = 20
_ID_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a library was. `library`: its id, "" before its first commit."""

    commits: int
    library: str = ""


def mark_of(connection: sqlite3.Connection) -> Mark:
    """Return how far a catalog is."""
    ((commits, library),) = connection.execute(
        "SELECT commits, (SELECT value FROM settings WHERE key = ?) FROM library", (SETTING,)
    ).fetchall()
    return Mark(int(commits), library or "")


def ensure_id(connection: sqlite3.Connection) -> None:
    """Give a library a random id unless it has one; inside a transaction."""
    connection.execute(
        "INSERT INTO settings (key, value) SELECT ?, lower(hex(randomblob(16))) "
        "WHERE NOT EXISTS (SELECT 1 FROM settings WHERE key = ?)",
        (SETTING, SETTING),
    )


def advance(directory: Path, mark: Mark) -> None:
    """Note how far a library is, in place. What cannot be noted is not compared."""
    text = f"{mark.commits:0{_DIGITS}d} {mark.library:-<{_ID_DIGITS}}".encode()
    line = text + b" %08x\n" % zlib.crc32(text)
    try:
        descriptor = os.open(directory / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, line, 0)
        finally:
            os.close(descriptor)
    except OSError:  # the commit stands; a full disk must not make it look as if it did not
        return


def read(directory: Path) -> Mark | None:
    """Return what was noted; None when there is nothing, or it cannot be read.

    A note without an id is one of an older version.
    """
    try:
        line = (directory / NAME).read_bytes().split(b"\n", 1)[0]
    except OSError:
        return None
    text, _, crc = line.rpartition(b" ")
    number, _, library = text.partition(b" ")
    sound = len(number) == _DIGITS and number.isdigit() and crc == b"%08x" % zlib.crc32(text)
    return Mark(int(number), library.decode("ascii").strip("-")) if sound else None


def noted_commits(directory: Path) -> int:
    """Return how many commits were noted, 0 when nothing can be read."""
    noted = read(directory)
    return 0 if noted is None else noted.commits


def compare(noted: Mark | None, now: Mark) -> None:
    """Raise DamagedRowError when commits were lost. Read the note before the catalog."""
    if noted is None:
        return
    if noted.library and noted.library != now.library:
        raise DamagedRowError(
            f"it is another library's: its id is {now.library[:8] or 'none'} and was "
            f"{noted.library[:8]}"
        )
    if now.commits < noted.commits:
        raise DamagedRowError(
            f"it holds {now.commits} commits and had {noted.commits}: the end of its write-ahead "
            "log is lost, an older copy took its place, or a repair replaced it while it was open"
        )
