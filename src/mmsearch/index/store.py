"""The index store: FAISS caches over the catalog's vectors that never make an answer wrong.

One file for each space and modality. A missing, stale or damaged one costs time, not
correctness: rows that the file does not know are searched beside it, and without a usable file
all are scanned. The scores come from the catalog's float16 rows in every case.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsearch.core import Ids, Matches, Modality, Space, Vectors
from mmsearch.errors import UnsoundLibraryError
from mmsearch.index import generation as files
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import check_queries, scan
from mmsearch.index.policy import SETTING_KIND, SETTING_RECALL, IndexKind, Policy
from mmsearch.index.rows import Generation
from mmsearch.index.sources import DisagreementError, Route, State, Way, moment_of
from mmsearch.index.vectors import VectorTable

if TYPE_CHECKING:
    from mmsearch.index.ann import FlatIndex, IvfIndex
    from mmsearch.index.building import Builder
    from mmsearch.index.truth import Questions


class ReplacedError(Exception):
    """The recorded index file is not there: a writer may have replaced it meanwhile."""


class IndexStore:
    """Searches a library's vectors; `warnings` says what should be mended, once each.

    `policy` None is that of the library's settings. `routes` says of each modality how it was
    searched the last time.
    """

    def __init__(self, catalog: Catalog, directory: Path, policy: Policy | None = None) -> None:
        self.warnings: list[str] = []
        self.routes: dict[Modality, Route] = {}
        self._catalog = catalog
        self._directory = directory
        self._policy = policy
        self._limits = policy or Policy()  # of reading, which no setting changes
        self._states: dict[tuple[str, Modality], State] = {}
        self._opened: dict[tuple[str, Modality], tuple[Generation, FlatIndex | IvfIndex]] = {}
        self._missing: set[int] = set()

    def search(
        self,
        space: Space,
        modality: Modality,
        queries: Vectors,
        k: int,
        *,
        among: Ids | None = None,
    ) -> list[Matches]:
        """Return the k best of a modality for each query row (n, dim), ties by id.

        `among` None means no filter; empty means that nothing can be found. Raises
        SpaceMismatchError when the library never held that space, ConfigError when queries
        do not fit it, UnsoundLibraryError when the catalog is damaged. Inside a snapshot
        ReplacedError: the same search in a later one answers.
        """
        check_queries(queries, space.dim, k)
        try:
            return self._answer(space, modality, queries, k, among)
        except ReplacedError:
            if self._catalog.in_snapshot:
                raise
            return self._answer(space, modality, queries, k, among)

    def needs_engine(self, space: Space, modality: Modality) -> bool:
        """Say whether a search of all rows is going to load FAISS."""
        with self._catalog.snapshot():
            state = self._state(space, modality)
            return state.known is not None and state.rows > self._limits.scan_below

    @staticmethod
    def load_engine() -> None:
        """Load FAISS, from whatever thread."""
        import mmsearch.index.ann  # noqa: F401

    def _answer(
        self, space: Space, modality: Modality, queries: Vectors, k: int, among: Ids | None
    ) -> list[Matches]:
        with self._catalog.snapshot():
            state = self._state(space, modality)
            self.routes[modality] = Route(Way.ALL, state.rows)
            if among is not None and len(among) <= self._few(space, modality):
                self.routes[modality] = Route(Way.FEW, state.rows)
                return scan(queries, [state.table.find(among)], k)
            if state.rows <= self._limits.scan_below:
                rows = state.all_rows.among(among)
                return [rows.search(query, k) for query in queries]
            if 2 * k < state.rows:
                found = self._search_cached(space, state, queries, k, among)
                if found is not None:
                    newer = len(state.source.newer.ids) if state.source else 0
                    self.routes[modality] = Route(Way.INDEX, state.rows, state.known, newer)
                    return found
            return scan(queries, _chosen(state.table, among), k)

    def _few(self, space: Space, modality: Modality) -> int:
        """Return how many ids of a filter are read from the catalog, and not looked for.

        A flat index finds the same, and from some hundred on sooner; once it is open.
        """
        opened = self._opened.get((space.digest, modality))
        if opened is not None and opened[0].kind is IndexKind.FLAT:
            return min(self._limits.few, self._limits.few_opened)
        return self._limits.few

    def _search_cached(
        self, space: Space, state: State, queries: Vectors, k: int, among: Ids | None
    ) -> list[Matches] | None:
        """Return the answers of the index file and the rows that it does not know.

        None when there is no file that can be used.
        """
        modality, source = state.table.modality, state.source
        if source is None:
            if state.rows >= self._limits.warn_from:
                self._warn(f"the {modality} index is not written yet; `mmsearch index` writes it")
            return None
        index = self._open(space, source.known)
        if index is not None:
            try:
                return source.search(index, queries, k, among)
            except DisagreementError:
                index = None
        self._warn(
            f"the {modality} index is missing or damaged, so the catalog was scanned; "
            "`mmsearch index` rebuilds it"
        )
        return None

    def _state(self, space: Space, modality: Modality) -> State:
        """Return the state of a table in the snapshot at hand; the last one while it holds."""
        key = (space.digest, modality)
        state = self._states.get(key)
        if state is None or state.moment != moment_of(state.table):
            table = self._catalog.vector_table(space, modality)
            known = files.recorded(self._catalog, space, modality)
            state = self._states[key] = State(moment_of(table), table, known)
        return state

    def _open(self, space: Space, known: Generation) -> "FlatIndex | IvfIndex | None":
        """Return the index of a recorded generation, None when its file cannot be used."""
        key = (space.digest, known.modality)
        opened = self._opened.get(key)
        if opened is None or opened[0] != known:
            index = self._checked(known)
            if index is None:
                return None
            opened = self._opened[key] = (known, index)
        return opened[1]

    def _checked(self, known: Generation) -> "FlatIndex | IvfIndex | None":
        from mmsearch.index.ann import open_index

        path = self._directory / known.file
        try:
            if files.check(path, known) is None:
                return None
            index = open_index(path, known.kind, known.parameters)
        except FileNotFoundError as error:
            if known.number in self._missing:
                return None
            self._missing.add(known.number)
            raise ReplacedError from error
        except (OSError, UnsoundLibraryError):
            return None
        return index if (len(index), index.dim) == (known.rows, known.space.dim) else None

    @property
    def policy(self) -> Policy:
        """Which kinds of index are written, and when."""
        if self._policy is None:
            settings = (self._catalog.setting(key) for key in (SETTING_KIND, SETTING_RECALL))
            self._policy = Policy.of_settings(*settings)
        return self._policy

    # Writing

    def refresh(self, space: Space) -> None:
        """Write new index files where enough has changed, and mend what is damaged.

        Needs a catalog open for writing. A file that cannot be written is a warning: the
        catalog still answers.
        """
        for modality in Modality:
            try:
                self._refresh(space, modality)
            except OSError as error:
                self._warn(
                    f"the {modality} index could not be written ({error.strerror}); "
                    "searches scan the catalog meanwhile"
                )

    def tune(
        self, space: Space, modality: Modality, questions: "Questions | None" = None
    ) -> Generation | None:
        """Make the index file of a modality follow the policy now; return what is recorded.

        Its parameters are measured with the questions, else with rows of the other modality.
        None when there are no rows. Raises OSError when a file cannot be written.
        """
        self._refresh(space, modality, renew=True)
        table = self._catalog.vector_table(space, modality)
        known = files.recorded(self._catalog, space, modality)
        if known is not None and known.kind is not IndexKind.FLAT:
            known = self._builder(space).measured(table, known, questions)
            files.record(self._catalog, known)
        return known

    def _refresh(self, space: Space, modality: Modality, *, renew: bool = False) -> None:
        """Do what is due for one modality; `renew`: what is not due yet, too."""
        table = self._catalog.vector_table(space, modality)
        rows = table.count()
        known = files.recorded(self._catalog, space, modality)
        if known is not None:
            known = self._mended(known)
        folder = (self._directory / files.file_name(space, modality, 0)).parent
        if rows == 0:
            files.forget(self._catalog, space, modality)
            files.sweep(folder, keep="")
            return
        kind = self.policy.choose(rows, None if known is None else known.kind)
        if known is not None and not renew:
            changes = len(table.changed(known.revision))
            if not self.policy.due(changes, rows):
                return
        written = self._builder(space).renewed(table, kind, known)
        if written != known:
            files.record(self._catalog, written)
            files.sweep(folder, keep=Path(written.file).name)

    def _mended(self, known: Generation) -> Generation | None:
        """Return a recorded generation when its file is sound; otherwise set that aside."""
        path = self._directory / known.file
        try:
            stamp = files.check(path, known)
        except OSError:
            stamp = None
        if stamp is None:
            files.quarantine(path)
            files.forget(self._catalog, known.space, known.modality)
            return None
        if stamp != known.stamp:  # the library was copied: spare readers the checksum
            known = replace(known, stamp=stamp)
            files.record(self._catalog, known)
        return known

    def _builder(self, space: Space) -> "Builder":
        from mmsearch.index.building import Builder

        return Builder(self._catalog, self._directory, space, self.policy)

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _chosen(table: VectorTable, among: Ids | None) -> Iterator[tuple[Ids, Vectors]]:
    """Yield all rows of a table, or those of some ids, chunk by chunk."""
    for ids, vectors in table.chunks():
        if among is None:
            yield ids, vectors
        else:
            keep = np.isin(ids, among)
            yield ids[keep], vectors[keep]
