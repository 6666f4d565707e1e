"""The parts of a text tower that are ours."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.hf_towers import PaddedLeft, check_padding, embedding, without


class Reversed(nn.Module):
    """Gives back the tokens, so that a test sees in which order they came."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return tokens if mask is None else torch.stack([tokens, mask])


def test_padding_moves_from_behind_a_sentence_to_its_front() -> None:
    tower = PaddedLeft(Reversed(), pad=0)
    tokens = torch.tensor([[5, 6, 0, 0], [7, 0, 8, 0], [1, 2, 3, 4], [9, 0, 0, 0]])
    assert tower(tokens).tolist() == [[0, 0, 5, 6], [0, 7, 0, 8], [1, 2, 3, 4], [0, 0, 0, 9]]
    mask = (tokens > 0).long()
    assert tower(tokens[:1], mask[:1])[1].tolist() == [[0, 0, 1, 1]]


class Summed(nn.Module):
    """A tower that sees padding unless it is masked."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        seen = (tokens + 1).float() * (1.0 if mask is None else mask)
        return torch.stack([seen.sum(1), seen.pow(2).sum(1)], dim=1)


def test_a_tower_that_sees_padding_is_refused() -> None:
    sentences = [[5], [3, 4, 9], [7, 7]]
    check_padding(Summed(), sentences, pad=1, masked=True)
    with pytest.raises(ModelError, match="filled up in a batch"):
        check_padding(Summed(), sentences, pad=1, masked=False)


def test_a_part_of_a_model_shares_its_weights_and_leaves_the_model_whole() -> None:
    model = nn.ModuleDict({"text_model": nn.Linear(2, 2), "vision_model": nn.Linear(3, 3)})
    part = without(model, "text")
    assert [name for name, _ in part.named_children()] == ["vision_model"]
    assert part["vision_model"] is model["vision_model"]
    assert set(model) == {"text_model", "vision_model"}


@pytest.mark.parametrize("output", [torch.zeros(2, 3, 4), (torch.zeros(2, 3),), None])
def test_an_answer_without_one_vector_an_input_is_refused(output: Any) -> None:
    with pytest.raises(ModelError, match="no single vector"):
        embedding(output)
