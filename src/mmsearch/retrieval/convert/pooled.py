"""What only the pooled token needs is computed for that token alone.

A tower that pools by its class token (or its last one) takes one place of the token axis at its
end. Of the last block's queries, its output projection and its network, the other places are
computed in vain: about 7 % of a ViT-B/32. The choice of the place is moved up, from where it is
made to the first operation that mixes tokens or whose result others need as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
from onnx import helper

from mmsearch.retrieval.convert.flow import Flow, attributes, has_subgraphs, stated
from mmsearch.retrieval.convert.lone_query import multiply_lone_queries_first
from mmsearch.retrieval.convert.pooled_rules import Needs, needs

_AXIS: Final = "pooled_axis_{}"


@dataclass(frozen=True, slots=True)
class Place:
    """One place on an axis of a value."""

    axis: int
    index: int


@dataclass(slots=True)
class _Plan:
    """Which values are computed at one place alone; `wants` of those who use a value."""

    wants: dict[str, set[Place | None]] = field(default_factory=dict)
    values: dict[str, Place] = field(default_factory=dict)
    needs: dict[str, Needs] = field(default_factory=dict)

    def want(self, name: str, place: Place | None) -> None:
        """Take note that somebody wants a value at one place, or as a whole."""
        self.wants.setdefault(name, set()).add(place)

    def wanted(self, node: onnx.NodeProto) -> Place | None:
        """Return the one place at which all want a node's result; None: there is no such."""
        places = self.wants.get(node.output[0], {None})
        return next(iter(places)) if len(places) == 1 else None


def compute_pooled_alone(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many operations compute one place alone.

    Where there are none, it stays as it is.
    """
    if has_subgraphs(model):
        return 0
    flow = Flow(model)
    plan = _plan(flow)
    if not plan.values:
        return 0
    _rewrite(flow, plan)
    flow.prune()
    multiply_lone_queries_first(flow)
    flow.finish()
    return len(plan.values)


def chosen(flow: Flow, node: onnx.NodeProto) -> Place | None:
    """Return the place that a Gather or a Slice takes of its first input, when it takes one."""
    shape = flow.shapes.get(node.input[0]) if node.input else None
    if shape is None or len(shape) < 2 or node.op_type not in ("Gather", "Slice"):
        return None
    found = _gathered(flow, node) if node.op_type == "Gather" else _sliced(flow, node)
    if found is None:
        return None
    axis, index = found[0] % len(shape), found[1]
    length, other = shape[axis]
    if length != other or length < 2 or not -length <= index < length:
        return None
    return Place(axis, index % length)


def _gathered(flow: Flow, node: onnx.NodeProto) -> tuple[int, int] | None:
    index = flow.numbers(node.input[1])
    if index is None or index.size != 1:
        return None
    return attributes(node).get("axis", 0), int(index.item())


def _sliced(flow: Flow, node: onnx.NodeProto) -> tuple[int, int] | None:
    """Return axis and index of a slice of length one; its bounds are inputs."""
    bounds = [flow.numbers(name) for name in node.input[1:4]]
    numbers = [int(each.item()) for each in bounds if each is not None and each.size == 1]
    if len(numbers) != 3:
        return None
    start, end, axis = numbers
    to_the_end = start == -1 and end > np.iinfo(np.int32).max
    return (axis, start) if (end - start == 1 and end != 0) or to_the_end else None


def _plan(flow: Flow) -> _Plan:
    """Go from the results to the inputs, asking what each operation needs."""
    plan = _Plan()
    for name in flow.outputs:
        plan.want(name, None)
    for node in reversed(flow.nodes):
        place = plan.wanted(node)
        needed = needs(flow, node, place.axis) if place is not None else None
        if place is not None and needed is not None:
            plan.values[node.output[0]] = place
            plan.needs[node.output[0]] = needed
            for number, name in enumerate(node.input):
                axis = needed.get(number)
                plan.want(name, None if axis is None else Place(axis, place.index))
            continue
        for number, name in enumerate(node.input):
            plan.want(name, chosen(flow, node) if number == 0 else None)
    return plan


def _rewrite(flow: Flow, plan: _Plan) -> None:
    """Let the planned operations compute one place, of inputs cut to it where they are whole."""
    nodes: list[onnx.NodeProto] = []
    cut: dict[tuple[str, Place], str] = {}
    for node in flow.nodes:
        place = plan.values.get(node.output[0])
        if place is None:
            nodes.append(_choosing_first(flow, node, plan.values))
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for number, axis in plan.needs[node.output[0]].items():
            name, wanted = node.input[number], Place(axis, place.index)
            if name not in plan.values and (name, wanted) not in cut:
                cut[name, wanted] = f"{name}_pooled_{axis}_{place.index}"
                nodes.append(_cutting(flow, name, wanted, cut[name, wanted]))
            copy.input[number] = cut.get((name, wanted), name)
        if node.op_type == "Reshape":
            copy.input[1] = _shape_of_one(flow, node, place.axis)
        nodes.append(copy)
    flow.nodes = nodes
    for name, place in plan.values.items():
        flow.shapes[name] = _with_one(flow.shapes[name], place.axis)


def _choosing_first(
    flow: Flow, node: onnx.NodeProto, values: Mapping[str, Place]
) -> onnx.NodeProto:
    """Return a node; one that chooses a place of what now has only this takes the first."""
    if not node.input or node.input[0] not in values:
        return node
    axis = values[node.input[0]].axis
    if node.op_type == "Slice":
        return _cutting(flow, node.input[0], Place(axis, 0), node.output[0])
    index = flow.numbers(node.input[1])
    shape = () if index is None else index.shape
    first = flow.constant(f"{node.output[0]}_first", np.zeros(shape, dtype=np.int64))
    return helper.make_node("Gather", [node.input[0], first], node.output, axis=axis)


def _cutting(flow: Flow, name: str, place: Place, output: str) -> onnx.NodeProto:
    """Return a node that cuts a value to one place; the axis stays, of length one."""
    numbers = (place.index, place.index + 1, place.axis)
    bounds = [flow.constant(_AXIS.format(each), np.array([each])) for each in numbers]
    flow.shapes[output] = _with_one(flow.shapes[name], place.axis)
    return helper.make_node("Slice", [name, *bounds], [output])


def _shape_of_one(flow: Flow, node: onnx.NodeProto, axis: int) -> str:
    target = stated(flow.shapes[node.output[0]]) or []
    target[axis] = 1
    return flow.constant(f"{node.output[0]}_one", np.array(target, dtype=np.int64))


def _with_one(shape: tuple[tuple[int, int], ...], axis: int) -> tuple[tuple[int, int], ...]:
    return (*shape[:axis], (1, 1), *shape[axis + 1 :])
