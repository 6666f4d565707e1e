"""All fingerprints within some bits of others, without comparing each with every other.

Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): the 64 bits are cut into four bands
of 16. Of two fingerprints that differ in at most `4 r + a` bits, with a < 4, one of the first
a + 1 bands differs in at most r bits, or one of the others in at most r - 1; so it is enough to
look up, band by band, the few values that near. Nothing within the distance is missed.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import ConfigError

Fingerprints: TypeAlias = NDArray[np.uint64]
"""(n,) uint64."""

MOST_BITS: Final = 11
"""The largest distance to look for: beyond it a band may differ in three bits, 697 look-ups."""

_BANDS: Final = 4
_WIDTH: Final = 16
_PAIRS: Final = 1 << 21  # compared at once: some 50 MB


class FingerprintIndex:
    """Distinct fingerprints, to be asked for those near others."""

    def __init__(self, values: Fingerprints) -> None:
        self._values = values
        self._orders: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int64]] = []
        for band in range(_BANDS):
            keys = _keys(values, band)
            counts = np.bincount(keys, minlength=1 << _WIDTH)
            self._orders.append(np.argsort(keys, kind="stable"))
            self._starts.append(np.concatenate([[0], np.cumsum(counts)]))

    def near(
        self, asked: Fingerprints, distance: int
    ) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (rows, row of each pair, place of each pair) for some of the rows at a time.

        A pair says that `asked[row]` and `values[place]` differ in at most `distance` bits; each
        comes once, those of a row together. The slices follow each other. Raises ConfigError for
        a distance that is negative or above `MOST_BITS`.
        """
        if not 0 <= distance <= MOST_BITS:
            raise ConfigError(f"a distance must be from 0 to {MOST_BITS} bits, not {distance}")
        radii = band_radii(distance)
        start = 0
        for stop in self._stops(asked, radii):
            rows, places = self._found(asked[start:stop], radii, distance)
            yield slice(start, stop), rows + start, places
            start = stop

    def _stops(self, asked: Fingerprints, radii: tuple[int, ...]) -> Iterator[int]:
        """Yield where to cut the rows, so that not too many pairs are compared at once."""
        work = np.zeros(len(asked), dtype=np.int64)
        for band, radius in enumerate(radii):
            lengths, _ = self._buckets(asked, band, radius)
            work += lengths.sum(axis=1)
        total = 0
        for row, pairs in enumerate(work.tolist()):
            if total and total + pairs > _PAIRS:
                yield row
                total = 0
            total += pairs
        yield len(asked)

    def _buckets(
        self, asked: Fingerprints, band: int, radius: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (lengths, starts), (rows, look-ups) each, of the buckets to look into."""
        keys = _keys(asked, band)[:, np.newaxis] ^ _masks(radius)
        starts = self._starts[band][keys]
        return self._starts[band][keys + 1] - starts, starts

    def _found(
        self, asked: Fingerprints, radii: tuple[int, ...], distance: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found_rows, found_places = [], []
        for band, radius in enumerate(radii):
            lengths, starts = self._buckets(asked, band, radius)
            rows = np.repeat(np.arange(len(asked)), lengths.sum(axis=1))
            flat = lengths.ravel()
            ends = np.cumsum(flat)
            within = np.arange(len(rows)) - np.repeat(ends - flat, flat)
            places = self._orders[band][np.repeat(starts.ravel(), flat) + within]
            unlike = asked[rows] ^ self._values[places]
            keep = np.bitwise_count(unlike) <= distance
            rows, places, unlike = rows[keep], places[keep], unlike[keep]
            fresh = np.ones(len(rows), dtype=np.bool_)
            for earlier, reach in enumerate(radii[:band]):
                fresh &= np.bitwise_count(_keys(unlike, earlier)) > reach
            found_rows.append(rows[fresh])
            found_places.append(places[fresh])
        all_rows, all_places = np.concatenate(found_rows), np.concatenate(found_places)
        order = np.lexsort((all_places, all_rows))
        return all_rows[order], all_places[order]


def band_radii(distance: int) -> tuple[int, ...]:
    """Return in how many bits each band may differ when looked up; -1: it need not be."""
    radius, rest = divmod(distance, _BANDS)
    return tuple(radius if band <= rest else radius - 1 for band in range(_BANDS))


def _keys(values: Fingerprints, band: int) -> NDArray[np.int64]:
    """Return one band of each value, as a number below 2^16."""
    shifted = values >> np.uint64(_WIDTH * band)
    return (shifted & np.uint64((1 << _WIDTH) - 1)).astype(np.int64)


def _masks(radius: int) -> NDArray[np.int64]:
    """Return all numbers of 16 bits of which at most `radius` are set."""
    masks = [
        sum(1 << bit for bit in bits)
        for count in range(radius + 1)
        for bits in combinations(range(_WIDTH), count)
    ]
    return np.array(masks, dtype=np.int64)
