"""What a question means."""

import numpy as np
import pytest

from mmsearch.core import ImageTerm, ItemTerm, Modality, TextTerm, Vectors
from mmsearch.errors import InputError
from mmsearch.retrieval.query import choose_target, combine, text_of_query

PICTURE = ImageTerm(np.zeros((2, 2, 3), dtype=np.uint8))


def _rows(*rows: list[float]) -> Vectors:
    return np.array(rows, dtype=np.float32)


def test_one_term_is_its_own_row() -> None:
    assert combine(_rows([0.6, 0.8]), [1.0]).tolist() == _rows([0.6, 0.8]).tolist()


def test_terms_are_weighted_summed_and_brought_back_to_length_one() -> None:
    row = combine(_rows([1, 0, 0], [0, 1, 0], [0, 0, 1]), [3.0, -4.0, 0.0])
    np.testing.assert_allclose(row, [[0.6, -0.8, 0.0]], atol=1e-6)
    assert row.dtype == np.float32


def test_terms_that_cancel_out_are_an_error() -> None:
    with pytest.raises(InputError, match="cancel each other out"):
        combine(_rows([1, 0], [1, 0]), [1.0, -1.0])


def test_a_term_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(InputError):
        combine(_rows([np.nan, 0]), [1.0])


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
