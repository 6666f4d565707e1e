"""Read many files at once, in order, with a bounded number under way.

Threads suffice: Pillow and hashlib let go of the interpreter while they work.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mmsearch.core import Pixels, Preprocessing
from mmsearch.errors import DecodeError
from mmsearch.retrieval.decode import Limits, decode_bytes, read_bytes
from mmsearch.retrieval.files import open_regular
from mmsearch.retrieval.plan import Task
from mmsearch.retrieval.scan import Found

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read. `digest` None: not even its bytes; `pixels` None: see `reason`.

    `vanished`: it is no longer there, which is no failure.
    """

    task: Task
    digest: str | None = None
    pixels: Pixels | None = None
    reason: str = ""
    vanished: bool = False


def read_task(task: Task, preprocessing: Preprocessing, limits: Limits) -> Reading:
    """Read, digest, decode and resize one file; what goes wrong is in the result."""
    digest = None
    try:
        data = read_bytes(task.found.path, limits)
        digest = hashlib.sha256(data).hexdigest()
        suffix = os.fsdecode(os.path.splitext(task.found.path)[1])  # noqa: PTH122 - bytes
        pixels = decode_bytes(data, preprocessing, limits, suffix=suffix)
    except DecodeError as error:
        vanished = isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
        return Reading(task, digest, reason=error.reason, vanished=vanished)
    return Reading(task, digest, pixels)


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

    Closing the iterator drops what has not begun.
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
        pool.shutdown(cancel_futures=True)
