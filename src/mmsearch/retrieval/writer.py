"""Encode what was read and commit it, a few seconds of work at a time.

While batches are in the network, the next one is gathered and the last ones are committed.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Photo, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, FileRow
from mmsearch.retrieval.network import Network
from mmsearch.retrieval.plan import Kind, Task
from mmsearch.retrieval.reading import Reading
from mmsearch.retrieval.report import IngestReport
from mmsearch.retrieval.timing import Slow, waiting

_MOST_ROWS = 1024


@dataclass(slots=True)
class _Pending:
    """Rows that wait for the next commit, and what they will add to the report."""

    rows: list[FileRow] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    encoded: int = 0


@dataclass(slots=True)
class _Encoding:
    """A batch in the network: the digests that it encodes, and vectors known beforehand.

    A digest that is in neither is in the network already, with a batch before this one.
    """

    readings: list[Reading]
    known: dict[str, NDArray[np.float32]]
    fresh: list[str]
    result: Future[tuple[Vectors, float]] | None


class Writer:
    """Takes readings in, gives rows to the catalog; call `finish` at the end, `close` always."""

    def __init__(
        self,
        catalog: Catalog,
        network: Network,
        root_ids: Mapping[bytes, int],
        report: IngestReport,
        commit_seconds: float,
    ) -> None:
        self.done = 0
        """How many readings have been dealt with, if not committed."""
        self._catalog = catalog
        self._network = network
        self._root_ids = root_ids
        self._report = report
        self._commit_seconds = commit_seconds
        self._batch: list[Reading] = []
        self._encoding: deque[_Encoding] = deque()
        self._pending = _Pending()
        self._committed = time.monotonic()

    def add(self, reading: Reading) -> None:
        """Take a reading; encode when a batch is full, commit when enough time has passed."""
        if reading.vanished:
            self._dealt_with(1)
        elif reading.decoded.pixels is None:
            self._fail(reading, reading.decoded.reason)
            self._dealt_with(1)
        else:
            self._batch.append(reading)
        if len(self._batch) >= self._network.wanted():
            self._encode()
        waited = time.monotonic() - self._committed
        if waited >= self._commit_seconds or len(self._pending.rows) >= _MOST_ROWS:
            self._flush()

    def finish(self) -> None:
        """Encode and commit what is left."""
        self._encode()
        self.close()

    def close(self) -> None:
        """Commit what is encoded, when the network is done with what it has."""
        try:
            while self._encoding:
                self._settle()
        finally:
            self._encoding.clear()
            self._flush()

    def _encode(self) -> None:
        """Hand the readings at hand to the network, each content once."""
        while len(self._encoding) >= self._network.lanes:
            self._settle()
        batch, self._batch = self._batch, []
        digests = [reading.decoded.digest or "" for reading in batch]
        known = self._known_vectors(digests)
        under_way = {digest for other in self._encoding for digest in other.fresh}
        fresh = {
            digest: reading.decoded.pixels
            for digest, reading in zip(digests, batch, strict=True)
            if digest not in known and digest not in under_way
        }
        pixels = [image for image in fresh.values() if image is not None]
        result = self._network.encode(pixels) if pixels else None
        self._network.passed(len(batch))
        self._encoding.append(_Encoding(batch, known, list(fresh), result))

    def _settle(self) -> None:
        """Wait for the oldest batch in the network and make rows of it."""
        oldest = self._encoding[0]
        vectors = dict(oldest.known)
        if oldest.result is not None:
            with waiting(self._report.timing, Slow.NETWORK):
                encoded, seconds = oldest.result.result()
            vectors.update(zip(oldest.fresh, encoded, strict=True))
            self._report.timing.encode += seconds
        digests = [reading.decoded.digest or "" for reading in oldest.readings]
        vectors.update(self._known_vectors([d for d in digests if d not in vectors]))
        self._encoding.popleft()
        self._pending.encoded += len(oldest.fresh)
        for reading, digest in zip(oldest.readings, digests, strict=True):
            vector = vectors.get(digest)
            if vector is not None and np.isfinite(vector).all():
                row = file_row(reading.task, self._root_ids, digest, vector, reading.decoded.photo)
                self._pending.rows.append(row)
                self._pending.kinds.append(reading.task.kind)
            else:
                self._fail(reading, "the model gave a vector that is not finite")
        self.done += len(oldest.readings)

    def _flush(self) -> None:
        """Commit what was encoded and count it."""
        pending, began = self._pending, time.monotonic()
        if pending.rows or pending.failures:
            self._catalog.commit(
                Batch(
                    files=tuple(pending.rows),
                    failures=tuple(pending.failures),
                    blank=tuple(pending.blank),
                )
            )
        self._pending = _Pending()
        self._committed = time.monotonic()
        self._report.timing.commit += self._committed - began
        self._report.timing.wait(Slow.DISK, self._committed - began)
        count_kinds(self._report, pending.kinds)
        self._report.encoded += pending.encoded
        for failure in pending.failures:
            self._report.add_failure(failure)

    def _dealt_with(self, count: int) -> None:
        self.done += count
        self._network.passed(count)

    def _known_vectors(self, digests: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of contents that were encoded before, in this run or another."""
        vectors = {row.digest: row.vector for row in self._pending.rows if row.digest in digests}
        holders = self._catalog.files_by_digest([d for d in digests if d not in vectors])
        ids = {d: k.id for d, items in holders.items() for k in items if k.encoded}
        if ids:
            found = self._catalog.own_vectors(self._network.space, list(ids.values()))
            vectors.update(zip(ids, found, strict=True))
        return vectors

    def _fail(self, reading: Reading, reason: str) -> None:
        """Note a failure. An item whose file shows something unreadable now keeps its id alone.

        When not even bytes came (no permission, a disk error) the item stays as it was.
        """
        task, digest = reading.task, reading.decoded.digest
        file = task.found
        self._pending.failures.append(
            Failure(
                path=file.path,
                reason=reason,
                size=file.size,
                mtime_ns=file.mtime_ns,
                digest=digest,
                root_id=self._root_ids.get(file.root),
            )
        )
        if digest is not None and task.item is not None:
            self._pending.blank.append(task.item)


def file_row(
    task: Task,
    root_ids: Mapping[bytes, int],
    digest: str,
    vector: NDArray[np.float32],
    photo: Photo | None,
) -> FileRow:
    """Return the row that puts a file with its vector and facts into the catalog."""
    file = task.found
    return FileRow(file.path, root_ids[file.root], file.size, file.mtime_ns, digest, vector, photo)


def count_kinds(report: IngestReport, kinds: Sequence[Kind]) -> None:
    """Add files to the report's counts of new, changed and unchanged."""
    report.new += kinds.count(Kind.NEW)
    report.changed += kinds.count(Kind.CHANGED)
    report.unchanged += kinds.count(Kind.UNCHANGED)
