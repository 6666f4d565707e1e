"""Whether items may come into a library: read all of them once, before anything is written."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from mmsearch.core import Space, Vectors
from mmsearch.errors import InputError
from mmsearch.retrieval.transfer.records import Chunk, Source

_KEPT: Final = 0.002  # of a length: what float16 does to a unit row of any width
_MENDED: Final = 0.02


def checked_chunks(source: Source, space: Space) -> Iterator[Chunk]:
    """Yield the chunks of a source with vectors of length one.

    Vectors that were rounded stay as they are, to the last bit. Raises InputError, with the
    row, for a vector of another width or length, or one that is not finite.
    """
    for chunk in source.chunks():
        if chunk.vectors.shape != (len(chunk.records), space.dim):
            raise InputError(
                f"{source.name} has vectors of {chunk.vectors.shape[1]} dimensions; "
                f"those of {space.name} have {space.dim}"
            )
        yield replace(chunk, vectors=_unit(chunk.vectors, source.name, chunk.first))


def _unit(vectors: Vectors, name: str, first: int) -> Vectors:
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        off = ~(np.abs(lengths - 1) <= _MENDED)  # what is not a number is off, too
    if off.any():
        place = int(np.flatnonzero(off)[0])
        length = lengths[place]
        raise InputError(
            f"{name}, row {first + place}: "
            + (
                f"the vector has length {length:.3g}, not 1; divide vectors by their lengths"
                if np.isfinite(length)
                else "the vector holds values that are not finite"
            )
        )
    mended = np.abs(lengths - 1) > _KEPT
    if not mended.any():
        return vectors
    whole = vectors.copy()
    whole[mended] = vectors[mended] / lengths[mended, np.newaxis]
    return whole
