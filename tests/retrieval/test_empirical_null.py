"""From which cosine on a label stands out: worked by hand, and on draws."""

from math import inf

import numpy as np
import pytest

from mmsearch.retrieval.empirical_null import label_threshold, standing_out

# Of these eleven the median is 0.0; the 15.87 % quantile lies at place 1.587, between -0.20 and
# -0.10: -0.20 + 0.587 * 0.10 = -0.1413. So one deviation is 0.1413.
ELEVEN = np.array(
    [-0.30, -0.20, -0.10, -0.05, -0.01, 0.0, 0.01, 0.05, 0.10, 0.20, 0.90], dtype=np.float32
)


def test_what_is_six_deviations_away_stands_out() -> None:
    """0.90 / 0.1413 = 6.4: a chance of 1e-10 each; 0.20 / 0.1413 = 1.4: 0.078 each.

    Eleven pictures by 0.078 are 0.86 expected, of two found: more than a fifth.
    """
    assert standing_out(ELEVEN) == pytest.approx(0.90)


def test_more_may_be_accident_where_more_are_found() -> None:
    """With a share of a half, 0.86 expected of two found are few enough; 2.63 of three are not."""
    assert standing_out(ELEVEN, 0.5) == pytest.approx(0.20)


def test_a_label_that_fits_nothing_stands_out_nowhere() -> None:
    normal = np.random.default_rng(0).normal(0.1, 0.05, 5_000).astype(np.float32)
    assert standing_out(normal) > np.sort(normal)[-3]


def test_a_label_that_fits_a_tenth_finds_it_and_little_else() -> None:
    generator = np.random.default_rng(1)
    usual, fits = generator.normal(0.1, 0.05, 9_000), generator.normal(0.5, 0.05, 1_000)
    scores = np.concatenate([usual, fits]).astype(np.float32)
    threshold = standing_out(scores)
    found = scores >= threshold
    assert found[9_000:].mean() > 0.99
    assert found[:9_000].sum() <= 0.25 * found.sum()


def test_cosines_that_are_all_alike_or_none_at_all_have_no_background() -> None:
    assert standing_out(np.full(100, 0.4, dtype=np.float32)) == inf
    assert standing_out(np.empty(0, dtype=np.float32)) == inf
    assert standing_out(np.array([0.4], dtype=np.float32)) == inf
    assert label_threshold(np.empty(0, dtype=np.float32), 0.3) is None


def test_a_label_that_fits_most_pictures_is_given_above_the_chance_level() -> None:
    scores = np.array([0.1, 0.3, 0.4, 0.5, 0.6, 0.6], dtype=np.float32)
    assert label_threshold(scores, None) is None
    assert label_threshold(scores, 0.35) == pytest.approx(0.4)
    assert label_threshold(scores, 0.6) is None


def test_the_lower_one_of_both_thresholds_counts() -> None:
    assert label_threshold(ELEVEN, 0.15) == pytest.approx(0.20)
    assert label_threshold(ELEVEN, 0.95) == pytest.approx(0.90)
