"""Whether an 8-bit network may stand in for its full-precision one: figures and limits."""

import math
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Vectors
from mmsearch.retrieval.metrics import CUTOFFS, ranks
from mmsearch.retrieval.optimise import centred_cosine

LEAST_COSINE: Final = 0.99
"""Mean cosine to the full-precision vectors."""
LEAST_ALONE: Final = 0.999
"""Least cosine of an item's vector alone and in a batch of 32."""
LEAST_NEIGHBOURS: Final = 0.9
"""Mean share of the ten nearest samples that stay, where there are no captions."""
MOST_LOST: Final = 0.5
"""Points of R@K, where there are captions: so much the six may lose on average, and none of them
so much more that chance does not explain it (two standard errors of the paired difference)."""
LEAST_SPEED: Final = 0.9
"""Of the full-precision network's: what gains neither time nor accuracy is not kept."""
_NEAREST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of an 8-bit network.

    `cosine` to the full-precision vectors, mean; `centred` the same after the mean vector was
    taken off, which tells more of networks that have learnt little; `alone` the least cosine of
    an item alone and in a batch of 32; `neighbours` the share of the ten nearest samples that
    stay; `lost` the points by which the six R@K fall on average, `surely` those by which one of
    them falls beyond chance, both None without captions; `speed` relative to full precision on
    this machine, a batch of 8.
    """

    cosine: float
    centred: float
    alone: float
    neighbours: float
    speed: float
    samples: int
    lost: float | None = None
    surely: float | None = None

    def failure(self) -> str:
        """Return why the network may not be kept; empty: it may."""
        if not self.cosine >= LEAST_COSINE:
            return f"mean cosine {self.cosine:.4f} is below {LEAST_COSINE}"
        if not self.alone >= LEAST_ALONE:
            return f"alone and in a batch differ: cosine {self.alone:.4f}, not {LEAST_ALONE}"
        if self.lost is not None and self.surely is not None:
            if not max(self.lost, self.surely) <= MOST_LOST:
                return f"R@K falls by {max(self.lost, self.surely):.2f} points, not {MOST_LOST}"
        elif not self.neighbours >= LEAST_NEIGHBOURS:
            return f"{self.neighbours:.0%} of the nearest samples stay, not {LEAST_NEIGHBOURS:.0%}"
        if not self.speed >= LEAST_SPEED:
            return f"it runs at {self.speed:.2f} times the speed"
        return ""

    def as_dict(self) -> dict[str, object]:
        """Return the figures for `model.json`, rounded; those not measured are left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: round(value, 5) for name, value in values.items()}


def mean_cosine(expected: Vectors, found: Vectors) -> float:
    """Return the mean cosine of unit rows."""
    return float((expected * found).sum(axis=1).mean())


def mean_centred(expected: Vectors, found: Vectors) -> float:
    """Return the mean cosine after the mean of the expected rows was taken off."""
    return float(centred_cosine(expected, found).mean())


def kept_neighbours(expected: Vectors, found: Vectors) -> float:
    """Return the mean share of each row's ten nearest other rows that are the same in both.

    With fewer than 40 rows a quarter of them count as near, so that the share says something.
    """
    near = min(_NEAREST, max(1, len(expected) // 4))
    if len(expected) < 2:
        return 1.0
    one, other = _nearest(expected, near), _nearest(found, near)
    return float(np.mean([len(set(a) & set(b)) / near for a, b in zip(one, other, strict=True)]))


@dataclass(frozen=True, slots=True)
class Loss:
    """By how many points R@K falls: the mean of all six, and the most of one beyond chance."""

    mean: float
    surely: float

    @property
    def too_much(self) -> bool:
        """Whether it is more than what may be lost."""
        return not max(self.mean, self.surely) <= MOST_LOST


@dataclass(frozen=True, slots=True)
class Pairs:
    """Captioned pictures as vectors: `owner` (n_texts,) is the row of each caption's picture."""

    images: Vectors
    texts: Vectors
    owner: Ids

    def lost(self, *, images: Vectors | None = None, texts: Vectors | None = None) -> Loss:
        """Return how much R@K falls with other vectors in the place of one side or both."""
        before = ranks(self.images, self.texts, self.owner)
        ours = self.images if images is None else images
        after = ranks(ours, self.texts if texts is None else texts, self.owner)
        falls = [
            _fall(one < cutoff, other < cutoff)
            for one, other in ((before.i2t, after.i2t), (before.t2i, after.t2i))
            for cutoff in CUTOFFS
        ]
        means = [fall for fall, _ in falls]
        return Loss(sum(means) / len(means), max(fall - 2 * error for fall, error in falls))


def _fall(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float]:
    """Return by how many points the share of hits falls, and the standard error of that."""
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return 100 * (lost - won) / len(before), 100 * math.sqrt(lost + won) / len(before)


def _nearest(rows: Vectors, count: int) -> list[list[int]]:
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    nearest: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()
    return nearest
