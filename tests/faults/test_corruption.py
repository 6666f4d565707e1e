"""A few damaged libraries; `make soak` runs a thousand more."""

import random
from pathlib import Path

import pytest
from tests.faults.corruption import bit_flip, truncation


@pytest.mark.parametrize("seed", range(8))
def test_a_truncated_file_gives_no_wrong_answer_and_is_repaired(seed: int, tmp_path: Path) -> None:
    truncation(random.Random(seed), tmp_path)


@pytest.mark.parametrize("seed", range(16))
def test_flipped_bits_give_no_wrong_answer_and_are_repaired(seed: int, tmp_path: Path) -> None:
    bit_flip(random.Random(seed), tmp_path)
