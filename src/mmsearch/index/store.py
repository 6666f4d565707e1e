"""The index store: a FAISS cache over the catalog's vectors that never changes an answer.

One file for each space and modality. A missing, stale or damaged one costs time, not
correctness: rows that the file does not know are scanned, and without a usable file all are.
The scores come from the catalog's float16 rows in every case.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsearch.core import Ids, Matches, Modality, Space, Vectors
from mmsearch.errors import UnsoundLibraryError
from mmsearch.index import generation as files
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import best, check_queries, cosines, merged, scan
from mmsearch.index.rows import Generation, IndexKind
from mmsearch.index.vectors import VectorTable

if TYPE_CHECKING:
    from mmsearch.index.ann import FlatIndex

_FEW = 1024  # ids of a filter that are read one by one from the catalog
_SPARE = 16  # candidates beyond k: rounding may order neighbours differently
_ROUNDING = 1e-5  # between FAISS's float32 score and the catalog's, for unit rows
_DISAGREEMENT = 1e-3  # beyond rounding: the file does not hold the catalog's vectors
_LARGE = 20_000  # rows from which a library without an index file is worth a warning
_FEWEST_CHANGES = 64
_CHANGES = 20  # a new file is written when one row in so many has changed


class _DisagreementError(Exception):
    """An index file names rows or scores that the catalog does not have."""


class _ReplacedError(Exception):
    """The recorded index file is not there: a writer may have replaced it meanwhile."""


@dataclass(frozen=True, slots=True)
class _Search:
    """One call's question."""

    table: VectorTable
    queries: Vectors
    k: int
    among: Ids | None

    def scanned(self, *, after: int = 0) -> list[Matches]:
        """Return the best of the catalog's rows written after a revision (0: all)."""
        return scan(self.queries, self._chunks(after), self.k)

    def _chunks(self, after: int) -> Iterator[tuple[Ids, Vectors]]:
        for ids, vectors in self.table.chunks(after=after):
            if self.among is None:
                yield ids, vectors
            else:
                keep = np.isin(ids, self.among)
                yield ids[keep], vectors[keep]


class IndexStore:
    """Searches a library's vectors; `warnings` says what should be mended, once each."""

    def __init__(self, catalog: Catalog, directory: Path) -> None:
        self.warnings: list[str] = []
        self._catalog = catalog
        self._directory = directory
        self._opened: dict[tuple[str, Modality], tuple[Generation, FlatIndex]] = {}
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
        do not fit it, UnsoundLibraryError when the catalog is damaged.
        """
        check_queries(queries, space.dim, k)
        search = _Search(self._catalog.vector_table(space, modality), queries, k, among)
        try:
            return self._answer(space, search)
        except _ReplacedError:
            return self._answer(space, search)

    def _answer(self, space: Space, search: _Search) -> list[Matches]:
        modality, among, k = search.table.modality, search.among, search.k
        with self._catalog.snapshot():
            if among is not None and len(among) <= _FEW:
                return scan(search.queries, [search.table.find(among)], k)
            cached = self._open(space, search.table)
            if cached is None or 2 * k >= cached[0].rows:
                return search.scanned()
            try:
                return _search_cached(*cached, search)
            except _DisagreementError:
                self._warn_damaged(modality)
                return search.scanned()

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

    def _refresh(self, space: Space, modality: Modality) -> None:
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
        if known is not None:
            changes = len(table.changed(known.revision))
            if changes < max(_FEWEST_CHANGES, rows // _CHANGES):
                return
        written = self._write(space, table)
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

    def _write(self, space: Space, table: VectorTable) -> Generation:
        from mmsearch.index.ann import FlatIndex

        index = FlatIndex(space.dim)
        with self._catalog.snapshot():
            revision = self._catalog.revision
            for ids, vectors in table.chunks():
                index.add(ids, vectors)
        number = files.next_number(self._catalog)
        name = files.file_name(space, table.modality, number)
        with files.written(self._directory / name) as writer:
            index.write(writer.write)
        return Generation(
            number,
            space,
            table.modality,
            IndexKind.FLAT,
            revision,
            len(index),
            name,
            writer.sha256,
            writer.stamp,
        )

    def _open(self, space: Space, table: VectorTable) -> "tuple[Generation, FlatIndex] | None":
        """Return the recorded generation and its index, None when all rows must be scanned."""
        modality = table.modality
        known = files.recorded(self._catalog, space, modality)
        if known is None:
            if table.count() >= _LARGE:
                self._warn(f"the {modality} index is not written yet; `mmsearch index` writes it")
            return None
        key = (space.digest, modality)
        opened = self._opened.get(key)
        if opened is None or opened[0].number != known.number:
            index = self._checked(known)
            if index is None:
                self._warn_damaged(modality)
                return None
            opened = self._opened[key] = (known, index)
        return opened

    def _checked(self, known: Generation) -> "FlatIndex | None":
        from mmsearch.index.ann import FlatIndex

        path = self._directory / known.file
        try:
            if files.check(path, known) is None:
                return None
            match known.kind:
                case IndexKind.FLAT:
                    index = FlatIndex.open(path)
        except FileNotFoundError as error:
            if known.number in self._missing:
                return None
            self._missing.add(known.number)
            raise _ReplacedError from error
        except (OSError, UnsoundLibraryError):
            return None
        return index if (len(index), index.dim) == (known.rows, known.space.dim) else None

    def _warn_damaged(self, modality: Modality) -> None:
        self._warn(
            f"the {modality} index is missing or damaged, so the catalog was scanned; "
            "`mmsearch index` rebuilds it"
        )

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _search_cached(known: Generation, index: "FlatIndex", search: _Search) -> list[Matches]:
    """Return the best of the index file's rows and of those that it does not know."""
    changed = search.table.changed(known.revision)
    answers = [_candidates(index, search, row, changed) for row in search.queries]
    if len(changed) == 0:
        return answers
    newer = search.scanned(after=known.revision)
    return [merged(a, b, search.k) for a, b in zip(answers, newer, strict=True)]


def _candidates(index: "FlatIndex", search: _Search, query: Vectors, changed: Ids) -> Matches:
    """Return the k best unchanged rows of one query (dim,), by the catalog's own vectors.

    Asks the index for more until the worst candidate is clearly below the k-th answer, so
    that rounding in the index cannot have left out a row that belongs.
    """
    want = search.k + _SPARE
    while True:
        (found,) = index.search(query[np.newaxis], want, among=search.among, without=changed)
        ids, vectors = search.table.find(found.ids)
        if len(ids) != len(found.ids):
            raise _DisagreementError
        scores = cosines(query[np.newaxis], vectors)[0]
        order = np.argsort(found.ids)
        if np.abs(scores - found.scores[order]).max(initial=0) > _DISAGREEMENT:
            raise _DisagreementError
        answer = best(ids, scores, search.k)
        if len(ids) < want or found.scores[-1] < answer.scores[-1] - _ROUNDING:
            return answer
        want *= 4
