"""Bring a library up to date with the disk: `ingest` for pictures, `add_sentences` for text.

The order of a run: settle which roots are there, scan them, compare with the catalog by size
and modification time, read what that leaves open, plan (`plan.py`), commit what needs no
network, then read, encode and commit the rest a few seconds of work at a time. Ctrl-C at any
point keeps what was committed and finishes the rows that are encoded.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from mmsearch.core import Encoder
from mmsearch.index import attributes, selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, KnownFile, MovedRow, TouchedRow
from mmsearch.retrieval.backfill import read_missing_facts
from mmsearch.retrieval.copying import copy_items
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.formats import plugin_arrived
from mmsearch.retrieval.ingest_texts import (
    add_sentences,
    check_pictures,
    check_space,
    encode_old_sentences,
)
from mmsearch.retrieval.paths import Filter, Scope, absolute, contains, outermost, separate
from mmsearch.retrieval.pipeline import Job, encode_files
from mmsearch.retrieval.plan import (
    Contents,
    Difference,
    Plan,
    Task,
    compare,
    resolve,
    to_digest,
)
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.reading import digest_file, in_order
from mmsearch.retrieval.report import IngestOptions, IngestReport
from mmsearch.retrieval.roots import (
    Places,
    lost_items,
    remembered_roots,
    settle,
    welcome,
)
from mmsearch.retrieval.scan import Found, Unreadable, scan, scan_entries
from mmsearch.retrieval.timing import Progress

__all__ = ["IngestOptions", "IngestReport", "Progress", "add_sentences", "ingest"]

OnProgress: TypeAlias = Callable[[Progress], None]
_DIGESTS_AHEAD = 64
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
    named = [absolute(path) for path in paths]
    wanted = named + (remembered_roots(catalog) if options.reindex or not named else [])
    if wanted:
        check_pictures(encoder)
    check_space(catalog, encoder, options, paths)
    places = settle(catalog, wanted, _names(catalog, options, named))
    welcome(catalog, named)
    catalog.set_space(encoder.space)
    return _run(_Run(catalog, encoder, places, options, on_progress))


def ingest_touched(
    catalog: Catalog,
    encoder: Encoder,
    touched: Sequence[bytes],
    options: IngestOptions = _DEFAULT,
) -> IngestReport:
    """Look again at paths below the library's roots, whether they are still there or not.

    `touched` are absolute, without symbolic links; what lies in no root is passed over. A root
    that has gone meanwhile is offline. Raises SpaceMismatchError as `ingest` does.
    """
    check_space(catalog, encoder, options, [])
    known = remembered_roots(catalog)
    scope = Scope(known)
    below = [path for path in touched if scope.holds(path)]
    names = _names(catalog, options)
    holding = [root for root in separate(known, names) if any(contains(root, p) for p in below)]
    places = settle(catalog, holding, names)
    if not any(map(Scope(below).holds, places.online)):  # else as a whole
        online = Scope(places.online)
        places.touched = outermost(path for path in below if online.holds(path))
    return _run(_Run(catalog, encoder, places, options, None))


def _names(catalog: Catalog, options: IngestOptions, named: Sequence[bytes] = ()) -> Filter:
    """Return which names a scan passes over; what is `named` is forgotten no longer."""
    return Filter(options.exclude, options.hidden, selection.forgotten(catalog) - {*named})


def _run(run: "_Run") -> IngestReport:
    try:
        run.pictures()
        if run.options.reindex:
            encode_old_sentences(run.catalog, run.encoder, run.report)
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
        self.report = IngestReport()
        self.catalog = catalog
        self.encoder = encoder
        self.options = options
        self._places = places
        self._scope = Scope(places.scope())
        self._on_progress = on_progress
        self._unreadable: list[Unreadable] = []
        self._away = Scope(())

    def pictures(self) -> None:
        """Do everything; counts grow with what is committed."""
        began = time.monotonic()
        try:
            tasks = self._settle_without_reading()
            job = Job(self.catalog, self.encoder, self._places.online, self.options, self.report)
            encode_files(job, tasks, self._on_progress)
            read_missing_facts(job, self._undescribed(), self._on_progress)
        finally:
            self.report.timing.total = time.monotonic() - began

    def _undescribed(self) -> list[KnownFile]:
        """Return the pictures within reach whose facts an older version did not read."""
        if self._places.touched is not None:  # no time to look for them at each change
            return []
        return [
            known
            for known in attributes.without_photo(self.catalog)
            if self._scope.holds(known.path) and not self._away.holds(known.path)
        ]

    def _settle_without_reading(self) -> list[Task]:
        """Scan, compare and commit what needs no network; return what does."""
        began = time.monotonic()
        failures = {f.path: f for f in self.catalog.failures() if self._scope.holds(f.path)}
        final = {
            path: failure
            for path, failure in failures.items()
            if not (self.options.retry_failed or plugin_arrived(failure.reason))
        }
        difference = self._survey(final)
        plan = resolve(difference, self._read_contents(difference))
        self._record(plan, failures)
        self._count_offline()
        space, online = self.encoder.space, self._places.online
        copy_items(self.catalog, space, online, plan.copies, self.report)
        self.report.timing.scan = time.monotonic() - began
        return plan.tasks

    def _survey(self, failures: dict[bytes, Failure]) -> Difference:
        """Scan and compare; what could not be looked into is not taken for deleted."""
        known: dict[bytes, KnownFile] = {}
        for path in self._places.scope():
            known.update(self.catalog.known_under(path))
        difference = compare(self._found(), known, failures)
        entries = [entry.path for entry in self._unreadable]
        self._away = Scope([*entries, *self._places.offline, *self._places.unmounted()])
        difference.unseen = {
            path: item for path, item in difference.unseen.items() if not self._away.holds(path)
        }
        return difference

    def _found(self) -> Iterator[Found]:
        places = self._places
        entries = (
            scan(places.to_scan(), places.names, bases=places.bases, known=places.known)
            if places.touched is None
            else scan_entries(places.touched, list(places.online), places.names, known=places.known)
        )
        for entry in entries:
            if isinstance(entry, Unreadable):
                self._unreadable.append(entry)
            else:
                yield entry

    def _read_contents(self, difference: Difference) -> Contents:
        """Digest the files whose stat leaves it open what they hold."""
        sizes = selection.sizes(self.catalog) if difference.new else ()
        files = to_digest(difference, sizes)
        if not files:
            return Contents()
        digests: dict[bytes, str] = {}
        workers = self.options.workers or available_processors()
        with closing(in_order(workers, _DIGESTS_AHEAD, digest_file, files)) as results:
            for file, digest in zip(files, results, strict=True):
                if digest is not None:
                    digests[file.path] = digest
        holders = self.catalog.files_by_digest(sorted(set(digests.values())))
        elsewhere = [
            item for items in holders.values() for item in items if not self._scope.holds(item.path)
        ]
        return Contents(
            digests, holders, lost_items(self.catalog, elsewhere, self._places, digests)
        )

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
                if path not in again and path not in standing and not self._away.holds(path)
            ),
        )
        if batch != Batch():
            self.catalog.commit(batch)
        self.report.moved += len(plan.moves)
        self.report.gone += len(plan.gone)
        self.report.unchanged += plan.unchanged + len(plan.touched)
        for failure in standing.values():
            self.report.add_failure(failure)

    def _count_offline(self) -> None:
        """Count what is offline, now that items of such roots may have been found elsewhere."""
        under = {
            path: selection.count(self.catalog, selection.at_or_under(path))
            for path in self._places.offline
        }
        self.report.offline = sum(under.values())
        self.report.offline_roots = [Path(os.fsdecode(path)) for path in under if under[path]]

    def _unreadable_failure(self, entry: Unreadable, failures: dict[bytes, Failure]) -> Failure:
        known = failures.get(entry.path)
        if known is not None and known.reason == entry.reason:
            return known
        root_id = self._places.online.get(entry.root)
        return Failure(entry.path, entry.reason, 0, 0, root_id=root_id)
