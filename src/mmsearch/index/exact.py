"""Exact search with NumPy: the specification that faster indexes are tested against."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import ConfigError

_ROUNDING = 1e-4  # of a float32 sum of some thousand products, relative to the lengths


class ExactIndex:
    """Keeps float32 rows in memory and compares every one of them."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._ids: Ids = np.empty(0, dtype=np.int64)
        self._vectors: Vectors = np.empty((0, dim), dtype=np.float32)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._dim

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Ids, vectors: Vectors, /) -> None:
        """Add rows. Raises ConfigError when shapes do not fit or an id is taken."""
        check_rows(ids, vectors, self._dim)
        check_new(ids, self._ids)
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, vectors])

    def search(self, queries: Vectors, /, k: int, *, among: Ids | None = None) -> list[Matches]:
        """Return the k best for each query row; `among` restricts to those ids."""
        check_queries(queries, self._dim, k)
        keep = slice(None) if among is None else np.isin(self._ids, among)
        return scan(queries, [(self._ids[keep], self._vectors[keep])], k)


def cosines(queries: Vectors, vectors: Vectors) -> NDArray[np.float32]:
    """Return (queries, vectors) float32 dot products, summed in float64.

    Equal rows get equal scores wherever they stand, which a float32 matrix product does not
    promise; ties by id need it.
    """
    if len(queries) == 1:  # BLAS would wake its threads, which takes longer than the sums
        row = queries[0].astype(np.float64)
        products = np.einsum("nd,d->n", vectors.astype(np.float64), row)[np.newaxis]
    else:
        products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.asarray(products, dtype=np.float32)


def best(ids: Ids, scores: NDArray[np.float32], k: int) -> Matches:
    """Return the k highest scores, best first, ties by id."""
    if k < len(ids):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = scores >= threshold
        ids, scores = ids[keep], scores[keep]
    order = np.lexsort((ids, -scores))[:k]
    return Matches(ids[order], scores[order])


def scan(queries: Vectors, chunks: Iterable[tuple[Ids, Vectors]], k: int) -> list[Matches]:
    """Return the k best of all chunks for each query row."""
    nothing = Matches(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    answers = [nothing] * len(queries)
    for ids, vectors in chunks:
        scores = cosines(queries, vectors)
        answers = [
            merged(answer, Matches(ids, row), k)
            for answer, row in zip(answers, scores, strict=True)
        ]
    return answers


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in memory, asked again and again. `length` is that of the longest vector."""

    ids: Ids
    vectors: Vectors
    length: float

    @classmethod
    def of(cls, chunks: Iterable[tuple[Ids, Vectors]], dim: int) -> Self:
        """Keep all rows of some chunks."""
        ids, vectors = [np.empty(0, dtype=np.int64)], [np.empty((0, dim), dtype=np.float32)]
        for some, rows in chunks:
            ids.append(some)
            vectors.append(rows)
        whole = np.concatenate(vectors)
        squares = np.einsum("nd,nd->n", whole, whole)
        return cls(np.concatenate(ids), whole, float(squares.max(initial=0)) ** 0.5)

    def among(self, ids: Ids | None) -> Self:
        """Return the rows of those ids; None: all."""
        if ids is None or len(self.ids) == 0:
            return self
        keep = np.isin(self.ids, ids)
        return replace(self, ids=self.ids[keep], vectors=self.vectors[keep])

    def search(self, query: NDArray[np.float32], k: int) -> Matches:
        """Return what `scan` returns for one query (dim,), in a fraction of its time.

        Only rows that rounding could bring among the k best are scored in float64.
        """
        rough = np.einsum("nd,d->n", self.vectors, query)  # BLAS would wake its threads
        if k < len(rough):
            margin = _ROUNDING * self.length * float(np.linalg.norm(query))
            lowest = np.partition(rough, len(rough) - k)[len(rough) - k] - margin
            near = np.flatnonzero(rough >= lowest)
        else:
            near = np.arange(len(rough))
        scores = cosines(query[np.newaxis], self.vectors[near])[0]
        return best(self.ids[near], scores, k)


def merged(some: Matches, others: Matches, k: int) -> Matches:
    """Return the k best of two answers to one query."""
    ids = np.concatenate([some.ids, others.ids])
    return best(ids, np.concatenate([some.scores, others.scores]), k)


def check_rows(ids: Ids, vectors: Vectors, dim: int) -> None:
    """Raise ConfigError unless there is one finite row of `dim` values for each id."""
    if vectors.ndim != 2 or vectors.shape[1] != dim or ids.shape != (len(vectors),):
        raise ConfigError(
            f"{ids.shape} ids and {vectors.shape} vectors do not fit an index of {dim} dimensions"
        )
    if not np.isfinite(vectors).all():
        raise ConfigError("a vector holds values that are not finite; check the model")


def check_new(ids: Ids, known: Ids) -> None:
    """Raise ConfigError when an id stands twice or is known."""
    if len(np.unique(ids)) != len(ids) or np.isin(ids, known).any():
        raise ConfigError("an id is in the index already; every row needs a new one")


def check_queries(queries: Vectors, dim: int, k: int) -> None:
    """Raise ConfigError unless queries are (n, dim) finite rows and k is positive."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ConfigError(f"queries of shape {queries.shape} do not fit {dim} dimensions")
    if not np.isfinite(queries).all():
        raise ConfigError("a query vector holds values that are not finite; check the model")
    if k < 1:
        raise ConfigError(f"k must be at least 1, not {k}")
