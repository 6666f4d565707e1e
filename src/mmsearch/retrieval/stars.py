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
_BLOCK: Final = 1024  # rows compared at once
_WASTE: Final = 50  # comparisons a picture that may come to nothing, on average
_ALLOWANCE: Final = 3.0
_PLAIN: Final = 8


@dataclass(frozen=True, slots=True)
class Nearness:
    """What counts as near: fingerprints at most `distance` bits apart, and a high cosine.

    At that distance the cosine must be at least `threshold`. Equal fingerprints may have one
    four times as far from 1, and in between it goes in a straight line: a model may see a small
    or grey copy as something else, while a fingerprint that agrees in every bit is no chance.
    That of a plain picture is, with fewer than 8 bits unlike the others; it allows nothing.
    Raises ConfigError when a value is out of range.
    """

    threshold: float
    distance: int

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise ConfigError(f"a threshold is a cosine, from -1 to 1, not {self.threshold}")
        if not 0 <= self.distance <= MOST_BITS:
            raise ConfigError(f"a distance must be from 0 to {MOST_BITS} bits, not {self.distance}")

    def least(self, own: np.uint64, others: Fingerprints) -> NDArray[np.float32]:
        """Return (m,) the cosines that a picture and others need, by their fingerprints."""
        bits = np.bitwise_count(own ^ others)
        nearer = 1 - np.minimum(bits, self.distance) / max(1, self.distance)
        allowed = np.where(_is_plain(others) | _is_plain(own), 0, _ALLOWANCE * nearer)
        if self.distance == 0:
            allowed[:] = 0
        return np.asarray(1 - (1 - self.threshold) * (1 + allowed), dtype=np.float32)


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
        own, mark = self._vectors[leader].astype(np.float32), self._fingerprints[leader]
        for start in range(0, len(candidates), _BLOCK):
            if start and self._budget <= 0:
                self.cut += 1
                break
            some = candidates[start : start + _BLOCK]
            rows = self._vectors[some].astype(np.float32)
            scores = np.einsum("nd,d->n", rows, own)  # BLAS would wake its threads
            taken = scores >= near.least(mark, self._fingerprints[some])
            kept.append(some[taken])
            cosines.append(scores[taken])
            self._budget -= len(some) - int(taken.sum())
        if not any(map(len, kept)):
            return None
        others, scores = np.concatenate(kept), np.concatenate(cosines)
        self._free[others] = False
        distances = np.bitwise_count(self._fingerprints[others] ^ mark).astype(np.int64)
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
        found: NDArray[np.int64] = self.positions[np.repeat(self.starts[places], counts) + within]
        return found


def _is_plain(fingerprints: Fingerprints | np.uint64) -> NDArray[np.bool_]:
    """Say of which fingerprints nearly all bits are the same."""
    ones = np.bitwise_count(fingerprints)
    return np.asarray((ones < _PLAIN) | (ones > 64 - _PLAIN))


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
    return np.lexsort(keys).astype(np.int64)
