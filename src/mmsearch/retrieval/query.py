"""What a question means, as pure functions: weighted terms, and what to look for."""

from collections.abc import Sequence

import numpy as np

from mmsearch.core import ImageTerm, Modality, Term, Vectors
from mmsearch.errors import InputError

_SMALLEST = 1e-6


def combine(vectors: Vectors, weights: Sequence[float]) -> Vectors:
    """Return the weighted sum of (n, dim) unit rows as one (1, dim) float32 unit row.

    Raises InputError when the terms cancel out, so that no direction is left.
    """
    total = np.asarray(weights, dtype=np.float32) @ vectors
    length = float(np.linalg.norm(total))
    if not length > _SMALLEST:
        raise InputError(
            "the terms of the query cancel each other out; change a term or its weight"
        )
    return np.asarray(total / length, dtype=np.float32)[np.newaxis]


def choose_target(terms: Sequence[Term], *, texts: int) -> Modality:
    """Return what a query looks for when the caller did not say.

    Sentences for a question made of pictures when the library has any, else pictures.
    """
    pictures = all(isinstance(term, ImageTerm) for term in terms)
    return Modality.TEXT if pictures and texts else Modality.IMAGE


def text_of_query(text: str) -> str:
    """Return the sentence without white space around it. Raises InputError when empty."""
    stripped = text.strip()
    if not stripped:
        raise InputError("the query is empty; say what to look for, such as: a dog on grass")
    return stripped
