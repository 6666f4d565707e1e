"""Products with constant weights become 8-bit ones, each row of activations at its own scale.

A scale for the whole batch, as ONNX Runtime's own dynamic quantisation has it, makes the vector of
a picture depend on those beside it, and lets one large activation take the resolution of all
others. A scale for each row (a token, a patch) does neither and costs about 5 % of the time
(Yao et al., ZeroQuant, 2022, token-wise quantisation); `quantise_fixed.py` saves that where it can.
Weights have a scale for each column, and a table of embeddings one for each of its rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.flow import Shape, attributes, known_shapes, stated
from mmsearch.retrieval.convert.quantise_weights import quantise_columns

CONTRIB: Final = "com.microsoft"
_SMALLEST: Final = 1 << 12
"""Weights of fewer elements are left alone: nothing is gained."""
_OLDEST: Final = 13
_PREFIX: Final = "int8_"
_SHARED: Final[Mapping[str, NDArray[Any]]] = {
    "last": np.array([1], dtype=np.int64),
    "first": np.array([0], dtype=np.int64),
    "before": np.array([-1], dtype=np.int64),
    "tiny": np.array(1e-9, dtype=np.float32),
    "unit": np.array(1 / 127, dtype=np.float32),
    "one": np.array(1, dtype=np.float32),
    "middle": np.array(128, dtype=np.uint8),
    "middles": np.array([128], dtype=np.uint8),
}


def quantise_rows(
    model: onnx.ModelProto, *, bits: int = 8, spared: frozenset[str] = frozenset()
) -> int:
    """Rewrite a model in place; return how many operations were.

    `spared` are names of results whose operations stay as they are. Recognised: MatMul and Gemm
    by a constant matrix, Gather from a constant table, and convolutions whose patches do not
    overlap. Raises ModelError for a graph of an operator set before 13.
    """
    graph = _Graph(model, bits)
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        made = [] if node.output[0] in spared else list(graph.rewritten(node))
        count += bool(made)
        nodes += made or [node]
    if count:
        rebuild(model, nodes, graph.added.values())
    return count


def products(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, NDArray[np.float32]]]:
    """Yield each product that would be rewritten, with its matrix (inner, columns)."""
    graph = _Graph(model, 8)
    for node in model.graph.node:
        matrix = graph.matrix(node)
        if matrix is not None:
            yield node, matrix


def rebuild(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], added: Iterable[onnx.TensorProto]
) -> None:
    """Put nodes in the place of a model's, with `added` constants; unused ones are left out."""
    graph = model.graph
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *added])
    del graph.value_info[:]  # shapes between the old nodes
    if all(each.domain != CONTRIB for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))


