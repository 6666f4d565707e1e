"""How many commits were acknowledged, kept beside the catalog.

SQLite drops damaged frames of its write-ahead log without a word, and with them commits that
were acknowledged: the catalog is whole, and older than it was. The file `catalog.commits` is
written after each commit, so that it never says more than what was durable; a catalog that has
fewer commits has lost some. Without the file nothing can be compared, and nothing is.
"""

import os
import zlib
from pathlib import Path
from typing import Final

from mmsearch.index.checksums import DamagedRowError

NAME: Final = "catalog.commits"
_DIGITS: Final = 20


def advance(directory: Path, commits: int) -> None:
    """Note the number of commits, in place. What cannot be noted is not compared."""
    number = f"{commits:0{_DIGITS}d}".encode()
    line = number + b" %08x\n" % zlib.crc32(number)
    try:
        descriptor = os.open(directory / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, line, 0)
        finally:
            os.close(descriptor)
    except OSError:  # the commit stands; a full disk must not make it look as if it did not
        return


def read(directory: Path) -> int | None:
    """Return the number that was noted; None when there is none, or it cannot be read."""
    try:
        line = (directory / NAME).read_bytes()
    except OSError:
        return None
    number, _, crc = line.strip().partition(b" ")
    sound = len(number) == _DIGITS and number.isdigit() and crc == b"%08x" % zlib.crc32(number)
    return int(number) if sound else None


def compare(noted: int | None, commits: int) -> None:
    """Raise DamagedRowError when commits were lost. Read the note before the catalog."""
    if noted is not None and commits < noted:
        raise DamagedRowError(
            f"it holds {commits} commits and had {noted}: the end of its write-ahead log is "
            "lost, an older copy took its place, or a repair replaced it while it was open"
        )
