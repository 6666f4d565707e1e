"""What of its inputs an operation needs, when one place on an axis of its result is wanted.

A rule names the inputs of which one place is enough, and the axis that it is on; other inputs are
needed whole. There is none for operations that mix the places of the axis.
"""

from collections.abc import Callable, Mapping
from typing import Final

import onnx

from mmsearch.retrieval.convert.flow import Flow, attributes, sizes, stated

Needs = Mapping[int, int]
"""Numbers of inputs, and the axis on which one place of each is enough."""
Rule = Callable[[Flow, onnx.NodeProto, int], Needs | None]


def needs(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    """Return what a node needs for one place on `axis` of its result; None: everything."""
    rule = _RULES.get(node.op_type)
    if rule is None or len(node.output) != 1 or node.domain not in ("", "ai.onnx"):
        return None
    if any(name and name not in flow.shapes for name in (*node.input, *node.output)):
        return None
    found = rule(flow, node, axis)
    return found if found and all(place >= 0 for place in found.values()) else None


def _elementwise(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs:
    """Each input that has the axis; others are the same at all of its places."""
    length, back = _from_end(flow, node.output[0], axis)
    found = {}
    for number, name in enumerate(node.input):
        shape = flow.shapes[name] if name else ()
        if len(shape) >= back and shape[-back] == length:
            found[number] = len(shape) - back
    return found


def _normalised(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    """The first input, where the axis is before those that are normalised."""
    first = attributes(node).get("axis", -1) % _rank(flow, node.input[0])
    return {0: axis} if axis < first else None


def _softmax(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    mixed = attributes(node).get("axis", -1) % _rank(flow, node.input[0])
    return {0: axis} if axis != mixed else None


def _transposed(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs:
    backwards = list(range(_rank(flow, node.input[0])))[::-1]
    return {0: attributes(node).get("perm", backwards)[axis]}


def _reshaped(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    """The axis of the same length with as many elements before it, where there is one."""
    source, target = flow.shapes[node.input[0]], flow.shapes[node.output[0]]
    if stated(target) is None:
        return None
    before = sizes(target[:axis])
    for place, length in enumerate(source):
        if length == target[axis] and sizes(source[:place]) == before:
            return {0: place}
    return None


def _unsqueezed(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    added = _axes(flow, node, _rank(flow, node.output[0]))
    return None if added is None else {0: axis - sum(each < axis for each in added)}


def _squeezed(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    rank = _rank(flow, node.input[0])
    removed = _axes(flow, node, rank)
    if removed is None:
        return None
    return {0: [place for place in range(rank) if place not in removed][axis]}


def _reduced(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    """The same axis of what is summed up along others, which stay as axes of length one."""
    mixed = _axes(flow, node, _rank(flow, node.input[0]))
    kept = attributes(node).get("keepdims", 1)
    return {0: axis} if kept and mixed and axis not in mixed else None


def _multiplied(flow: Flow, node: onnx.NodeProto, axis: int) -> Needs | None:
    """The row of the left factor or the column of the right one; else a product of the stack."""
    length, back = _from_end(flow, node.output[0], axis)
    ranks = [_rank(flow, name) for name in node.input]
    if min(ranks) < 2:
        return None
    if back <= 2:
        number = 2 - back
        return {number: ranks[number] - back}
    return {
        number: ranks[number] - back
        for number, name in enumerate(node.input)
        if ranks[number] >= back and flow.shapes[name][-back] == length
    }


def _axes(flow: Flow, node: onnx.NodeProto, rank: int) -> list[int] | None:
    """Return the axes that are an attribute, or since operator set 13 or 18 an input."""
    given = attributes(node).get("axes")
    if given is None and len(node.input) > 1:
        numbers = flow.numbers(node.input[1])
        given = None if numbers is None else numbers.tolist()
    return None if given is None else [each % rank for each in given]


def _from_end(flow: Flow, name: str, axis: int) -> tuple[tuple[int, int], int]:
    """Return an axis' length, and its number counted from the end, the last being 1."""
    shape = flow.shapes[name]
    return shape[axis], len(shape) - axis


def _rank(flow: Flow, name: str) -> int:
    return len(flow.shapes[name])


_ELEMENTWISE: Final = (
    *("Abs", "Add", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow"),
    *("Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh", "Where"),
)
_RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum"), _reduced),
    "LayerNormalization": _normalised,
    "MatMul": _multiplied,
    "Reshape": _reshaped,
    "Softmax": _softmax,
    "Squeeze": _squeezed,
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}
