"""The flat index: exact, as far as float16 goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index.ann import engine
from mmsearch.index.ann.engine import faiss
from mmsearch.index.exact import best, check_new, check_queries, check_rows


class FlatIndex:
    """Every row compared, kept as float16 with its id; the file is used memory-mapped."""

    parameters: None = None
    """Nothing to choose: it is exact."""

    def __init__(self, dim: int) -> None:
        codes = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap(codes)
        self._mapped = False
        self._choices = engine.Choices()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a written index. Its bytes are trusted: compare the checksum beforehand.

        Raises UnsoundLibraryError when FAISS cannot read it, OSError when it cannot be opened.
        """
        index = engine.read(path, faiss.IO_FLAG_MMAP_IFC)
        if not isinstance(index, faiss.IndexIDMap):
            raise UnsoundLibraryError(f"the index file {path} is of another kind")
        flat = cls(index.d)
        flat._index = index
        flat._mapped = True
        return flat

    def write(self, sink: Callable[[bytes], object]) -> None:
        """Hand the file's bytes to `sink`, block after block; its OSError is raised again."""
        engine.write(self._index, sink)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def ids(self) -> Ids:
        """Return the ids of all rows, as the file orders them."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), dtype=np.int64)

    def add(self, ids: Ids, vectors: Vectors, /) -> None:
        """Add rows. Raises ConfigError when shapes do not fit, an id is taken, or mapped."""
        if self._mapped:  # FAISS would abort the process
            raise ConfigError("an opened index file takes no rows; build a new index")
        check_rows(ids, vectors, self.dim)
        check_new(ids, faiss.vector_to_array(self._index.id_map))
        self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), ids)

    def search(
        self,
        queries: Vectors,
        /,
        k: int,
        *,
        among: Ids | None = None,
        without: Ids | None = None,
    ) -> list[Matches]:
        """Return the k best for each query row.

        `among` restricts to those ids (empty: nothing can be found); `without` leaves ids
        out. Scores are those of the float16 rows.
        """
        check_queries(queries, self.dim, k)
        rows = np.ascontiguousarray(queries, dtype=np.float32)
        selector = self._choices.of(among, without).selector
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        return [self._settled(row[np.newaxis], k, parameters) for row in rows]

    def _settled(self, query: Vectors, k: int, parameters: Any) -> Matches:
        """Return the k best of one query row.

        FAISS keeps any of the rows that tie for the last place; ask for more until none of
        them can have been left out, then order them by id.
        """
        want = k + 1
        while True:
            scores, ids = self._index.search(query, min(want, max(len(self), 1)), params=parameters)
            found = ids[0] >= 0
            if want > found.sum() or scores[0][k - 1] > scores[0][-1]:
                return best(ids[0][found], scores[0][found], k)
            want *= 4
