"""FAISS indexes, and the only place that imports FAISS.

Scores are inner products of unit rows: cosines, higher is better.
"""

from pathlib import Path

from mmsearch.index.ann.flat import FlatIndex
from mmsearch.index.ann.ivf import IvfIndex
from mmsearch.index.policy import IndexKind, Parameters

__all__ = ["FlatIndex", "IvfIndex", "open_index"]


def open_index(
    path: Path, kind: IndexKind, parameters: Parameters | None = None
) -> FlatIndex | IvfIndex:
    """Map a written index of a kind. Its bytes are trusted: compare the checksum beforehand.

    Raises UnsoundLibraryError when FAISS cannot read it, or it is of another kind; OSError
    when it cannot be opened.
    """
    match kind:
        case IndexKind.FLAT:
            return FlatIndex.open(path)
        case IndexKind.IVF_SQ8 | IndexKind.IVF_RABITQ:
            return IvfIndex.open(path, parameters)
