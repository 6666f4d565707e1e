"""Groups of near pictures: each member near to the best, whatever the others are to each other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsearch.errors import ConfigError
from mmsearch.retrieval import stars
from mmsearch.retrieval.stars import Nearness, Pictures, Star, best_first


def rows(*degrees: float) -> NDArray[np.float16]:
    """Return unit rows in the plane, each at an angle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)


def marks(*values: int) -> NDArray[np.uint64]:
    return np.array(values, dtype=np.uint64)


def groups(found: list[Star]) -> list[list[int]]:
    return [[star.best, *star.others.tolist()] for star in found]


def plain(
    fingerprints: NDArray[np.uint64], vectors: NDArray[np.float16], near: Nearness
) -> list[list[int]]:
    """Group as the documentation says, one picture after the other."""
    scores = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    bits = np.bitwise_count(fingerprints[:, np.newaxis] ^ fingerprints)
    least = np.stack([near.least(mark, fingerprints) for mark in fingerprints])
    linked = (scores >= least) & (bits <= near.distance)
    free, found = [True] * len(vectors), []
    for best in range(len(vectors)):
        if free[best]:
            others = [n for n in range(best + 1, len(vectors)) if free[n] and linked[best, n]]
            for n in others:
                free[n] = False
            others.sort(key=lambda n: (-scores[best, n], bits[best, n], n))
            found += [[best, *others]] if others else []
    return found


def test_near_by_both_measures_is_a_group_and_by_one_is_none() -> None:
    fingerprints = marks(0b0, 0b1, 0b11111, 0b1)
    vectors = rows(0, 10, 5, 60)
    (star,) = Pictures(fingerprints, vectors).stars(Nearness(0.9, 3))
    assert (star.best, star.others.tolist(), star.distances.tolist()) == (0, [1], [1])
    assert star.cosines[0] == pytest.approx(np.cos(np.radians(10)), abs=1e-3)


def test_a_chain_is_cut_where_it_leaves_the_neighbourhood_of_the_best() -> None:
    chain = Pictures(marks(0, 0, 0), rows(0, 20, 40))
    assert groups(list(chain.stars(Nearness(0.9, 0)))) == [[0, 1]]
    middle = Pictures(marks(0, 0, 0), rows(20, 1, 40))
    assert groups(list(middle.stars(Nearness(0.9, 0)))) == [[0, 1, 2]]


def test_members_come_nearest_first() -> None:
    found = Pictures(marks(0, 1, 0, 3), rows(0, 5, 9, 5)).stars(Nearness(0.9, 2))
    assert groups(list(found)) == [[0, 1, 3, 2]]


def test_the_fewer_bits_differ_the_lower_a_cosine_will_do() -> None:
    own = np.uint64(0x00FF00FF00FF00FF)
    others = own ^ marks(0, 0b1, 0b11, 0b111, 0b1111)
    least = Nearness(0.9, 4).least(own, others)
    assert least.tolist() == pytest.approx([0.6, 0.675, 0.75, 0.825, 0.9])
    assert Nearness(0.9, 0).least(own, others[:1]).tolist() == pytest.approx([0.9])
    assert Nearness(1.0, 4).least(own, others).tolist() == [1, 1, 1, 1, 1]


def test_the_fingerprint_of_a_plain_picture_allows_nothing() -> None:
    near = Nearness(0.9, 4)
    for plain_mark in (0, 0x7F, 2**64 - 1):
        assert near.least(np.uint64(plain_mark), marks(plain_mark)).tolist() == pytest.approx([0.9])
    assert near.least(np.uint64(0xFF), marks(0xFF)).tolist() == pytest.approx([0.6])
    assert near.least(np.uint64(0xFF), marks(0x7F)).tolist() == pytest.approx([0.9])


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_those_that_comparing_all_pictures_gives(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stars, "_LEADERS", 7)
    monkeypatch.setattr(stars, "_BLOCK", 5)
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, 12, dtype=np.uint64)
    noise = np.uint64(1) << generator.integers(0, 64, (300, 5), dtype=np.uint64)
    fingerprints = generator.choice(centres, 300) ^ np.bitwise_xor.reduce(noise, axis=1)
    fingerprints[generator.random(300) < 0.3] = 0
    vectors = rows(*generator.uniform(0, 90, 300))
    near = Nearness(0.97, 6)
    found = groups(list(Pictures(fingerprints, vectors).stars(near)))
    assert found == plain(fingerprints, vectors, near)
    assert any(len(group) > 5 for group in found)


def test_many_plain_pictures_that_are_alike_are_one_group() -> None:
    pictures = Pictures(np.zeros(20_000, dtype=np.uint64), np.tile(rows(30), (20_000, 1)))
    (star,) = pictures.stars(Nearness(0.9, 11))
    assert len(star.others) == 19_999
    assert pictures.cut == 0


def test_many_plain_pictures_that_are_not_alike_end_in_time_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stars, "_BLOCK", 16)
    monkeypatch.setattr(stars, "_WASTE", 2)
    vectors = np.eye(200, dtype=np.float16)
    pictures = Pictures(np.zeros(200, dtype=np.uint64), vectors)
    assert list(pictures.stars(Nearness(0.9, 11))) == []
    assert 150 < pictures.cut < 200


def test_nothing_to_group_gives_no_groups() -> None:
    none = Pictures(np.empty(0, dtype=np.uint64), np.empty((0, 2), dtype=np.float16))
    assert list(none.stars(Nearness(0.9, 3))) == []


@pytest.mark.parametrize(("threshold", "distance"), [(1.1, 3), (float("nan"), 3), (0.9, 12)])
def test_limits_out_of_range_are_refused(threshold: float, distance: int) -> None:
    with pytest.raises(ConfigError, match="from"):
        Nearness(threshold, distance)


def test_the_best_has_most_pixels_then_bytes_then_age_then_the_lowest_id() -> None:
    pixels = np.array([10, 20, 20, 20, 20])
    sizes = np.array([99, 5, 6, 6, 6])
    times = np.array([0, 0, 3, 2, 2])
    ids = np.array([1, 2, 3, 9, 4])
    assert best_first(pixels, sizes, times, ids).tolist() == [4, 3, 2, 1, 0]
