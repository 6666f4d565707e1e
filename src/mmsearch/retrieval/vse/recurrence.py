"""A GRU over packed sequences, faster on a CPU than the stock one.

The stock backward pass accumulates the recurrent weight gradient in one small product a time
step. Here the gate gradients of all steps are kept and multiplied once; input products are
made for all steps at once too. Same equations, same weights, equal to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class _PackedGRU(torch.autograd.Function):
    """The equations of `torch.nn.GRU`; products in the dtype of `w_hh`'s cast, state in float32."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 -- the signature of an autograd function is its tensors
        ctx: Any,
        inputs: Tensor,
        sizes: list[int],
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        product_dtype: torch.dtype,
    ) -> Tensor:
        hidden = w_hh.shape[1]
        x, w_ih, w_hh = (t.to(product_dtype) for t in (inputs, w_ih, w_hh))
        from_input = (x @ w_ih.t()).float() + b_ih
        rows = inputs.shape[0]
        empty = from_input.new_empty
        states, gates = empty(rows, hidden), empty(rows, 2 * hidden)
        new, from_state_n, previous = (empty(rows, hidden) for _ in range(3))
        state = from_input.new_zeros(sizes[0], hidden)
        start = 0
        for size in sizes:
            now = slice(start, start + size)
            previous[now] = state[:size]
            from_state = (previous[now].to(product_dtype) @ w_hh.t()).float() + b_hh
            gate = torch.add(from_input[now, : 2 * hidden], from_state[:, : 2 * hidden])
            gates[now] = gate.sigmoid_()
            from_state_n[now] = from_state[:, 2 * hidden :]
            candidate = torch.addcmul(
                from_input[now, 2 * hidden :], gates[now, :hidden], from_state_n[now]
            )
            new[now] = candidate.tanh_()
            state = torch.lerp(new[now], previous[now], gates[now, hidden:])
            states[now] = state
            start += size
        ctx.save_for_backward(x, w_ih, w_hh, gates, new, from_state_n, previous)
        ctx.sizes, ctx.product_dtype = sizes, product_dtype
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, new, from_state_n, previous = ctx.saved_tensors
        dtype, hidden = ctx.product_dtype, w_hh.shape[1]
        (d_states,) = gradients
        d_input = d_states.new_empty(len(x), 3 * hidden)
        d_state_gates = torch.empty_like(d_input, dtype=dtype)
        d_next: Tensor | None = None
        end = len(x)
        for size in reversed(ctx.sizes):
            now = slice(end - size, end)
            end -= size
            d = d_states[now].clone()
            if d_next is not None:
                d[: len(d_next)] += d_next
            reset, update = gates[now, :hidden], gates[now, hidden:]
            d_new = d * (1 - update) * (1 - new[now] * new[now])
            d_input[now, :hidden] = d_new * from_state_n[now] * reset * (1 - reset)
            d_input[now, hidden : 2 * hidden] = (
                d * (previous[now] - new[now]) * update * (1 - update)
            )
            d_input[now, 2 * hidden :] = d_new
            d_state_gates[now, : 2 * hidden] = d_input[now, : 2 * hidden]
            d_state_gates[now, 2 * hidden :] = d_new * reset
            d_next = (d_state_gates[now] @ w_hh).float() + d * update
        d_low = d_input.to(dtype)
        return (
            (d_low @ w_ih).float(),
            None,
            (d_low.t() @ x).float(),
            (d_state_gates.t() @ previous.to(dtype)).float(),
            d_input.sum(0),
            d_state_gates.float().sum(0),
            None,
        )


def run_packed_gru(
    gru: nn.GRU, packed: PackedSequence, product_dtype: torch.dtype = torch.float32
) -> PackedSequence:
    """Return all states (float32) of a one-layer, one-directional GRU.

    `product_dtype` is the dtype of the matrix products; accumulation and state stay float32.
    Cho et al., EMNLP 2014, in the form of `torch.nn.GRU`.
    """
    states = _PackedGRU.apply(
        packed.data,
        packed.batch_sizes.tolist(),
        gru.weight_ih_l0,
        gru.weight_hh_l0,
        gru.bias_ih_l0,
        gru.bias_hh_l0,
        product_dtype,
    )
    return PackedSequence(
        states, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
    )
