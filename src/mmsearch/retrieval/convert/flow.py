"""An ONNX graph with what is known of its values: constants, lengths, who makes and uses them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

Length = tuple[int, int]
"""An axis' length with either of two batches; an axis of one length has it twice."""
Shape = tuple[Length, ...]

_BATCHES: Final = (7, 11)
_INLINE_BYTES: Final = 1024


@dataclass(slots=True)
class Flow:
    """A graph that is taken to pieces, changed and put together again by `finish`.

    `shapes` has the values whose every axis is known when the batch is. Only constants and nodes
    that a result needs are kept.
    """

    model: onnx.ModelProto
    nodes: list[onnx.NodeProto] = field(init=False)
    constants: dict[str, onnx.TensorProto] = field(init=False)
    shapes: dict[str, Shape] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            value = self._value(node)
            if value is not None:
                self.constants[node.output[0]] = value
        self.shapes = known_shapes(self.model)
        self.shapes |= {
            name: tuple((length, length) for length in tensor.dims)
            for name, tensor in self.constants.items()
        }
        self.nodes = [self._with_stated_shape(node) for node in self.nodes]
        self.prune()

    @property
    def outputs(self) -> list[str]:
        """The names of the graph's results."""
        return [each.name for each in self.model.graph.output]

    def makers(self) -> dict[str, onnx.NodeProto]:
        """Return the node that makes each value."""
        return {name: node for node in self.nodes for name in node.output}

    def uses(self) -> Counter[str]:
        """Count how often each value is used; a result of the graph is used once more."""
        used = Counter(name for node in self.nodes for name in node.input)
        used.update(self.outputs)
        return used

    def numbers(self, name: str) -> NDArray[Any] | None:
        """Return a constant's values, or None for what is no constant."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant of a new name; return the name."""
        self.constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        self.shapes[name] = tuple((length, length) for length in values.shape)
        return name

    def prune(self) -> None:
        """Leave out the nodes that no result needs."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]

    def finish(self) -> None:
        """Put the nodes into the model, with the constants that they use."""
        self.prune()
        graph = self.model.graph
        made = {name for node in self.nodes for name in node.output}
        used = set(self.uses()) - made
        kept = [tensor for name, tensor in self.constants.items() if name in used]
        del graph.node[:]
        graph.node.extend(self.nodes)
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]  # shapes between the old nodes

    def _value(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """Return the constant that a node is, or passes on."""
        if node.op_type == "Identity":
            return self.constants.get(node.input[0])
        if node.op_type != "Constant":
            return None
        return next((each.t for each in node.attribute if each.name == "value"), None)

    def _with_stated_shape(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return a node; of a Reshape to a computed shape that is known, one to a constant."""
        if node.op_type != "Reshape" or node.input[1] in self.constants:
            return node
        target = stated(self.shapes.get(node.output[0]))
        if target is None:
            return node
        shape = self.constant(f"{node.output[0]}_shape", np.array(target, dtype=np.int64))
        return helper.make_node("Reshape", [node.input[0], shape], node.output, name=node.name)


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of a graph's values whose every axis is known when the batch is."""
    first, second = (_lengths(_skeleton(model, batch)) for batch in _BATCHES)
    return {
        name: tuple(zip(first[name], second[name], strict=True))
        for name in first.keys() & second.keys()
        if len(first[name]) == len(second[name])
    }


def stated(shape: Shape | None) -> list[int] | None:
    """Return what a Reshape is asked for a shape: -1 for the axis of the batch.

    None when it is unknown, or more than one axis depends on the batch.
    """
    if shape is None:
        return None
    target = [one if one == other else -1 for one, other in shape]
    return target if target.count(-1) <= 1 and 0 not in target else None


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def sizes(shape: Shape) -> Length:
    """Return how many elements a shape has, with either batch."""
    return prod(one for one, _ in shape), prod(other for _, other in shape)


def has_subgraphs(model: onnx.ModelProto) -> bool:
    """Return whether a node has a graph of its own, which may use any value."""
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(each.type in kinds for node in model.graph.node for each in node.attribute)


def _lengths(model: onnx.ModelProto) -> dict[str, Sequence[int]]:
    try:
        known = shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError:
        return {}
    values = (*known.graph.input, *known.graph.value_info, *known.graph.output)
    return dict(_stated_lengths(values))


def _stated_lengths(values: Iterable[onnx.ValueInfoProto]) -> Iterator[tuple[str, Sequence[int]]]:
    for each in values:
        tensor = each.type.tensor_type
        axes = tensor.shape.dim
        if tensor.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
            yield each.name, [axis.dim_value for axis in axes]


def _skeleton(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return the model with a batch of one length, and large weights as inputs: it stays small."""
    graph = onnx.GraphProto(name="skeleton")
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(onnx.ValueInfoProto(name=each.name) for each in model.graph.output)
    for each in graph.input:
        axes = each.type.tensor_type.shape.dim
        if axes and not axes[0].HasField("dim_value"):
            axes[0].dim_value = batch
    given: Mapping[str, onnx.ValueInfoProto] = {each.name: each for each in graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < _INLINE_BYTES:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(info)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
