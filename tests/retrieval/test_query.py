"""What a question means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.retrieval.fakes import unit_rows

from mmsearch.core import (
    ImageTerm,
    ItemTerm,
    Matches,
    Modality,
    Negation,
    TextTerm,
    Vectors,
)
from mmsearch.errors import InputError
from mmsearch.retrieval.query import (
    choose_target,
    combine,
    merge_by_rank,
    nearest_sum,
    text_of_query,
)

PICTURE = ImageTerm(np.zeros((2, 2, 3), dtype=np.uint8))


def _rows(*rows: list[float]) -> Vectors:
    return np.array(rows, dtype=np.float32)


def test_one_term_is_its_own_row() -> None:
    direction = combine(_rows([0.6, 0.8]), [1.0], Negation.PROJECT)
    assert direction.vector.tolist() == _rows([0.6, 0.8]).tolist()
    assert direction.vector.dtype == np.float32
    np.testing.assert_allclose(direction.coefficients, [1.0], atol=1e-6)


@pytest.mark.parametrize("negation", Negation)
def test_positive_terms_are_weighted_summed_and_brought_back_to_length_one(
    negation: Negation,
) -> None:
    direction = combine(_rows([1, 0, 0], [0, 1, 0]), [3.0, 4.0], negation)
    np.testing.assert_allclose(direction.vector, [[0.6, 0.8, 0.0]], atol=1e-6)
    np.testing.assert_allclose(direction.coefficients, [0.6, 0.8], atol=1e-6)


def test_subtracting_counts_a_negative_weight_in_the_same_sum() -> None:
    direction = combine(_rows([1, 0, 0], [0, 1, 0]), [3.0, -4.0], Negation.SUBTRACT)
    np.testing.assert_allclose(direction.vector, [[0.6, -0.8, 0.0]], atol=1e-6)


# p = (0.6, 0.8, 0), n = (0, 1, 0): p . n = 0.8, and without that p is (0.6, 0, 0).
@pytest.mark.parametrize(
    ("weight", "rest"),
    [
        (-1.0, [0.6, 0.0, 0.0]),
        (-0.5, [0.6, 0.4, 0.0]),
        (-0.25, [0.6, 0.6, 0.0]),
        (-2.0, [0.6, -0.8, 0.0]),
    ],
)
def test_projecting_takes_out_a_share_of_what_points_to_the_negative_term(
    weight: float, rest: list[float]
) -> None:
    direction = combine(_rows([0.6, 0.8, 0], [0, 1, 0]), [1.0, weight], Negation.PROJECT)
    np.testing.assert_allclose(direction.vector, unit_rows([rest]), atol=1e-6)


def test_projecting_takes_out_nothing_that_is_not_there() -> None:
    rows = _rows([1, 0, 0], [-0.6, 0.8, 0])
    direction = combine(rows, [1.0, -1.0], Negation.PROJECT)
    np.testing.assert_allclose(direction.vector, [[1, 0, 0]], atol=1e-6)
    assert direction.coefficients.tolist() == pytest.approx([1.0, 0.0])


def test_projecting_does_not_depend_on_the_scale_of_the_positive_weights() -> None:
    rows = _rows([0.6, 0.8, 0], [0, 0.6, 0.8], [0, 1, 0])
    once = combine(rows, [1.0, 2.0, -0.5], Negation.PROJECT)
    tenfold = combine(rows, [10.0, 20.0, -0.5], Negation.PROJECT)
    np.testing.assert_allclose(once.vector, tenfold.vector, atol=1e-6)


def test_projecting_removes_the_span_of_several_terms_and_not_each_by_itself() -> None:
    # Both terms share the y axis. Out of (1, 2, 2) / 3 goes all of the plane that they span ...
    rows = _rows([1 / 3, 2 / 3, 2 / 3], [0, 1, 0], [0, 0.6, 0.8])
    direction = combine(rows, [1.0, -1.0, -1.0], Negation.PROJECT)
    np.testing.assert_allclose(direction.vector, [[1, 0, 0]], atol=1e-6)
    # ... in any order, and a term that only leans the other way takes nothing.
    away = _rows([1 / 3, 2 / 3, 2 / 3], [0, 0, -1], [0, 1, 0])
    direction = combine(away, [1.0, -1.0, -1.0], Negation.PROJECT)
    np.testing.assert_allclose(direction.vector, [[5**-0.5, 0, 2 * 5**-0.5]], atol=1e-6)


@pytest.mark.parametrize("negation", Negation)
def test_without_a_positive_term_what_is_least_alike_is_looked_for(negation: Negation) -> None:
    direction = combine(_rows([1, 0], [0, 1]), [-3.0, -4.0], negation)
    np.testing.assert_allclose(direction.vector, [[-0.6, -0.8]], atol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    positive=st.integers(1, 4),
    negative=st.integers(0, 6),
    dim=st.integers(2, 8),
    negation=st.sampled_from(Negation),
)
def test_the_vector_is_the_sum_of_the_terms_by_their_coefficients(
    seed: int, positive: int, negative: int, dim: int, negation: Negation
) -> None:
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.normal(size=(positive + negative, dim)).tolist())
    weights = [*rng.uniform(0.1, 3, positive), *rng.uniform(-1, -0.1, negative)]
    try:
        direction = combine(rows, weights, negation)
    except InputError:
        assert negative
        return
    assert np.linalg.norm(direction.vector) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(direction.coefficients @ rows, direction.vector[0], atol=1e-4)
    assert (np.sign(direction.coefficients) * np.sign(weights) >= 0).all()


@given(seed=st.integers(0, 2**32 - 1), negative=st.integers(1, 6), dim=st.integers(2, 8))
def test_after_projecting_no_negative_term_is_near(seed: int, negative: int, dim: int) -> None:
    """What is left of p is in the polar cone of the terms (Moreau), and none of it is lost."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(negative, dim))
    wanted = rng.normal(size=dim)
    shares = nearest_sum(rows, wanted)
    rest = wanted - shares @ rows
    assert (shares >= 0).all()
    assert (rows @ rest <= 1e-5).all()
    assert rest @ (shares @ rows) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("negation", Negation)
