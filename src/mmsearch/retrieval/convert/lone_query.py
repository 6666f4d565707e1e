"""Attention with a single query, without the keys and values of all tokens.

A query q has with the key of a token x the product q · (x W) = (q Wᵀ) · x, and the mean of values
Σ pᵢ (xᵢ W) is (Σ pᵢ xᵢ) W. With one query a picture, multiplying the query (or the mean) by the
weights replaces the product of every token with them: the same numbers in another order.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mmsearch.retrieval.convert.flow import Flow, Shape, attributes

_Making = Generator[onnx.NodeProto, None, str]
"""Yields nodes and returns the name of what they make."""
_KEYS: Final = [0, 2, 3, 1]
_VALUES: Final = [0, 2, 1, 3]
_TO_HEADS: Final = [2, 1, 0, 3]
"""(batch, heads, 1, width) to (1, heads, batch, width), and back."""


@dataclass(frozen=True, slots=True)
class _Projection:
    """Keys or values of each head: tokens (b, n, c) times a matrix (c, heads, width).

    `factors` are products and quotients with single numbers that follow, the last first.
    """

    tokens: str
    matrix: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    factors: Sequence[onnx.NodeProto]


def multiply_lone_queries_first(flow: Flow) -> int:
    """Rewrite the products of attention with one query; return how many there were."""
    walk = _Walk(flow, flow.makers(), flow.uses())
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in flow.nodes:
        made = list(_rewritten(walk, node))
        count += bool(made)
        nodes += made or [node]
    flow.nodes = nodes
    return count


@dataclass(frozen=True, slots=True)
class _Walk:
    flow: Flow
    makers: Mapping[str, onnx.NodeProto]
    uses: Counter[str]

    def projection(self, name: str, order: Sequence[int]) -> _Projection | None:
        """Return how a value (b, n, heads, width), transposed to `order`, was made of tokens."""
        turned = [0, 1, 2, 3]
        factors = []
        while (node := self._maker(name)) is not None:
            if node.op_type == "Transpose" and len(node.attribute[0].ints) == len(turned):
                turned = [node.attribute[0].ints[axis] for axis in turned]
            elif node.op_type in ("Mul", "Div") and self._is_number(node.input[1]):
                factors.append(node)
            else:
                break
            name = node.input[0]
        if node is None or node.op_type != "Reshape" or turned != list(order):
            return None
        return self._of_tokens(node, factors)

    def is_softmax(self, name: str) -> bool:
        """Return whether the last axis of a value sums up to one."""
        node = self.makers.get(name)
        while node is not None and node.op_type in ("Cast", "Identity"):
            node = self.makers.get(node.input[0])
        if node is None or node.op_type != "Softmax":
            return False
        return attributes(node).get("axis", -1) in (-1, len(self.flow.shapes[name]) - 1)

    def _of_tokens(
        self, node: onnx.NodeProto, factors: Sequence[onnx.NodeProto]
    ) -> _Projection | None:
        """Return the projection whose result a Reshape divides among heads."""
        split, before = node.output[0], node.input[0]
        product = self._maker(before)
        bias = None
        if product is not None and product.op_type == "Add":
            names = list(product.input)
            bias = next((each for each in map(self.flow.numbers, names) if each is not None), None)
            product = self._maker(names[1] if names[0] in self.flow.constants else names[0])
            if bias is None:
                return None
        if product is None or product.op_type != "MatMul":
            return None
        matrix = self.flow.numbers(product.input[1])
        shape, whole = (self.flow.shapes.get(name) for name in (split, before))
        if matrix is None or matrix.ndim != 2 or shape is None or whole is None:
            return None
        heads, width = shape[-2][0], shape[-1][0]
        columns = matrix.shape[1]
        fits = len(whole) == 3 and shape[:2] == whole[:2] and columns == heads * width
        if not fits or (bias is not None and bias.shape != (columns,)):
            return None
        parts = None if bias is None else bias.reshape(heads, width)
        return _Projection(product.input[0], matrix.reshape(-1, heads, width), parts, factors)

    def _maker(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value for one use alone."""
        return self.makers.get(name) if self.uses[name] == 1 else None

    def _is_number(self, name: str) -> bool:
        return self.flow.shapes.get(name, ((2, 2),)) in ((), ((1, 1),))


