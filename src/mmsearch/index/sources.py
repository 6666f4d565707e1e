"""What a search reads: the recorded index file, the rows that it does not know, the catalog.

All of it belongs to one state of the catalog. As long as nothing was committed, a process that
asks again looks nothing up and decodes nothing twice but the candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.index.exact import Rows, best, cosines, merged
from mmsearch.index.policy import IndexKind
from mmsearch.index.rows import Generation
from mmsearch.index.truth import RECALL_AT
from mmsearch.index.vectors import VectorTable

if TYPE_CHECKING:
    from mmsearch.index.ann import FlatIndex, IvfIndex

_BLOCK = 64  # queries asked at once: their candidates' vectors are in memory together
_SPARE = 16  # candidates beyond k: rounding may order neighbours differently
_ROUNDING = 1e-5  # between FAISS's float32 score and the catalog's, for unit rows
_DISAGREEMENT = 1e-3  # beyond rounding: the file does not hold the catalog's vectors
_CODE_DISAGREEMENT = 0.2  # likewise for the median of scores that are computed from codes


class DisagreementError(Exception):
    """An index file names rows or scores that the catalog does not have."""


class Way(StrEnum):
    """How rows were searched: with an index file, or all compared, or a filter's few compared."""

    INDEX = "index"
    ALL = "all"
    FEW = "few"


@dataclass(frozen=True, slots=True)
class Route:
    """How the last search of a modality was answered, of how many rows there are.

    `known` is the index file that was used, and `newer` the rows that were compared beside it.
    """

    way: Way
    rows: int
    known: Generation | None = None
    newer: int = 0


@dataclass(frozen=True)
class Source:
    """A table of vectors and what is recorded of its index file."""

    table: VectorTable
    known: Generation

    @cached_property
    def changed(self) -> Ids:
        """The ids of rows that were written or removed after the index file, sorted."""
        return self.table.changed(self.known.revision)

    @cached_property
    def newer(self) -> Rows:
        """The rows that were written after the index file."""
        if len(self.changed) == 0:
            return Rows.of([], self.table.dim)
        return Rows.of(self.table.chunks(after=self.known.revision), self.table.dim)

    def search(
        self, index: "FlatIndex | IvfIndex", queries: Vectors, k: int, among: Ids | None
    ) -> list[Matches]:
        """Return the k best for each query (n, dim), by the catalog's own vectors.

        Raises DisagreementError when the index does not fit the catalog.
        """
        answers: list[Matches] = []
        for start in range(0, len(queries), _BLOCK):
            answers += self._candidates(index, queries[start : start + _BLOCK], k, among)
        if len(self.newer.ids) == 0:
            return answers
        newer = self.newer.among(among)
        return [
            merged(answer, newer.search(query, k), k)
            for query, answer in zip(queries, answers, strict=True)
        ]

    def _candidates(
        self, index: "FlatIndex | IvfIndex", queries: Vectors, k: int, among: Ids | None
    ) -> list[Matches]:
        """Return the k best unchanged rows of some queries.

        A flat index is asked for more until the worst candidate is clearly below the k-th
        answer, so that rounding cannot have left out a row that belongs.
        """
        want = self._wanted(k)
        waiting = dict(enumerate(queries))
        answers: dict[int, Matches] = {}
        while waiting:
            asked = np.stack(list(waiting.values()))
            found = index.search(asked, want, among=among, without=self.changed)
            scored = self._scored(asked, found)
            for place, candidates, scores in zip(list(waiting), found, scored, strict=True):
                answer = best(candidates.ids, scores, k)
                if self._settled(candidates, answer, want):
                    answers[place] = answer
                    del waiting[place]
            want *= 4
        return [answers[place] for place in range(len(queries))]

    def _wanted(self, k: int) -> int:
        """Return how many candidates are scored for k results."""
        parameters = self.known.parameters
        if parameters is None:
            return k + _SPARE
        return max(parameters.candidates, -(-parameters.candidates * k // RECALL_AT))

    def _settled(self, candidates: Matches, answer: Matches, want: int) -> bool:
        return (
            self.known.kind is not IndexKind.FLAT
            or len(candidates.ids) < want
            or bool(candidates.scores[-1] < answer.scores[-1] - _ROUNDING)
        )

    def _scored(self, queries: Vectors, found: Sequence[Matches]) -> list[NDArray[np.float32]]:
        """Return the catalog's scores of each query's candidates, in their order."""
        wanted = {number for candidates in found for number in candidates.ids.tolist()}
        ids, vectors = self.table.find(sorted(wanted))
        if len(ids) != len(wanted):
            raise DisagreementError
        scored = []
        for query, candidates in zip(queries, found, strict=True):
            rows = vectors[np.searchsorted(ids, candidates.ids)]
            scores = cosines(query[np.newaxis], rows)[0]
            self._compare(candidates.scores, scores)
            scored.append(scores)
        return scored

    def _compare(self, claimed: NDArray[np.float32], actual: NDArray[np.float32]) -> None:
        """Raise DisagreementError when the index's scores are not near the catalog's."""
        if len(claimed) == 0:
            return
        apart = np.abs(claimed - actual)
        if self.known.kind is IndexKind.FLAT:
            wrong = apart.max() > _DISAGREEMENT
        else:
            wrong = np.sort(apart)[len(apart) // 2] > _CODE_DISAGREEMENT
        if wrong:
            raise DisagreementError


@dataclass(frozen=True)
class State:
    """One state of a table of vectors. `moment` tells it from others, see `moment_of`."""

    moment: tuple[int, int]
    table: VectorTable
    known: Generation | None

    @cached_property
    def rows(self) -> int:
        """The number of rows."""
        return self.table.count()

    @cached_property
    def all_rows(self) -> Rows:
        """Every row; for tables that are small enough to be kept in memory."""
        return Rows.of(self.table.chunks(), self.table.dim)

    @cached_property
    def source(self) -> Source | None:
        """The recorded index file with what belongs to it."""
        return None if self.known is None else Source(self.table, self.known)


def moment_of(table: VectorTable) -> tuple[int, int]:
    """Return what changes whenever the catalog does; inside the snapshot that is read from.

    SQLite's data version counts the commits of others, its total of changes our own.
    """
    (version,) = table.connection.execute("PRAGMA data_version").fetchone()
    return version, table.connection.total_changes
