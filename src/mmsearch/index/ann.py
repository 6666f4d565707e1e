"""FAISS indexes. Scores are inner products of unit rows: cosines, higher is better."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import faiss as _faiss
import numpy as np

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index.exact import best, check_new, check_queries, check_rows

faiss: Any = _faiss  # its type stubs lack half of what is used here

_BLOCK = 1 << 20
_DENSE = 1 << 20  # ids below this always fit a bitmap (128 KiB)

# FAISS spreads queries over threads, never one query's rows, and they are asked one at a time
# here: a second thread would only spin (20 ms a query on a busy machine, instead of 0.3 ms).
faiss.omp_set_num_threads(1)


class FlatIndex:
    """Every row compared, kept as float16 with its id; the file is used memory-mapped."""

    def __init__(self, dim: int) -> None:
        codes = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index: Any = faiss.IndexIDMap(codes)
        self._mapped = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a written index. Its bytes are trusted: compare the checksum beforehand.

        Raises UnsoundLibraryError when FAISS cannot read it, OSError when it cannot be opened.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:  # by descriptor, because FAISS takes no name that is not UTF-8
            index = faiss.read_index(f"/dev/fd/{descriptor}", faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise UnsoundLibraryError(f"the index file {path} cannot be read") from error
        finally:
            os.close(descriptor)
        if not isinstance(index, faiss.IndexIDMap):
            raise UnsoundLibraryError(f"the index file {path} is of another kind")
        flat = cls(index.d)
        flat._index = index
        flat._mapped = True
        return flat

    def write(self, sink: Callable[[bytes], object]) -> None:
        """Hand the file's bytes to `sink`, block after block; its OSError is raised again."""
        failures: list[OSError] = []

        def receive(block: bytes) -> None:
            if not failures:  # an exception must not cross FAISS's own frames
                try:
                    sink(block)
                except OSError as error:
                    failures.append(error)

        faiss.write_index(self._index, faiss.PyCallbackIOWriter(receive, _BLOCK))
        if failures:
            raise failures[0]

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._index.d)

    def __len__(self) -> int:
        return int(self._index.ntotal)

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
        chosen = _Chosen(among, without)
        return [self._settled(row[np.newaxis], k, chosen) for row in rows]

    def _settled(self, query: Vectors, k: int, chosen: "_Chosen") -> Matches:
        """Return the k best of one query row.

        FAISS keeps any of the rows that tie for the last place; ask for more until none of
        them can have been left out, then order them by id.
        """
        want = k + 1
        while True:
            scores, ids = self._index.search(
                query, min(want, max(len(self), 1)), params=chosen.parameters
            )
            found = ids[0] >= 0
            if want > found.sum() or scores[0][k - 1] > scores[0][-1]:
                return best(ids[0][found], scores[0][found], k)
            want *= 4


class _Chosen:
    """FAISS search parameters for a choice of ids, and the objects they refer to."""

    def __init__(self, among: Ids | None, without: Ids | None) -> None:
        self._kept: list[Any] = []
        self.parameters: Any = None
        if among is not None:
            rest = among if without is None else np.setdiff1d(among, without)
            self._choose(self._subset(rest))
        elif without is not None and len(without):
            self._choose(faiss.IDSelectorNot(self._subset(without)))

    def _choose(self, selector: Any) -> None:
        self._kept.append(selector)
        self.parameters = faiss.SearchParameters(sel=selector)

    def _subset(self, ids: Ids) -> Any:
        """Return a selector of these ids: a bitmap unless they are few and far between."""
        ids = ids[ids >= 0]
        top = int(ids.max(initial=0))
        if top < max(_DENSE, 64 * len(ids)):
            bits = np.zeros(top + 1, dtype=np.bool_)
            bits[ids] = True
            selector = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
        else:
            selector = faiss.IDSelectorBatch(ids)
        self._kept.append(selector)
        return selector
