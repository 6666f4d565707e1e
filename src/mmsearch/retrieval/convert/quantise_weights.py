"""A matrix of weights in 8 bits or fewer, each column at its own scale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quantised:
    """A matrix (rows, columns) as int8 and one scale a column, (columns,) float32."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantise_columns(matrix: NDArray[np.float32], bits: int) -> Quantised:
    """Round a matrix to `bits` bits, each column by its largest element, symmetrically.

    Seven bits keep the sums of processors without VNNI from overflowing their 16 bits.
    """
    most = 2 ** (bits - 1) - 1
    scales = np.maximum(np.abs(matrix).max(axis=0) / most, 1e-12).astype(np.float32)
    return Quantised(np.rint(matrix / scales).astype(np.int8), scales)
