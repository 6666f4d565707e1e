"""Whether an 8-bit network may be kept."""

from dataclasses import replace

import numpy as np
import pytest

from mmsearch.retrieval.convert.quantise_check import (
    Figures,
    Loss,
    Pairs,
    kept_neighbours,
    mean_centred,
    mean_cosine,
)

GOOD = Figures(cosine=0.999, centred=0.99, alone=1.0, neighbours=0.95, speed=2.5, samples=96)


def test_good_figures_pass() -> None:
    assert GOOD.failure() == ""
    assert replace(GOOD, cosine=0.99, alone=0.999, neighbours=0.9, speed=0.9).failure() == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cosine": 0.9899}, "mean cosine"),
        ({"cosine": float("nan")}, "mean cosine"),
        ({"alone": 0.9989}, "alone and in a batch"),
        ({"neighbours": 0.89}, "nearest samples"),
        ({"speed": 0.89}, "times the speed"),
        ({"lost": 0.6, "surely": -1.0}, "R@K falls by 0.60"),
        ({"lost": 0.1, "surely": 0.7}, "R@K falls by 0.70"),
    ],
)
def test_each_limit_refuses(change: dict[str, float], reason: str) -> None:
    assert reason in replace(GOOD, **change).failure()  # type: ignore[arg-type]


def test_captions_count_instead_of_neighbours() -> None:
    assert replace(GOOD, neighbours=0.5, lost=0.4, surely=0.0).failure() == ""


def test_figures_are_rounded_and_those_not_measured_left_out() -> None:
    facts = replace(GOOD, cosine=0.1234567).as_dict()
    assert facts["cosine"] == 0.12346
    assert "lost" not in facts


def test_cosines_are_means_over_rows() -> None:
    one = np.array([[1, 0], [0, 1]], dtype=np.float32)
    other = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    assert mean_cosine(one, other) == pytest.approx(0.9)
    # The mean is (0.5, 0.5): (0.5, -0.5) and (-0.5, 0.5) against (0.5, -0.5) and (0.1, 0.3).
    second = (-0.5 * 0.1 + 0.5 * 0.3) / (np.sqrt(0.5) * np.sqrt(0.1))
    assert mean_centred(one, other) == pytest.approx((1 + second) / 2)


def test_neighbours_are_shares_of_the_nearest_quarter() -> None:
    angles = np.array([0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert kept_neighbours(rows, rows) == 1.0
    swapped = rows[[0, 2, 1, 3, 4, 5, 6, 7]]
    # Two of eight count as near. Each row, with its own two before and after the swap:
    # 0: {1,2} {2,1}; 1: {0,2} {3,2}; 2: {3,1} {0,1}; 3: {2,1} {1,2}; the rest see 2 and 3, or
    # 3 and 1 in their place.
    found = kept_neighbours(rows, swapped)
    assert 0.5 < found < 1.0


def test_one_sample_has_no_neighbours_to_lose() -> None:
    row = np.array([[1, 0]], dtype=np.float32)
    assert kept_neighbours(row, row) == 1.0


def test_the_six_recalls_are_averaged() -> None:
    images = texts = np.eye(4, dtype=np.float32)
    pairs = Pairs(images, texts, np.arange(4))
    assert pairs.lost(texts=texts) == Loss(0, 0)
    # Two captions changed places: R@1 falls by 50 points both ways, R@5 and R@10 stay at 100 %.
    # Two questions of four were lost: the standard error is 100 · √2 / 4.
    swapped = texts[[1, 0, 2, 3]]
    for found in (pairs.lost(texts=swapped), pairs.lost(images=swapped)):
        assert found.mean == pytest.approx(100 / 6)
        assert found.surely == pytest.approx(0)  # R@5 and R@10; R@1: 50 - 71
        assert found.too_much
    assert pairs.lost(images=swapped, texts=swapped) == Loss(0, 0)


def test_what_is_lost_beyond_chance_counts_for_each_recall() -> None:
    rows = np.eye(400, dtype=np.float32)
    pairs = Pairs(rows, rows, np.arange(400))
    moved = np.arange(400)
    moved[:16] = moved[:16].reshape(8, 2)[:, ::-1].ravel()  # eight pairs change places
    found = pairs.lost(texts=rows[moved])
    # 16 of 400 have their right answer last: every R@K falls by 4 points, standard error 1.
    assert found.mean == pytest.approx(4)
    assert found.surely == pytest.approx(2)


def test_flips_to_and_fro_are_chance() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(500, 16)).astype(np.float32)
    texts = (images + 1.2 * rng.normal(size=images.shape)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    noisy = images + 0.01 * rng.normal(size=images.shape).astype(np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    assert not Pairs(images, texts, np.arange(500)).lost(images=noisy).too_much