def test_terms_that_cancel_out_are_an_error(negation: Negation) -> None:
    with pytest.raises(InputError, match="cancel each other out"):
        combine(_rows([1, 0], [1, 0]), [1.0, -1.0], negation)


def test_a_term_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(InputError):
        combine(_rows([np.nan, 0]), [1.0], Negation.SUBTRACT)


def test_rankings_are_merged_by_rank_then_by_score_then_by_id() -> None:
    pictures = Matches(np.array([7, 3, 5]), np.array([0.3, 0.2, 0.1], dtype=np.float32))
    sentences = Matches(np.array([4, 2]), np.array([0.9, 0.2], dtype=np.float32))
    merged = merge_by_rank([pictures, sentences], 10)
    assert [number for number, _ in merged] == [4, 7, 2, 3, 5]
    assert [score for _, score in merged] == pytest.approx([0.9, 0.3, 0.2, 0.2, 0.1])
    assert merge_by_rank([pictures, sentences], 3) == merged[:3]
    assert merge_by_rank([], 3) == []


def test_a_picture_looks_for_sentences_when_there_are_any() -> None:
    assert choose_target([PICTURE], texts=1) is Modality.TEXT
    assert choose_target([PICTURE], texts=0) is Modality.IMAGE


def test_a_sentence_looks_for_pictures() -> None:
    assert choose_target([TextTerm("red")], texts=9) is Modality.IMAGE
    assert choose_target([TextTerm("red"), PICTURE], texts=9) is Modality.IMAGE
    assert choose_target([ItemTerm(1)], texts=9) is Modality.IMAGE


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_an_empty_question_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="the query is empty"):
        text_of_query(text)


def test_white_space_around_a_question_does_not_count() -> None:
    assert text_of_query("  a dog\n") == "a dog"