@dataclass(slots=True)
class _Graph:
    model: onnx.ModelProto
    bits: int
    constants: dict[str, onnx.TensorProto] = field(init=False)
    shapes: dict[str, Shape] = field(init=False)
    operators: int = field(init=False)
    added: dict[str, onnx.TensorProto] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.shapes = known_shapes(self.model)
        sets = [each.version for each in self.model.opset_import if each.domain in ("", "ai.onnx")]
        self.operators = max(sets, default=0)
        if self.operators < _OLDEST:
            raise ModelError(f"its operator set is {self.operators}, before {_OLDEST}")

    def matrix(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """Return the constant right factor of a MatMul or Gemm as (inner, columns)."""
        if node.op_type not in ("MatMul", "Gemm"):
            return None
        flags = attributes(node)
        if flags.get("transA") or flags.get("alpha", 1.0) != 1 or flags.get("beta", 1.0) != 1:
            return None
        weights = self._weights(node, 2)
        return weights.T if weights is not None and flags.get("transB") else weights

    def rewritten(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that replace one; none when it stays."""
        matrix = self.matrix(node)
        if matrix is not None:
            yield from self._product(node, matrix)
        elif node.op_type == "Gather" and self._table(node) is not None:
            yield from self._lookup(node)
        elif node.op_type == "Conv":
            yield from self._patches(node)

    def _product(
        self, node: onnx.NodeProto, matrix: NDArray[np.float32]
    ) -> Iterator[onnx.NodeProto]:
        name = self._next()
        flat, raw = f"{name}rows", f"{name}raw"
        yield self._reshape(node.input[0], [-1, len(matrix)], flat)
        bias = node.input[2] if len(node.input) > 2 else ""
        if node.op_type == "Gemm":
            yield from self._scaled(flat, matrix, node.output[0] if not bias else raw, name)
            if bias:
                yield helper.make_node("Add", [raw, bias], node.output)
            return
        yield from self._scaled(flat, matrix, raw, name)
        target = stated(self.shapes.get(node.output[0]))
        if target is not None:  # as is that of every picture's tokens
            yield self._reshape(raw, target, node.output[0])
            return
        shape, whole = f"{name}shape", f"{name}whole"
        width = self._constant(f"{name}width", np.array([matrix.shape[1]], dtype=np.int64))
        start, end, lead = self._shared("first"), self._shared("before"), f"{name}lead"
        yield helper.make_node("Shape", [node.input[0]], [shape])
        yield helper.make_node("Slice", [shape, start, end], [lead])
        yield helper.make_node("Concat", [lead, width], [whole], axis=0)
        yield helper.make_node("Reshape", [raw, whole], node.output)

    def _scaled(
        self, rows: str, matrix: NDArray[np.float32], output: str, name: str
    ) -> Iterator[onnx.NodeProto]:
        """Yield the product of (n, inner) float rows and a matrix, in 8 bits."""
        weights = quantise_columns(matrix, self.bits)
        values = self._constant(f"{name}values", weights.values)
        scales = self._constant(f"{name}scales", weights.scales)
        zeros = self._constant(f"{name}zeros", np.zeros(len(weights.scales), dtype=np.int8))
        part = {key: f"{name}{key}" for key in _STEPS}
        last, tiny = self._shared("last"), self._shared("tiny")
        middle, middles = self._shared("middle"), self._shared("middles")
        yield self._reduced("ReduceMax", rows, part["high"])
        yield self._reduced("ReduceMin", rows, part["low"])
        yield helper.make_node("Neg", [part["low"]], [part["depth"]])
        yield helper.make_node("Max", [part["high"], part["depth"], tiny], [part["largest"]])
        yield helper.make_node("Mul", [part["largest"], self._shared("unit")], [part["scale"]])
        yield helper.make_node("Squeeze", [part["scale"], last], [part["flat"]])
        yield helper.make_node("Shape", [part["flat"]], [part["count"]])
        yield helper.make_node("Expand", [middles, part["count"]], [part["middles"]])
        yield helper.make_node(
            "QuantizeLinear", [rows, part["flat"], part["middles"]], [part["bytes"]], axis=0
        )
        one = self._shared("one")
        factors = [part["bytes"], values, one, scales, middle, zeros]
        yield helper.make_node("MatMulIntegerToFloat", factors, [part["sums"]], domain=CONTRIB)
        yield helper.make_node("Mul", [part["sums"], part["scale"]], [output])

    def _reduced(self, operation: str, rows: str, output: str) -> onnx.NodeProto:
        """Return a reduction along a row; its axes were an attribute up to operator set 17."""
        if self.operators < 18:
            return helper.make_node(operation, [rows], [output], keepdims=1, axes=[1])
        return helper.make_node(operation, [rows, self._shared("last")], [output], keepdims=1)

    def _lookup(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield a look-up of 8-bit rows and of their scales, multiplied."""
        table = self._table(node)
        if table is None:
            return
        name = self._next()
        rows = quantise_columns(table.T, 8)
        values = self._constant(f"{name}values", np.ascontiguousarray(rows.values.T))
        scales = self._constant(f"{name}scales", rows.scales[:, np.newaxis])
        picked, cast, scale = f"{name}picked", f"{name}cast", f"{name}scale"
        yield helper.make_node("Gather", [values, node.input[1]], [picked], axis=0)
        yield helper.make_node("Gather", [scales, node.input[1]], [scale], axis=0)
        yield helper.make_node("Cast", [picked], [cast], to=onnx.TensorProto.FLOAT)
        yield helper.make_node("Mul", [cast, scale], node.output)

    def _patches(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Yield a convolution whose patches do not overlap as a product of the patches."""
        kernel, grid = self._weights(node, 4), self._grid(node)
        if kernel is None or grid is None:
            return
        name = self._next()
        outputs, channels, high, wide = kernel.shape
        parts = {key: f"{name}{key}" for key in ("cut", "turned", "patches", "raw", "biased")}
        cut = [-1, channels, grid[0], high, grid[1], wide]
        yield self._reshape(node.input[0], cut, parts["cut"])
        turn = [0, 2, 4, 1, 3, 5]
        yield helper.make_node("Transpose", [parts["cut"]], [parts["turned"]], perm=turn)
        yield self._reshape(parts["turned"], [-1, channels * high * wide], parts["patches"])
        matrix = np.ascontiguousarray(kernel.reshape(outputs, -1).T)
        yield from self._scaled(parts["patches"], matrix, parts["raw"], name)
        result = parts["raw"]
        if len(node.input) > 2:
            yield helper.make_node("Add", [result, node.input[2]], [parts["biased"]])
            result = parts["biased"]
        laid = f"{name}laid"
        yield self._reshape(result, [-1, *grid, outputs], laid)
        yield helper.make_node("Transpose", [laid], node.output, perm=[0, 3, 1, 2])

    def _grid(self, node: onnx.NodeProto) -> tuple[int, int] | None:
        """Return (rows, columns) of a convolution's patches; None: they overlap, or unknown."""
        flags = attributes(node)
        kernel = self.constants.get(node.input[1])
        shape = self.shapes.get(node.input[0], ())
        if kernel is None or len(kernel.dims) != 4 or len(shape) != 4:
            return None
        sides = list(kernel.dims[2:])
        plain = flags.get("group", 1) == 1 and not any(flags.get("pads", [0]))
        plain &= flags.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        plain &= set(flags.get("dilations", [1])) == {1}
        if not plain or list(flags.get("strides", [1, 1])) != sides:
            return None
        (height, _), (width, _) = shape[2:]
        if height % sides[0] or width % sides[1]:
            return None
        return height // sides[0], width // sides[1]

    def _table(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """Return the constant (entries, width) that a Gather takes rows from."""
        tensor = self.constants.get(node.input[0])
        axis = attributes(node).get("axis", 0)
        if tensor is None or axis != 0 or len(tensor.dims) != 2:
            return None
        return self._floats(tensor)

    def _weights(self, node: onnx.NodeProto, rank: int) -> NDArray[np.float32] | None:
        tensor = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        return None if tensor is None or len(tensor.dims) != rank else self._floats(tensor)

    def _floats(self, tensor: onnx.TensorProto) -> NDArray[np.float32] | None:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _SMALLEST:
            return None
        return np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)

    def _reshape(self, value: str, shape: list[int], output: str) -> onnx.NodeProto:
        wanted = self._constant(f"{output}_shape", np.array(shape, dtype=np.int64))
        return helper.make_node("Reshape", [value, wanted], [output])

    def _shared(self, key: str) -> str:
        return self._constant(f"{_PREFIX}{key}", _SHARED[key])

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self.added:
            self.added[name] = numpy_helper.from_array(values, name)
        return name

    def _next(self) -> str:
        self.count += 1
        return f"{_PREFIX}{self.count}_"


_STEPS: Final = [
    "high",
    "low",
    "depth",
    "largest",
    "scale",
    "flat",
    "count",
    "middles",
    "bytes",
    "sums",
]  # of `_scaled`
