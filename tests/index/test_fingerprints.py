"""Fingerprints within some bits of each other, against comparing all with all."""

import numpy as np
import pytest

from mmsearch.errors import ConfigError
from mmsearch.index import fingerprints
from mmsearch.index.fingerprints import MOST_BITS, FingerprintIndex, Fingerprints, band_radii


def pairs(values: Fingerprints, asked: Fingerprints, distance: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    covered = 0
    for rows, row, place in FingerprintIndex(values).near(asked, distance):
        assert rows.start == covered
        covered = rows.stop
        assert ((rows.start <= row) & (row < rows.stop)).all()
        found += zip(row.tolist(), place.tolist(), strict=True)
    assert covered == len(asked)
    return found


def brute_force(values: Fingerprints, asked: Fingerprints, distance: int) -> list[tuple[int, int]]:
    unlike = np.bitwise_count(asked[:, np.newaxis] ^ values)
    return [(int(row), int(place)) for row, place in np.argwhere(unlike <= distance)]


def drawn(count: int, seed: int) -> Fingerprints:
    """Return distinct fingerprints, many of them some bits beside others."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, max(1, count // 20), dtype=np.uint64)
    values = generator.choice(centres, count)
    for _ in range(14):
        bit = np.uint64(1) << generator.integers(0, 64, count, dtype=np.uint64)
        values = np.where(generator.random(count) < 0.5, values ^ bit, values)
    return np.unique(values)


@pytest.mark.parametrize("distance", range(MOST_BITS + 1))
def test_what_is_near_is_what_comparing_all_finds(distance: int) -> None:
    values = drawn(600, seed=distance)
    expected = brute_force(values, values, distance)
    assert len(expected) >= len(values)
    assert pairs(values, values, distance) == expected


def test_rows_are_answered_in_parts_when_many_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_PAIRS", 50)
    values = drawn(200, seed=3)
    assert pairs(values, values[::3], 8) == brute_force(values, values[::3], 8)


def test_bands_differ_as_little_as_the_pigeonhole_principle_allows() -> None:
    assert band_radii(0) == (0, -1, -1, -1)
    assert band_radii(3) == (0, 0, 0, 0)
    assert band_radii(6) == (1, 1, 1, 0)
    assert band_radii(11) == (2, 2, 2, 2)


def test_nothing_is_near_where_nothing_is() -> None:
    none = np.empty(0, dtype=np.uint64)
    assert pairs(none, none, 5) == []
    assert pairs(none, np.array([7], dtype=np.uint64), 5) == []


@pytest.mark.parametrize("distance", [-1, MOST_BITS + 1])
def test_a_distance_that_could_not_be_found_whole_is_refused(distance: int) -> None:
    values = np.array([1], dtype=np.uint64)
    with pytest.raises(ConfigError, match="from 0 to 11 bits"):
        list(FingerprintIndex(values).near(values, distance))
