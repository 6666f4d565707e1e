"""The text tower and its packed recurrence."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from mmsearch.retrieval.vse.config import Pooling, TextKind, preset
from mmsearch.retrieval.vse.recurrence import run_packed_gru
from mmsearch.retrieval.vse.text import TextTower, pool

TOKENS = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 2, 0, 0], [1, 2, 0, 0, 0]])
LENGTHS = torch.tensor([5, 3, 2])


def tower(kind: TextKind, pooling: Pooling, *, skip: bool = False) -> TextTower:
    torch.manual_seed(0)
    config = preset(
        "default",
        text_encoder=kind,
        text_pooling=pooling,
        text_skip=skip,
        word_dim=6,
        hidden_dim=7,
        embed_dim=4,
    )
    return TextTower(10, config).eval()


@pytest.mark.parametrize("kind", TextKind)
@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("skip", [False, True])
def test_packed_and_plain_passes_agree(kind: TextKind, pooling: Pooling, skip: bool) -> None:
    model = tower(kind, pooling, skip=skip)
    plain, packed = model(TOKENS, LENGTHS), model.forward_packed(TOKENS, LENGTHS)
    torch.testing.assert_close(plain, packed, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", TextKind)
@pytest.mark.parametrize("pooling", Pooling)
def test_a_caption_has_one_vector_alone_and_in_a_batch(kind: TextKind, pooling: Pooling) -> None:
    model = tower(kind, pooling, skip=True)
    together = model(TOKENS, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(TOKENS[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-6, rtol=1e-5)


def test_vectors_have_length_one() -> None:
    vectors = tower(TextKind.GRU, Pooling.LAST)(TOKENS, LENGTHS)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_the_backward_direction_reads_from_the_end() -> None:
    model = tower(TextKind.BIGRU, Pooling.LAST)
    changed = TOKENS.clone()
    changed[0, 1] = 9
    before, after = model(TOKENS, LENGTHS), model(changed, LENGTHS)
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_maximum_is_taken_in_low_precision_too(dtype: torch.dtype) -> None:
    states = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]], dtype=dtype)
    assert pool(states, torch.tensor([2]), Pooling.MAX).tolist() == [[3.0, -2.0]]


def test_pooling_by_hand() -> None:
    states = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    lengths = torch.tensor([2])
    assert pool(states, lengths, Pooling.LAST).tolist() == [[3.0, -2.0]]
    assert pool(states, lengths, Pooling.MEAN).tolist() == [[2.0, -3.0]]
    assert pool(states, lengths, Pooling.MAX).tolist() == [[3.0, -2.0]]


def test_word_dropout_leaves_special_tokens_alone_and_acts_in_training_only() -> None:
    model = tower(TextKind.GRU, Pooling.MEAN)
    model.word_dropout = 0.95
    torch.testing.assert_close(model(TOKENS, LENGTHS), model(TOKENS, LENGTHS))
    model.train()
    model.dropout.p = 0.0
    model.word_dropout = 1.0
    unknown = torch.where(TOKENS >= 4, 3, TOKENS)
    dropped = model(TOKENS, LENGTHS)
    model.word_dropout = 0.0
    torch.testing.assert_close(dropped, model(unknown, LENGTHS))


def test_the_packed_gru_equals_the_stock_one_forwards_and_backwards() -> None:
    torch.manual_seed(3)
    stock = nn.GRU(5, 6, batch_first=True).double()
    words = torch.randn(3, 5, 5, dtype=torch.float64)
    packed = pack_padded_sequence(words, LENGTHS, batch_first=True)
    wanted, _ = stock(packed)
    (wanted.data**2).sum().backward()
    expected = [
        parameter.grad.clone() for parameter in stock.parameters() if parameter.grad is not None
    ]
    stock.zero_grad()
    single = stock.float()
    found = run_packed_gru(single, packed._replace(data=packed.data.float()))
    (found.data**2).sum().backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    torch.testing.assert_close(found.data.double(), wanted.data.detach(), atol=1e-5, rtol=1e-4)
    for parameter, gradient in zip(single.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), gradient, atol=1e-4, rtol=1e-4)