def _rewritten(walk: _Walk, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield what replaces a product with a lone query; nothing when it is none."""
    shape: Shape | None = walk.flow.shapes.get(node.input[0]) if node.input else None
    if node.op_type != "MatMul" or shape is None or len(shape) != 4 or shape[2] != (1, 1):
        return
    steps = _Steps(walk.flow, node)
    keys = walk.projection(node.input[1], _KEYS)
    if keys is not None:
        yield from steps.scores(keys)
        return
    values = walk.projection(node.input[1], _VALUES)
    if values is not None and (values.bias is None or walk.is_softmax(node.input[0])):
        yield from steps.mean(values)


@dataclass(slots=True)
class _Steps:
    """The operations that replace one product."""

    flow: Flow
    node: onnx.NodeProto
    count: int = 0

    def scores(self, keys: _Projection) -> Iterator[onnx.NodeProto]:
        """Yield the products of a query (b, heads, 1, width) with all keys, (b, heads, 1, n)."""
        rows, heads, width = keys.matrix.shape
        query = yield from self._turned(self.node.input[0])
        weights = self._constant("weights", keys.matrix.transpose(1, 2, 0))
        moved = yield from self._turned((yield from self._made("MatMul", query, weights)))
        flat = yield from self._shaped(moved, [-1, heads, rows])
        tokens = yield from self._made("Transpose", keys.tokens, perm=[0, 2, 1])
        product = yield from self._made("MatMul", flat, tokens)
        length = self.flow.shapes[self.node.output[0]][-1][0]
        result = yield from self._shaped(product, [-1, heads, 1, length])
        if keys.bias is not None:
            bias = self._constant("bias", keys.bias.reshape(heads, width, 1))
            common = yield from self._turned((yield from self._made("MatMul", query, bias)))
            result = yield from self._made("Add", result, common)
        yield from self._finished(result, keys.factors)

    def mean(self, values: _Projection) -> Iterator[onnx.NodeProto]:
        """Yield the mean of all values by the weights (b, heads, 1, n), (b, heads, 1, width)."""
        rows, heads, width = values.matrix.shape
        length = self.flow.shapes[self.node.input[0]][-1][0]
        flat = yield from self._shaped(self.node.input[0], [-1, heads, length])
        product = yield from self._made("MatMul", flat, values.tokens)
        mean = yield from self._turned((yield from self._shaped(product, [-1, heads, 1, rows])))
        weights = self._constant("weights", values.matrix.transpose(1, 0, 2))
        result = yield from self._turned((yield from self._made("MatMul", mean, weights)))
        if values.bias is not None:
            bias = self._constant("bias", values.bias.reshape(heads, 1, width))
            result = yield from self._made("Add", result, bias)
        yield from self._finished(result, values.factors)

    def _finished(self, result: str, factors: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Yield the factors, and the last result under the name of the old one."""
        for factor in reversed(factors):
            result = yield from self._made(factor.op_type, result, factor.input[1])
        yield helper.make_node("Identity", [result], self.node.output)

    def _turned(self, name: str) -> _Making:
        return (yield from self._made("Transpose", name, perm=_TO_HEADS))

    def _shaped(self, name: str, shape: Sequence[int]) -> _Making:
        wanted = self._constant("shape", np.array(shape, dtype=np.int64))
        return (yield from self._made("Reshape", name, wanted))

    def _made(self, operation: str, *inputs: str, **settings: Any) -> _Making:
        name = self._name("step")
        yield helper.make_node(operation, inputs, [name], **settings)
        return name

    def _constant(self, kind: str, values: NDArray[Any]) -> str:
        return self.flow.constant(self._name(kind), values)

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{self.node.output[0]}_lone_{self.count}_{kind}"
