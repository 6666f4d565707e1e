"""The triplet loss against numbers worked out by hand."""

import pytest
import torch

from mmsearch.retrieval.vse.config import Mining
from mmsearch.retrieval.vse.image import unit
from mmsearch.retrieval.vse.loss import (
    contrastive_loss,
    gap,
    same_image,
    similarities,
    triplet_loss,
)

# Rows are pictures, columns captions; the diagonal is right.
SCORES = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.5, 0.45], [0.3, 0.6, 0.7]])
DISTINCT = same_image(torch.tensor([0, 1, 2]))


def loss_of(mining: Mining, scores: torch.Tensor = SCORES, same: torch.Tensor = DISTINCT) -> float:
    return float(triplet_loss(scores, same, margin=0.2, mining=mining))


def test_all_negatives_add_every_hinge() -> None:
    # rows: 0.1 | 0.15 | 0.1; columns: 0 | 0.5 + 0.3 | 0
    assert loss_of(Mining.ALL) == pytest.approx((0.1 + 0.15 + 0.1 + 0.5 + 0.3) / 3)


def test_the_hardest_negative_gives_one_hinge_a_direction() -> None:
    # rows: 0.8, 0.45, 0.6 → 0.1, 0.15, 0.1; columns: 0.3, 0.8, 0.45 → 0, 0.5, 0
    assert loss_of(Mining.HARDEST) == pytest.approx((0.1 + 0.15 + 0.1 + 0.5) / 3)


def test_semi_hard_ignores_negatives_that_beat_the_positive() -> None:
    # column 1 holds 0.8 and 0.6 above its positive 0.5: none left, no cost
    assert loss_of(Mining.SEMI_HARD) == pytest.approx((0.1 + 0.15 + 0.1) / 3)


@pytest.mark.parametrize("mining", [Mining.ALL, Mining.HARDEST, Mining.SEMI_HARD])
def test_the_loss_is_zero_where_the_margin_holds(mining: Mining) -> None:
    scores = torch.eye(4)
    assert loss_of(mining, scores, same_image(torch.arange(4))) == 0.0


@pytest.mark.parametrize("mining", [Mining.ALL, Mining.HARDEST, Mining.SEMI_HARD])
def test_captions_of_one_image_are_never_negatives(mining: Mining) -> None:
    scores = torch.tensor([[0.5, 0.9], [0.9, 0.5]])
    assert loss_of(mining, scores, same_image(torch.tensor([7, 7]))) == 0.0


def test_a_collapsed_space_costs_twice_the_margin() -> None:
    scores = torch.full((5, 5), 0.3)
    assert loss_of(Mining.HARDEST, scores, same_image(torch.arange(5))) == pytest.approx(0.4)


def test_the_loss_does_not_grow_with_the_batch() -> None:
    big = torch.block_diag(SCORES, SCORES)  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert loss_of(Mining.HARDEST, big, same_image(torch.arange(6))) == pytest.approx(
        loss_of(Mining.HARDEST)
    )


def test_auto_is_no_loss() -> None:
    with pytest.raises(ValueError, match="MiningSchedule"):
        loss_of(Mining.AUTO)


def test_the_contrastive_loss_of_a_uniform_matrix_is_the_log_of_the_batch() -> None:
    scores = torch.zeros(4, 4)
    found = contrastive_loss(scores, same_image(torch.arange(4)), temperature=0.1)
    assert float(found) == pytest.approx(1.3862943611)


def test_the_contrastive_loss_leaves_out_captions_of_the_same_image() -> None:
    scores = torch.zeros(3, 3)
    found = contrastive_loss(scores, same_image(torch.tensor([0, 0, 1])), temperature=1.0)
    # pairs 0 and 1 choose between two, pair 2 between three
    assert float(found) == pytest.approx((2 * 0.6931471806 + 1.0986122887) / 3)


def test_gap_is_mean_positive_less_mean_hardest_negative() -> None:
    hardest = (0.8 + 0.45 + 0.6 + 0.3 + 0.8 + 0.45) / 6
    assert float(gap(SCORES, DISTINCT)) == pytest.approx(0.7 - hardest)


def test_a_zero_vector_gives_a_finite_loss_and_gradients_reach_both_towers() -> None:
    images = torch.zeros(3, 4, requires_grad=True)
    texts = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scores = similarities(unit(images), unit(texts))
    loss = triplet_loss(scores, DISTINCT, margin=0.2, mining=Mining.HARDEST)
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert torch.isfinite(loss)
    assert images.grad is not None
    assert texts.grad is not None
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().sum() > 0


def test_gradients_reach_both_towers() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 4, generator=generator).requires_grad_()
    texts = torch.randn(3, 4, generator=generator).requires_grad_()
    scores = similarities(unit(images), unit(texts))
    loss = triplet_loss(scores, DISTINCT, margin=0.5, mining=Mining.HARDEST)
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert images.grad is not None
    assert texts.grad is not None
    assert images.grad.abs().sum() > 0
    assert texts.grad.abs().sum() > 0


def test_similarities_are_float32_under_autocast() -> None:
    rows = unit(torch.randn(3, 64, generator=torch.Generator().manual_seed(2)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = similarities(rows.bfloat16(), rows.bfloat16())
    assert scores.dtype is torch.float32
