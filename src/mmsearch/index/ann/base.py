"""What every FAISS index here does alike: files, rows, the order of ties."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import ConfigError
from mmsearch.index.ann import engine
from mmsearch.index.exact import best, check_new, check_queries, check_rows

_NO_IDS: Final = np.empty(0, dtype=np.int64)
_NOTHING: Final = Matches(_NO_IDS, np.empty(0, dtype=np.float32))


class FaissIndex(ABC):
    """A FAISS index of rows with ids, in memory or mapped from a file.

    `rows` is the part of `index` that holds the rows, where that is not all of it.
    """

    def __init__(self, index: Any, rows: Any = None) -> None:
        self._index = index
        self._rows = index if rows is None else rows
        self._mapped = False
        self._top = -1  # no id above this one is in the index; unknown after reading
        self._choices = engine.Choices()

    def write(self, sink: Callable[[bytes], object]) -> None:
        """Hand the file's bytes to `sink`, block after block; its OSError is raised again."""
        engine.write(self._index, sink)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._rows.d)

    def __len__(self) -> int:
        return int(self._rows.ntotal)

    @abstractmethod
    def ids(self) -> Ids:
        """Return the ids of all rows, as the file orders them."""

    def add(self, ids: Ids, vectors: Vectors, /) -> None:
        """Add rows. Raises ConfigError when shapes do not fit, an id is taken, or mapped."""
        self._refuse_mapped()
        check_rows(ids, vectors, self.dim)
        if len(ids) == 0:
            return
        ascending = len(self) == 0 or -1 < self._top < ids.min()
        check_new(ids, _NO_IDS if ascending else self.ids())
        self._top = max(self._top, int(ids.max())) if ascending else -1
        with engine.all_cores():
            self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), ids)

    def _refuse_mapped(self) -> None:
        if self._mapped:  # FAISS would abort the process
            raise ConfigError("an opened index file takes no changes; build a new index")

    def search(
        self,
        queries: Vectors,
        /,
        k: int,
        *,
        among: Ids | None = None,
        without: Ids | None = None,
    ) -> list[Matches]:
        """Return the k best for each query row, by the scores of the stored codes.

        `among` restricts to those ids (empty: nothing can be found); `without` leaves ids out.
        """
        check_queries(queries, self.dim, k)
        if len(queries) == 0 or (among is not None and len(among) == 0):
            return [_NOTHING] * len(queries)
        selector = self._choices.of(among, without).selector
        rows = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, max(len(self), 1))
        return self._found(rows, k, selector, filtered=among is not None)

    @abstractmethod
    def _found(self, rows: Vectors, k: int, selector: Any, *, filtered: bool) -> list[Matches]:
        """Return the k best of each row (n, dim) among what the selector lets through.

        `filtered`: the caller asked for some ids, and has a right to k of them.
        """


def settled(look: Callable[[int], tuple[NDArray[np.float32], Ids]], k: int) -> Matches:
    """Return the k best of one query, ties by id.

    `look` returns the scores and ids of so many, best first, -1 after the last. FAISS keeps any
    of the rows that tie for the last place: ask for more until none can have been left out.
    """
    want = k + 1
    while True:
        scores, ids = look(want)
        there = int((ids >= 0).sum())
        if there < want or scores[k - 1] > scores[-1]:
            return best(ids[:there], scores[:there], k)
        want *= 4
