"""Read, decode, encode and commit files: a bounded pipeline.

Decoding processes work ahead of the network, the network ahead of the commits. Each stage waits
when the next one has enough to do, so that memory does not grow with the number of files.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from mmsearch.core import Encoder, Modality
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.guard import GuardedDecoder
from mmsearch.retrieval.machine import batch_size
from mmsearch.retrieval.network import Network
from mmsearch.retrieval.plan import Task
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.reading import Reading, in_order, read_task
from mmsearch.retrieval.report import IngestOptions, IngestReport
from mmsearch.retrieval.timing import Pace, Progress, Slow, Timing
from mmsearch.retrieval.writer import Writer

_WORTH_MEASURING: Final = 256
_UNMEASURED: Final = 8
_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Job:
    """Where files go and how; `root_ids` by path, `report` takes the counts."""

    catalog: Catalog
    encoder: Encoder
    root_ids: Mapping[bytes, int]
    options: IngestOptions
    report: IngestReport


def encode_files(
    job: Job, tasks: Sequence[Task], on_progress: Callable[[Progress], None] | None = None
) -> None:
    """Put files and their vectors into the catalog; what cannot be read becomes a failure.

    Whatever ends it, batches that are in the network are finished and committed. Raises
    ModelError when the network fails, MMSearchError when nothing can be decoded.
    """
    if not tasks:
        return
    size = job.options.batch_size or _best_batch(job.encoder, len(tasks))
    network = Network(job.encoder, size, len(tasks))
    writer = Writer(job.catalog, network, job.root_ids, job.report, job.options.commit_seconds)
    decoder = GuardedDecoder(job.encoder.preprocessing, job.options.limits)
    workers = job.options.workers or available_processors()
    read = partial(read_task, decoder=decoder)
    pace = Pace(len(tasks))

    def show() -> None:
        if on_progress is not None:
            on_progress(pace.progress(writer.done, job.report.timing))

    try:
        with decoder, closing(in_order(workers, network.ahead, read, tasks)) as readings:
            _feed(writer, counted(readings, job.report.timing), show)
        writer.finish()
        show()
    finally:
        writer.close()
        network.close()


def _feed(writer: Writer, readings: Iterator[Reading], show: Callable[[], None]) -> None:
    """Give every reading to the writer; `show` when more is done, the last time excepted."""
    shown = 0
    for reading in readings:
        writer.add(reading)
        if writer.done > shown:
            shown = writer.done
            show()


def counted(readings: Iterator[Reading], timing: Timing) -> Iterator[Reading]:
    """Pass readings on and add up what they took, and how long they were waited for."""
    began = time.monotonic()
    for reading in readings:
        decoded = reading.decoded
        on_disk = decoded.read > decoded.decode + decoded.preprocess
        timing.wait(Slow.DISK if on_disk else Slow.DECODING, time.monotonic() - began)
        timing.read += decoded.read
        timing.decode += decoded.decode
        timing.preprocess += decoded.preprocess
        yield reading
        began = time.monotonic()


def _best_batch(encoder: Encoder, count: int) -> int:
    """Return what this machine likes best; measuring it is worth it for many pictures only.

    For fewer, batches are small: the network can begin before many pictures are decoded.
    """
    if count < _WORTH_MEASURING:
        return _UNMEASURED
    return max(batch_size(encoder, Modality.IMAGE), _LEAST)  # a look into the catalog for each
