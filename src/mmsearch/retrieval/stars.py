"""Near pictures as stars: groups whose every member is near to the group's best one.

Neighbourhood is no equivalence: a picture may be near to two that are not near to each other,
and connected components would chain strangers together. So pictures are gone through from the
best to the worst. One that is in no group yet takes all worse ones in no group that are near to
it. Whoever keeps the best of each group keeps something near to everything else in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import ConfigError
from mmsearch.index.fingerprints import MOST_BITS, FingerprintIndex, Fingerprints

_LEADERS: Final = 256  # looked up at once
_BLOCK: Final = 4096  # rows compared at once
_WASTE: Final = 500  # comparisons a picture that may come to nothing, on average


@dataclass(frozen=True, slots=True)
class Nearness:
    """What counts as near: a cosine of at least `threshold`, and at most `distance` bits apart.

    Raises ConfigError when a value is out of range.
    """

    threshold: float
    distance: int

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise ConfigError(f"a threshold is a cosine, from -1 to 1, not {self.threshold}")
        if not 0 <= self.distance <= MOST_BITS:
            raise ConfigError(f"a distance must be from 0 to {MOST_BITS} bits, not {self.distance}")


@dataclass(frozen=True, slots=True)
class Star:
    """A group by positions: its best, and (m,) others, nearest first, with their figures.

    `cosines` float32 and `distances`, in bits, are to the best.
    """

    best: int
    others: NDArray[np.int64]
    cosines: NDArray[np.float32]
    distances: NDArray[np.int64]


class Pictures:
    """Pictures from the best to the worst, and which of them are in a group.

    `vectors` (n, dim) float16 unit rows. `cut`: how many pictures were not compared with all
    that look like them, because too many of these turned out to be something else.
    """

    def __init__(self, fingerprints: Fingerprints, vectors: NDArray[np.float16]) -> None:
        self.cut = 0
        self._fingerprints = fingerprints
        self._vectors = vectors
        self._free = np.ones(len(fingerprints), dtype=np.bool_)
        self._budget = _WASTE * len(fingerprints)

    def stars(self, near: Nearness) -> Iterator[Star]:
        """Yield the groups, from that of the best picture on. Goes through them once."""
        remaining = np.arange(len(self._fingerprints))
        while len(remaining):
            found = _Values.of(self._fingerprints, remaining)
            leaving = len(remaining) // 4 + _LEADERS  # then they are indexed without those done
            for start in range(0, leaving, _LEADERS):
                some = remaining[start : min(start + _LEADERS, leaving)]
                yield from self._led_by(some[self._free[some]], found, near)
            remaining = remaining[leaving:]
            remaining = remaining[self._free[remaining]]

    def _led_by(
        self, leaders: NDArray[np.int64], found: "_Values", near: Nearness
    ) -> Iterator[Star]:
        """Yield the groups of some pictures, each of which may be taken by one before it."""
        asked = self._fingerprints[leaders]
        for rows, row_of, places in found.index.near(asked, near.distance):
            bounds = np.searchsorted(row_of, np.arange(rows.start, rows.stop + 1)).tolist()
            for row in range(rows.start, rows.stop):
                first, last = bounds[row - rows.start : row - rows.start + 2]
                leader = int(leaders[row])
                if self._free[leader]:
                    self._free[leader] = False
                    members = found.members(places[first:last])
                    star = self._star(leader, members[self._free[members]], near)
                    if star is not None:
                        yield star

    def _star(self, leader: int, candidates: NDArray[np.int64], near: Nearness) -> Star | None:
        """Take those of the candidates that are near to a picture."""
        kept, cosines = [], []
        own = self._vectors[leader].astype(np.float32)
        for start in range(0, len(candidates), _BLOCK):
            if start and self._budget <= 0:
                self.cut += 1
                break
            some = candidates[start : start + _BLOCK]
            scores = self._vectors[some].astype(np.float32) @ own
            taken = scores >= near.threshold
            kept.append(some[taken])
            cosines.append(scores[taken])
            self._budget -= len(some) - int(taken.sum())
        if not any(map(len, kept)):
            return None
        others, scores = np.concatenate(kept), np.concatenate(cosines)
        self._free[others] = False
        unlike = self._fingerprints[others] ^ self._fingerprints[leader]
        distances = np.bitwise_count(unlike).astype(np.int64)
        order = np.lexsort((others, distances, -scores))
        return Star(leader, others[order], scores[order], distances[order])


@dataclass(frozen=True, slots=True)
class _Values:
    """Distinct fingerprints, indexed, and the pictures that have each, best first."""

    index: FingerprintIndex
    positions: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, fingerprints: Fingerprints, positions: NDArray[np.int64]) -> "_Values":
        values, places, counts = np.unique(
            fingerprints[positions], return_inverse=True, return_counts=True
        )
        ordered = positions[np.argsort(places, kind="stable")]
        return cls(FingerprintIndex(values), ordered, np.concatenate([[0], np.cumsum(counts)]))

    def members(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of the pictures that have one of some values."""
        if len(places) == 1:
            return self.positions[self.starts[places[0]] : self.starts[places[0] + 1]]
        counts = self.starts[places + 1] - self.starts[places]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        return self.positions[np.repeat(self.starts[places], counts) + within]


def best_first(
    pixels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    times: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the order from the best picture to the worst.

    Most pixels first, then most bytes, then the oldest file, then the lowest id.
    """
    keys: Sequence[NDArray[np.int64]] = (ids, times, -sizes, -pixels)
    return np.asarray(np.lexsort(keys))
