"""From which cosine on it is no accident that a label is near to a picture.

A label's own cosines over the library tell what is usual for it. Most pictures have nothing to do
with it, so the lower half of its cosines is background: with the median c and the distance s from
there down to the 15.87 % quantile, one standard deviation of a normal distribution, z = (x - c) / s
is standard normal for a picture that the label does not fit (the empirical null of Efron,
"Large-scale simultaneous hypothesis testing", JASA 99, 2004). The threshold is the lowest cosine
from which on at most a fifth of the pictures are expected to be such (Benjamini and Hochberg,
JRSS B 57, 1995). For a label that fits nothing there is no such cosine.

A label that fits half of a library or more has no background there. So a picture has it as well
when its cosine is above the library's chance level: what questions about nothing reach
(`background`).
"""

from math import erfc, inf, isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

FALSE_SHARE: Final = 0.2
"""How many of a label's pictures may be expected to have it by accident."""
_ONE_DEVIATION: Final = 0.1587  # of a normal distribution lies more than one below the mean


def label_threshold(scores: NDArray[np.float32], chance: float | None) -> float | None:
    """Return the lowest of (n,) cosines with which a picture has a label.

    It is the lower one of what stands out among the label's own cosines and of the first above
    the chance level. None when no cosine is high enough for either.
    """
    above = inf if chance is None else float(scores[scores > chance].min(initial=np.inf))
    lowest = min(standing_out(scores), above)
    return lowest if isfinite(lowest) else None


def standing_out(scores: NDArray[np.float32], false_share: float = FALSE_SHARE) -> float:
    """Return the lowest of (n,) cosines from which on few are expected to be background.

    Few: at most `false_share`. Infinity when there is none, or too many cosines are alike to
    tell a background.
    """
    if len(scores) == 0:
        return inf
    centre, low = np.quantile(scores.astype(np.float64), [0.5, _ONE_DEVIATION])
    if not centre > low:
        return inf
    ordered = np.sort(scores)[::-1]
    above = ordered[ordered > centre].astype(np.float64)
    tail = [erfc(z / sqrt(2)) / 2 for z in ((above - centre) / (centre - low)).tolist()]
    expected = len(scores) * np.array(tail)
    enough = np.flatnonzero(expected <= false_share * np.arange(1, len(above) + 1))
    return float(ordered[enough[-1]]) if len(enough) else inf
