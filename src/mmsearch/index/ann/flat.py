"""The flat index: exact, as far as float16 goes."""

from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import UnsoundLibraryError
from mmsearch.index.ann import engine
from mmsearch.index.ann.base import FaissIndex, settled
from mmsearch.index.ann.engine import faiss


class FlatIndex(FaissIndex):
    """Every row compared, kept as float16 with its id; the file is used memory-mapped."""

    parameters: None = None
    """Nothing to choose: it is exact."""

    def __init__(self, dim: int) -> None:
        codes = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        super().__init__(faiss.IndexIDMap(codes))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a written index. Its bytes are trusted: compare the checksum beforehand.

        Raises UnsoundLibraryError when FAISS cannot read it, OSError when it cannot be opened.
        """
        index = engine.read(path, faiss.IO_FLAG_MMAP_IFC)
        if not isinstance(index, faiss.IndexIDMap):
            raise UnsoundLibraryError(f"the index file {path} is of another kind")
        flat = cls(index.d)
        flat._index = flat._rows = index
        flat._mapped = True
        return flat

    def ids(self) -> Ids:
        """Return the ids of all rows, as the file orders them."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), dtype=np.int64)

    def _found(
        self,
        rows: Vectors,
        k: int,
        selector: Any,
        *,
        filtered: bool,  # noqa: ARG002 - what is exact finds them all in either case
    ) -> list[Matches]:
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        return [settled(partial(self._look, row, parameters), k) for row in rows]

    def _look(self, row: Vectors, parameters: Any, want: int) -> tuple[NDArray[np.float32], Ids]:
        """Return the scores and ids of so many rows, best first, -1 after the last."""
        most = min(want, max(len(self), 1))
        scores, ids = self._index.search(row[np.newaxis], most, params=parameters)
        return scores[0], ids[0]
