"""Encode what was read and commit it, a few seconds of work at a time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Encoder
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, FileRow
from mmsearch.retrieval.plan import Kind, Task
from mmsearch.retrieval.reading import Reading
from mmsearch.retrieval.report import IngestOptions, IngestReport

_MOST_ROWS = 1024


@dataclass(slots=True)
class _Pending:
    """Rows that wait for the next commit, and what they will add to the report."""

    rows: list[FileRow] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    encoded: int = 0


class Writer:
    """Takes readings in, gives rows to the catalog; call `flush` at the end."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder,
        root_ids: Mapping[bytes, int],
        options: IngestOptions,
        report: IngestReport,
    ) -> None:
        self._catalog = catalog
        self._encoder = encoder
        self._root_ids = root_ids
        self._options = options
        self._report = report
        self._batch: list[Reading] = []
        self._pending = _Pending()
        self._committed = time.monotonic()

    def add(self, reading: Reading) -> None:
        """Take a reading; encode when a batch is full, commit when enough time has passed."""
        if reading.vanished:
            return
        if reading.pixels is None:
            self._fail(reading.task, reading.digest, reading.reason)
        else:
            self._batch.append(reading)
        if len(self._batch) >= self._options.batch_size:
            self.encode()
        waited = time.monotonic() - self._committed
        if waited >= self._options.commit_seconds or len(self._pending.rows) >= _MOST_ROWS:
            self.flush()

    def encode(self) -> None:
        """Encode the readings at hand, each content once."""
        batch, self._batch = self._batch, []
        vectors = self._known_vectors([reading.digest or "" for reading in batch])
        fresh = {r.digest: r.pixels for r in batch if r.digest and r.digest not in vectors}
        if fresh:
            pixels = [image for image in fresh.values() if image is not None]
            encoded = self._encoder.encode_images(pixels)
            vectors.update(zip((d for d in fresh if d), encoded, strict=True))
            self._pending.encoded += len(fresh)
        for reading in batch:
            digest = reading.digest or ""
            if np.isfinite(vectors[digest]).all():
                self._keep(reading.task, digest, vectors[digest])
            else:
                self._fail(reading.task, digest, "the model gave a vector that is not finite")

    def flush(self) -> None:
        """Commit what was encoded and count it."""
        pending = self._pending
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
        count_kinds(self._report, pending.kinds)
        self._report.encoded += pending.encoded
        for failure in pending.failures:
            self._report.add_failure(failure)

    def _known_vectors(self, digests: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of contents that were encoded before, in this run or another."""
        vectors = {row.digest: row.vector for row in self._pending.rows if row.digest in digests}
        holders = self._catalog.files_by_digest([d for d in digests if d not in vectors])
        ids = {d: k.id for d, items in holders.items() for k in items if k.encoded}
        if ids:
            found = self._catalog.vectors(self._encoder.space, list(ids.values()))
            vectors.update(zip(ids, found, strict=True))
        return vectors

    def _keep(self, task: Task, digest: str, vector: NDArray[np.float32]) -> None:
        self._pending.rows.append(file_row(task, self._root_ids, digest, vector))
        self._pending.kinds.append(task.kind)

    def _fail(self, task: Task, digest: str | None, reason: str) -> None:
        """Note a failure. An item whose file shows something unreadable now keeps its id alone.

        When not even bytes came (no permission, a disk error) the item stays as it was.
        """
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
    task: Task, root_ids: Mapping[bytes, int], digest: str, vector: NDArray[np.float32]
) -> FileRow:
    """Return the row that puts a file with its vector into the catalog."""
    file = task.found
    return FileRow(file.path, root_ids[file.root], file.size, file.mtime_ns, digest, vector)


def count_kinds(report: IngestReport, kinds: Sequence[Kind]) -> None:
    """Add files to the report's counts of new, changed and unchanged."""
    report.new += kinds.count(Kind.NEW)
    report.changed += kinds.count(Kind.CHANGED)
    report.unchanged += kinds.count(Kind.UNCHANGED)
