"""Read the facts of pictures that an older version has indexed: decode them, encode nothing.

What was read is committed every few seconds, so that an interrupted run goes on from there. A
picture that cannot be read now keeps its item and its vector, and is tried again next time.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final

from mmsearch.core import Photo
from mmsearch.index import attributes
from mmsearch.index.rows import KnownFile
from mmsearch.retrieval.guard import GuardedDecoder
from mmsearch.retrieval.pipeline import Job, counted
from mmsearch.retrieval.plan import Kind, Task
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.reading import in_order, read_task
from mmsearch.retrieval.scan import Found
from mmsearch.retrieval.timing import Pace, Progress

_AHEAD: Final = 64
_MOST_ROWS: Final = 1024


def read_missing_facts(
    job: Job, wanted: Sequence[KnownFile], on_progress: Callable[[Progress], None] | None = None
) -> None:
    """Read the facts of pictures and count them in the report as `described`.

    A file whose content is no longer the item's is left to the next run, which compares files
    with the catalog. Whatever ends it, what was read is committed. Raises MMSearchError when
    nothing can be decoded.
    """
    if not wanted:
        return
    keeper = _Keeper(job)
    decoder = GuardedDecoder(job.encoder.preprocessing, job.options.limits)
    workers = job.options.workers or available_processors()
    read = partial(read_task, decoder=decoder)
    pace = Pace(len(wanted))
    tasks = [_task(known) for known in wanted]
    try:
        with decoder, closing(in_order(workers, _AHEAD, read, tasks)) as readings:
            counting = counted(readings, job.report.timing)
            for done, (known, reading) in enumerate(zip(wanted, counting, strict=True), start=1):
                decoded = reading.decoded
                if decoded.photo is not None and decoded.digest == known.digest:
                    keeper.keep(known.id, decoded.photo)
                if on_progress is not None:
                    on_progress(pace.progress(done, job.report.timing))
    finally:
        keeper.commit()


def _task(known: KnownFile) -> Task:
    return Task(Found(known.path, b"", known.size, known.mtime_ns), Kind.UNCHANGED, known.id)


class _Keeper:
    """Gathers facts and commits them, some seconds' worth at a time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._facts: dict[int, Photo] = {}
        self._committed = time.monotonic()

    def keep(self, number: int, photo: Photo) -> None:
        """Take the facts of an item."""
        self._facts[number] = photo
        waited = time.monotonic() - self._committed
        if len(self._facts) >= _MOST_ROWS or waited >= self._job.options.commit_seconds:
            self.commit()

    def commit(self) -> None:
        """Write what was gathered and count it."""
        began = time.monotonic()
        if self._facts:
            attributes.set_photos(self._job.catalog, self._facts)
            self._job.report.described += len(self._facts)
        self._facts = {}
        self._committed = time.monotonic()
        self._job.report.timing.commit += self._committed - began
