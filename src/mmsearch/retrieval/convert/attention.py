"""torch's attention module as the products it is made of, for graphs of any batch and length."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainAttention(nn.Module):
    """What `nn.MultiheadAttention` computes in evaluation mode.

    When torch's own module is traced, it writes the length of the example into the graph. Weights
    are shared with the original.

    Two biases are not added at each position. That of the keys adds the same number to all scores
    of a query, which the softmax does not see. That of the values passes the mean over positions,
    whose weights sum to one, as it is, and so becomes a part of the bias behind it.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = original.num_heads
        self._batch_first = original.batch_first
        self._scale = original.head_dim**-0.5
        together: Tensor | None = original.in_proj_weight
        bias: Tensor | None = original.in_proj_bias
        if together is None:  # keys and values are of another width than queries
            weights: list[Tensor] = [
                original.q_proj_weight,
                original.k_proj_weight,
                original.v_proj_weight,
            ]
        else:
            weights = list(together.chunk(3))
        biases = [None] * 3 if bias is None else list(bias.chunk(3))
        self.query = _Linear(weights[0], biases[0])
        self.key, self.value = (_Linear(each, None) for each in weights[1:])
        out = original.out_proj
        self.out_proj = _Linear(out.weight, _passed_on(biases[2], out))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        """Return (b, length, width), or with length first, and no attention weights.

        `attn_mask` is added to the scores: (length, source) or (b * heads, length, source).
        """
        if not self._batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        q, k, v = self._split(self.query(query)), self.key(key), self._split(self.value(value))
        scores = q @ self._split(k).transpose(-1, -2) * self._scale
        if attn_mask is not None:
            each = attn_mask.dim() == 3
            shape = (-1, self._heads, *attn_mask.shape[1:])
            scores = scores + (attn_mask.reshape(shape) if each else attn_mask)
        mixed = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)
        out = self.out_proj(mixed)
        return (out if self._batch_first else out.transpose(0, 1)), None

    def _split(self, x: Tensor) -> Tensor:
        """Return (b, heads, length, width of a head)."""
        return x.reshape(*x.shape[:2], self._heads, -1).transpose(1, 2)


def _passed_on(bias: Tensor | None, out: nn.Linear) -> Tensor | None:
    """Return the bias of an output projection with what it makes of the values' bias."""
    if bias is None:
        return out.bias
    with torch.no_grad():
        projected = out.weight.double() @ bias.double()
        total = projected if out.bias is None else projected + out.bias
        return total.to(out.weight.dtype)


class _Linear(nn.Module):
    """A linear layer over weights that belong to another module."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., width)."""
        return functional.linear(x, self.weight, self.bias)


def with_plain_attention(module: nn.Module) -> nn.Module:
    """Replace torch's attention modules inside `module`, in place; return it.

    Those with learnt extra keys stay: no published model has them.
    """
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.MultiheadAttention) and child.bias_k is None:
                setattr(part, name, PlainAttention(child))
    return module
