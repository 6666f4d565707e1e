"""Figures of agreement, worked out by hand."""

import numpy as np
import pytest

from mmsearch.core import Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.vse.agreement import Agreement, TowerAgreement, inversion, tower_agreement


def rows(*values: list[float]) -> Vectors:
    return np.array(values, np.float32)


def test_equal_vectors_agree_fully() -> None:
    vectors = rows([1, 0], [0, 1])
    assert tower_agreement(vectors, vectors, vectors) == TowerAgreement(2, 1.0, 1.0, 0.0)


def test_a_common_offset_hides_from_the_cosine_but_not_from_the_centred_one() -> None:
    expected = rows([100, 1], [100, -1])
    swapped = expected[::-1]
    found = tower_agreement(expected, swapped, swapped)
    assert found.cosine == pytest.approx((100 * 100 - 1) / (100 * 100 + 1), abs=1e-6)
    assert found.cosine > 0.999
    assert found.centred_cosine == -1.0


def test_a_zero_vector_agrees_with_a_zero_vector_alone() -> None:
    zero, one = rows([0, 0], [0, 1]), rows([1, 0], [0, 1])
    assert tower_agreement(zero, zero, zero).cosine == 1.0
    assert tower_agreement(zero, one, one).cosine == 0.0


def test_the_largest_difference_between_alone_and_in_a_batch_is_told() -> None:
    vectors = rows([1, 0], [0, 1])
    assert tower_agreement(vectors, vectors, rows([1, 0], [0.25, 1])).alone == 0.25


def test_samples_at_the_mean_say_nothing_about_directions() -> None:
    collapsed = rows([1, 0], [1, 0])
    noise = rows([1, 1e-7], [1, -1e-7])
    assert tower_agreement(collapsed, noise, noise).centred_cosine == 1.0


def test_an_inversion_is_as_large_as_the_gap_of_the_scores_that_changed_places() -> None:
    expected = rows([0.9, 0.8, 0.1])
    assert inversion(expected, rows([0.5, 0.4, 0.3])) == 0.0
    assert inversion(expected, rows([0.4, 0.5, 0.3])) == pytest.approx(0.1)
    assert inversion(expected, rows([0.3, 0.4, 0.5])) == pytest.approx(0.8)


def test_a_tie_that_falls_otherwise_costs_nothing() -> None:
    assert inversion(rows([0.5, 0.5]), rows([0.4, 0.6])) == 0.0


def test_every_fault_is_named_with_its_figure() -> None:
    bad = TowerAgreement(samples=3, cosine=0.5, centred_cosine=float("nan"), alone=0.1)
    with pytest.raises(ModelError) as caught:
        Agreement(image=bad, text=TowerAgreement(3, 1.0, 1.0, 0.0), inversion=0.2).check()
    message = str(caught.value)
    assert "image tower: cosine 0.500000" in message
    assert "around the mean nan" in message
    assert "differ by 1.0e-01" in message
    assert "places by 2.0e-01" in message
    assert "text tower" not in message
