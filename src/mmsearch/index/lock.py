"""The single-writer lock: `flock` on a file that names the holder's process id."""

import fcntl
import os
import weakref
from pathlib import Path

from mmsearch.errors import InputError, LibraryBusyError

NAME = "writer.lock"


class WriterLock:
    """Holds the right to write to a library, until `release` or the end of the process.

    The descriptor is closed on exec and in forked children, so that a worker which outlives
    its parent does not keep the library locked. The file itself stays: unlinking it would
    let two processes lock two files of the same name.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock without waiting.

        Raises LibraryBusyError, naming the holder's process id, when it is taken, and
        InputError when the folder cannot be written to.
        """
        path = directory / NAME
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(
                f"cannot write to the library {directory}: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            self._close()
            raise LibraryBusyError(
                f"process {holder or 'unknown'} is writing to the library {directory}; "
                "wait for it to end and run this again"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self._close()
            raise InputError(
                f"cannot write to the library {directory}: {error.strerror}; free some space and "
                "run this again"
            ) from error
        _held.add(self)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_at_work(directory: Path) -> bool:
    """Say whether a process has the lock, as far as its file tells.

    Nobody is disturbed: to try the lock might turn away a writer that begins just now. The
    number of a writer that was killed may be another process's by now.
    """
    try:
        number = int((directory / NAME).read_bytes())
        os.kill(number, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's, or cannot be read
        return True
    return number > 0


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _close_in_child() -> None:
    for lock in list(_held):
        lock._close()  # noqa: SLF001 - this module's own class


os.register_at_fork(after_in_child=_close_in_child)
