"""Read many files at once, in order, with a bounded number under way.

The threads of this process wait for a disk or for a decoding process (`guard.py`); they do not
decode themselves.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from mmsearch.errors import DecodeError, MMSearchError
from mmsearch.retrieval.decode import open_picture
from mmsearch.retrieval.files import open_regular
from mmsearch.retrieval.guard import Decoded, GuardedDecoder
from mmsearch.retrieval.plan import Task
from mmsearch.retrieval.scan import Found

T = TypeVar("T")
R = TypeVar("R")

_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read, and what came of it.

    `vanished`: it is no longer there, which is no failure.
    """

    task: Task
    decoded: Decoded
    vanished: bool = False


def read_task(task: Task, decoder: GuardedDecoder) -> Reading:
    """Read, digest, decode and resize one file; what goes wrong is in the result.

    Raises MMSearchError when no decoding process can be started, or too many files are open
    already, which is no failing of this one.
    """
    try:
        with open_picture(task.found.path) as file:
            suffix = os.fsdecode(os.path.splitext(task.found.path)[1])  # noqa: PTH122 - bytes
            return Reading(task, decoder.decode(file.fileno(), suffix))
    except DecodeError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _SHORTAGES:
            raise MMSearchError(f"{error.reason}; `ulimit -n` allows more") from error
        vanished = isinstance(cause, FileNotFoundError | NotADirectoryError)
        return Reading(task, Decoded(reason=error.reason), vanished)


def digest_file(found: Found) -> str | None:
    """Return the hex SHA-256 of a file's content, None when it cannot be read."""
    try:
        with open_regular(found.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def in_order(
    workers: int, ahead: int, function: Callable[[T], R], values: Iterable[T]
) -> Generator[R, None, None]:
    """Yield `function(value)` in the order of `values`, at most `ahead` results waiting.

    Closing the iterator drops what has not begun, and does not wait for what has.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mmsearch-read")
    waiting: deque[Future[R]] = deque()
    try:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
