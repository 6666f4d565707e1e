"""What a question of several terms points at, by the documentation and nothing else."""

import math
from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np
from hypothesis import assume
from numpy.typing import NDArray

from mmsearch.core import Negation

Floats = NDArray[np.float64]


def direction(rows: Floats, weights: Sequence[float], negation: Negation) -> Floats:
    """Return the unit vector (dim,) of terms, (n, dim) unit rows or, of no meaning, zeros.

    Leaves out what has no one answer: terms that cancel out, negative ones that point the same way.
    """
    factors = np.array(weights)
    negative = np.flatnonzero((factors < 0) & rows.any(axis=1))
    if negation is Negation.PROJECT and len(negative) and (factors > 0).any():
        # terms that point the same way share what is taken off in more than one way
        assume(np.linalg.matrix_rank(rows[negative], tol=1e-3) == len(negative))
        positive = np.flatnonzero(factors > 0)
        shadow = nearest(rows[negative], factors[positive] @ rows[positive])
        factors[negative] *= shadow
    whole = factors @ rows
    length = math.sqrt(whole @ whole)
    assume(length > 0.01)  # near nothing every direction is as good as the other
    return np.asarray(whole / length)


def nearest(rows: Floats, wanted: Floats) -> Floats:
    """Return the coefficients, none below 0, of the nearest sum: the best of every subset's."""
    places = range(len(rows))
    best, least = np.zeros(len(rows)), float(wanted @ wanted)
    for subset in chain.from_iterable(combinations(places, n) for n in range(1, len(rows) + 1)):
        found = np.zeros(len(rows))
        found[list(subset)] = np.linalg.lstsq(rows[list(subset)].T, wanted, rcond=None)[0]
        rest = wanted - found @ rows
        if found.min() >= 0 and rest @ rest < least - 1e-12:
            best, least = found, float(rest @ rest)
    return best
