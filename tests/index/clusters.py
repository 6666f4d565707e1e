"""Clustered unit rows with a modality gap, as trained models make them, only smaller."""

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Vectors

_CLUSTERS = 60
_AGREEMENT = 0.6  # of a sentence's content with that of its picture


def modalities(
    rows: int, questions: int, dim: int = 64, seed: int = 0
) -> tuple[Vectors, Vectors, NDArray[np.int64]]:
    """Return pictures (rows, dim), sentences (questions, dim) and the pictures' clusters.

    The two lie in cones at right angles; a sentence is about one of the pictures.
    """
    generator = np.random.default_rng(seed)
    spectrum = np.arange(1, dim + 1) ** -0.4
    spectrum /= np.linalg.norm(spectrum)
    centres = generator.standard_normal((_CLUSTERS, dim)) * spectrum
    clusters = generator.integers(0, _CLUSTERS, rows)
    content = centres[clusters] + 0.8 * generator.standard_normal((rows, dim)) * spectrum
    about = content[generator.integers(0, rows, questions)]
    noise = generator.standard_normal((questions, dim)) * spectrum
    cones = np.linalg.qr(generator.standard_normal((dim, 2)))[0].T
    return (
        _unit(content + 1.5 * cones[0]),
        _unit(_AGREEMENT * about + (1 - _AGREEMENT) * noise + 1.5 * cones[1]),
        clusters,
    )


def _unit(rows: NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows / lengths).astype(np.float16), dtype=np.float32)
