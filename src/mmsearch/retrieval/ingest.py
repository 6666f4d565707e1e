"""Bring a library up to date with the disk: `ingest` for pictures, `add_sentences` for text.

The order of a run: settle which roots are there, scan them, compare with the catalog by size
and modification time, read what that leaves open, plan (`plan.py`), commit what needs no
network, then read, encode and commit the rest a few seconds of work at a time. Ctrl-C at any
point keeps what was committed and finishes the rows that are encoded.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from mmsearch.core import Encoder
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, KnownFile, MovedRow, TouchedRow
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.formats import plugin_arrived
from mmsearch.retrieval.ingest_texts import (
    add_sentences,
    check_pictures,
    check_space,
    encode_old_sentences,
)
from mmsearch.retrieval.plan import (
    Contents,
    Copy,
    Difference,
    Kind,
    Plan,
    Task,
    compare,
    resolve,
    to_digest,
)
from mmsearch.retrieval.reading import cores, digest_file, in_order, read_task
from mmsearch.retrieval.report import IngestOptions, IngestReport, Progress
from mmsearch.retrieval.roots import (
    Places,
    Presence,
    lost_with_certainty,
    picture_roots,
    presence,
    settle,
)
from mmsearch.retrieval.scan import Filter, Found, Unreadable, absolute, contains, scan
from mmsearch.retrieval.writer import Writer, count_kinds, file_row

__all__ = ["IngestOptions", "IngestReport", "Progress", "add_sentences", "ingest"]

T = TypeVar("T")
R = TypeVar("R")
OnProgress: TypeAlias = Callable[[Progress], None]
_CHUNK = 4096
_DEFAULT = IngestOptions()


def ingest(
    catalog: Catalog,
    encoder: Encoder,
    paths: Sequence[AnyPath],
    options: IngestOptions = _DEFAULT,
    on_progress: OnProgress | None = None,
) -> IngestReport:
    """Index the pictures under `paths`; without any, under every root of the library.

    With `options.reindex` the other roots and the sentences are encoded anew as well.
    `on_progress` is called in this thread. Raises InputError for a path that does not exist
    and was never indexed, ModelError when the model cannot encode pictures,
    SpaceMismatchError when the library holds another model's vectors and `options.reindex` is
    not set.
    """
    wanted = [absolute(path) for path in paths]
    if options.reindex or not wanted:
        wanted += picture_roots(catalog)
    if wanted:
        check_pictures(encoder)
    check_space(catalog, encoder, options, paths)
    places = settle(catalog, wanted)
    catalog.set_space(encoder.space)
    run = _Run(catalog, encoder, places, options, on_progress)
    try:
        run.pictures()
        if options.reindex:
            encode_old_sentences(catalog, encoder, run.report)
    except KeyboardInterrupt:
        run.report.interrupted = True
    return run.report


class _Run:
    """One pass over the pictures."""

    def __init__(
        self,
        catalog: Catalog,
        encoder: Encoder,
        places: Places,
        options: IngestOptions,
        on_progress: OnProgress | None,
    ) -> None:
        self.report = IngestReport(
            offline=places.items_offline,
            offline_roots=[Path(os.fsdecode(path)) for path in places.offline],
        )
        self._catalog = catalog
        self._encoder = encoder
        self._places = places
        self._options = options
        self._on_progress = on_progress
        self._workers = options.workers or cores()
        self._unreadable: list[Unreadable] = []
        self._away: list[bytes] = []

    def pictures(self) -> None:
        """Do everything; counts grow with what is committed."""
        failures = {f.path: f for f in self._catalog.failures() if self._in_scope(f.path)}
        final = {
            path: failure
            for path, failure in failures.items()
            if not (self._options.retry_failed or plugin_arrived(failure.reason))
        }
        difference = self._survey(final)
        plan = resolve(difference, self._read_contents(difference))
        self._record(plan, failures)
        self._copy(plan.copies)
        self._encode(plan.tasks)

    def _in_scope(self, path: bytes) -> bool:
        return any(contains(scanned, path) for scanned in self._places.to_scan())

    def _survey(self, failures: dict[bytes, Failure]) -> Difference:
        """Scan and compare; what could not be looked into is not taken for deleted."""
        known: dict[bytes, KnownFile] = {}
        for root_id in self._places.online.values():
            known.update(self._catalog.known_files(root_id))
        difference = compare(self._found(), known, failures)
        self._away = [entry.path for entry in self._unreadable] + self._places.offline
        for path in self._places.online:
            if presence(path) in (Presence.MISSING, Presence.EMPTY):  # unmounted meanwhile
                self._away.append(path)
        difference.unseen = {p: i for p, i in difference.unseen.items() if not self._is_away(p)}
        return difference

    def _is_away(self, path: bytes) -> bool:
        return any(contains(place, path) for place in self._away)

    def _found(self) -> Iterator[Found]:
        names = Filter(self._options.exclude, self._options.hidden)
        for entry in scan(self._places.to_scan(), names):
            if isinstance(entry, Unreadable):
                self._unreadable.append(entry)
            else:
                yield entry

    def _read_contents(self, difference: Difference) -> Contents:
        """Digest the files whose stat leaves it open what they hold."""
        files = to_digest(difference, self._sizes() if difference.new else ())
        if not files:
            return Contents()
        digests: dict[bytes, str] = {}
        with closing(self._parallel(digest_file, files)) as results:
            for file, digest in zip(files, results, strict=True):
                if digest is not None:
                    digests[file.path] = digest
        holders = self._catalog.files_by_digest(sorted(set(digests.values())))
        elsewhere = [
            item for items in holders.values() for item in items if not self._in_scope(item.path)
        ]
        return Contents(digests, holders, self._lost(elsewhere, digests))

    def _sizes(self) -> set[int]:
        """Return the sizes of all pictures of the library: what a copy or move must match."""
        sizes: set[int] = set()
        for root in picture_roots(self._catalog).values():
            sizes.update(item.size for item in self._catalog.known_files(root.id).values())
        return sizes

    def _lost(self, items: Sequence[KnownFile], digests: dict[bytes, str]) -> set[int]:
        """Return those of the items, none of them scanned, that stand elsewhere now.

        Their file is gone from a root that is there; or the whole root is gone, and everything
        in it stands, under the same names, in a scanned folder: then the root was renamed.
        """
        roots = picture_roots(self._catalog)
        lost = {item.id for item in items if lost_with_certainty(item.path, list(roots))}
        for path, root in roots.items():
            if self._in_scope(path) or presence(path) is not Presence.MISSING:
                continue
            known = self._catalog.known_files(root.id)
            for scanned in self._places.online if known else ():
                if all(digests.get(scanned + p[len(path) :]) == k.digest for p, k in known.items()):
                    lost.update(item.id for item in known.values())
        return lost

    def _record(self, plan: Plan, failures: dict[bytes, Failure]) -> None:
        """Commit what needs neither reading nor encoding."""
        unreadable = [self._unreadable_failure(entry, failures) for entry in self._unreadable]
        again = {task.found.path for task in plan.tasks}
        standing = {failure.path: failure for failure in [*plan.failing, *unreadable]}
        batch = Batch(
            moved=tuple(
                MovedRow(
                    move.item,
                    move.found.path,
                    self._places.online[move.found.root],
                    move.found.mtime_ns,
                )
                for move in plan.moves
            ),
            touched=tuple(TouchedRow(item.id, file.mtime_ns) for file, item in plan.touched),
            gone=tuple(plan.gone),
            failures=tuple(f for f in standing.values() if f != failures.get(f.path)),
            cleared=tuple(
                path
                for path in failures
                if path not in again and path not in standing and not self._is_away(path)
            ),
        )
        if batch != Batch():
            self._catalog.commit(batch)
        self.report.moved += len(plan.moves)
        self.report.gone += len(plan.gone)
        self.report.unchanged += plan.unchanged + len(plan.touched)
        for failure in standing.values():
            self.report.add_failure(failure)

    def _unreadable_failure(self, entry: Unreadable, failures: dict[bytes, Failure]) -> Failure:
        known = failures.get(entry.path)
        if known is not None and known.reason == entry.reason:
            return known
        root_id = self._places.online.get(entry.root)
        return Failure(entry.path, entry.reason, 0, 0, root_id=root_id)

    def _copy(self, copies: Sequence[Copy]) -> None:
        """Give files the vectors of items with the same content.

        Copies over known items come last, with all vectors read beforehand: they replace
        vectors that other copies may want.
        """
        fresh = [copy for copy in copies if copy.kind is Kind.NEW]
        for start in range(0, len(fresh), _CHUNK):
            self._commit_copies(fresh[start : start + _CHUNK])
        self._commit_copies([copy for copy in copies if copy.kind is not Kind.NEW])

    def _commit_copies(self, copies: Sequence[Copy]) -> None:
        if not copies:
            return
        vectors = self._catalog.vectors(self._encoder.space, [copy.source for copy in copies])
        rows = (
            file_row(Task(copy.found, copy.kind), self._places.online, copy.digest, vector)
            for copy, vector in zip(copies, vectors, strict=True)
        )
        self._catalog.commit(Batch(files=tuple(rows)))
        count_kinds(self.report, [copy.kind for copy in copies])

    def _encode(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        writer = Writer(
            self._catalog, self._encoder, self._places.online, self._options, self.report
        )
        read = partial(
            read_task, preprocessing=self._encoder.preprocessing, limits=self._options.limits
        )
        started = time.monotonic()
        try:
            with closing(self._parallel(read, tasks)) as readings:
                for done, reading in enumerate(readings, start=1):
                    writer.add(reading)
                    if self._on_progress is not None:
                        rate = done / max(time.monotonic() - started, 1e-9)
                        self._on_progress(Progress(done, len(tasks), rate))
            writer.encode()
        finally:
            writer.flush()

    def _parallel(
        self, function: Callable[[T], R], values: Iterable[T]
    ) -> Generator[R, None, None]:
        ahead = 2 * self._options.batch_size + self._workers
        return in_order(self._workers, ahead, function, values)
