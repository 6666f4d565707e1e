"""Open files of unknown making: regular ones alone, without waiting, and never a catalog.

Between the look at a folder and the reading of its files anything may take a file's place. A
FIFO would be waited for without end. And SQLite's locks belong to the process: reading an open
catalog as if it were a picture, and closing it again, would let go of them, and another process
could then overwrite what this one has yet to write.
"""

import errno
import os
import stat
from io import BufferedReader
from typing import Final, TypeAlias

from mmsearch.index.database import FILE

AnyPath: TypeAlias = str | bytes | os.PathLike[str]

_CATALOG: Final = os.fsencode(FILE)


def open_regular(path: AnyPath) -> BufferedReader:
    """Open a regular file for reading; the path may be bytes and may lead through links.

    Raises OSError, whose `strerror` says why: the system's own reasons, "a folder", "not a
    file", and PermissionError for the catalog of a library.
    """
    if is_catalog(path):
        raise PermissionError(errno.EPERM, "the catalog of a library")
    _check_mode(os.stat(path).st_mode)  # noqa: PTH116 - bytes; devices are not even opened
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - returned open
    try:
        _check_mode(os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def is_catalog(path: AnyPath) -> bool:
    """Say whether a path leads to a library's database or to a file that SQLite keeps with it."""
    return os.path.basename(os.path.realpath(os.fsencode(path))).startswith(_CATALOG)  # noqa: PTH119 - bytes


def _check_mode(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
