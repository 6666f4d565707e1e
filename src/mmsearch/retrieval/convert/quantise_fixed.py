"""Products in 8 bits whose activations have one scale, measured beforehand.

Behind a normalisation all rows are of about the same size, and so are many others. One scale for
all of them then loses little, and saves finding the largest number of each row and multiplying each
row by its own scale afterwards; a bias is added by the product itself. The bytes begin at the
lowest number, not at minus the largest: what an activation function returns is hardly negative.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mmsearch.retrieval.convert.quantise_loss import activations
from mmsearch.retrieval.convert.quantise_rows import CONTRIB, products, rebuild
from mmsearch.retrieval.convert.quantise_static import Feed
from mmsearch.retrieval.convert.quantise_weights import quantise_columns

_MARGIN: Final = 1.1
"""How much larger than on the samples activations may become."""
_MOST_LOST: Final = 4.0
"""Times the squared rounding error of a scale for each row, averaged over rows: one bit."""
_PREFIX: Final = "fixed_"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Activations as uint8: a byte b stands for (b - zero) * scale."""

    scale: float
    zero: int


def fixed_scales(
    source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]
) -> Mapping[str, Fixed]:
    """Return the scales of those factors of products that lose at most a bit by having but one.

    `feeds` are the samples to measure them on.
    """
    names = sorted({node.input[0] for node, _ in products(model)})
    ranges = {name: _Range() for name in names}
    for values in activations(source, names, one_by_one(model, feeds)) if names else ():
        for name, found in values.items():
            ranges[name].add(found.reshape(-1, found.shape[-1]))
    return {name: each.fixed() for name, each in ranges.items() if each.lost() <= _MOST_LOST}


def one_by_one(model: onnx.ModelProto, feeds: Iterable[Feed]) -> Iterator[Feed]:
    """Yield the rows of feeds each as a feed of its own, where the network takes any number.

    All activations of a feed are in memory together: of eight pictures they can be gigabytes.
    """
    made = {tensor.name for tensor in model.graph.initializer}
    shapes = [each.type.tensor_type.shape for each in model.graph.input if each.name not in made]
    free = all(shape.dim and not shape.dim[0].HasField("dim_value") for shape in shapes)
    for feed in feeds:
        count = len(next(iter(feed.values())))
        for row in range(count) if free else ():
            yield {name: values[row : row + 1] for name, values in feed.items()}
        if not free:
            yield feed


def quantise_fixed(model: onnx.ModelProto, fixed: Mapping[str, Fixed], *, bits: int = 8) -> int:
    """Rewrite the products of activations that have fixed scales, in place; return how many."""
    wanted = {node.output[0]: matrix for node, matrix in products(model) if node.input[0] in fixed}
    if not wanted:
        return 0
    graph = _Graph(model, fixed, bits)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        matrix = wanted.get(node.output[0])
        if matrix is not None:
            nodes += graph.product(node, matrix)
        elif node.output[0] not in graph.added:
            nodes.append(node)
    rebuild(model, nodes, graph.constants)
    return len(wanted)


@dataclass(slots=True)
class _Range:
    """What is known of an activation; `sums` is that of one over the largest square of a row."""

    low: float = 0.0
    high: float = 0.0
    rows: int = 0
    sums: float = 0.0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Look at more rows; those of zeros alone lose nothing, and NaN or infinity all."""
        low, high = float(rows.min()), float(rows.max())
        if not np.isfinite([low, high]).all():
            self.sums = float("inf")
            return
        largest = np.abs(rows).max(axis=1).astype(np.float64)
        largest = largest[largest > 0]
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.rows += len(largest)
        self.sums += float((1 / largest**2).sum())

    def lost(self) -> float:
        """Return the squared error of one scale, as a multiple of that of a scale for each row."""
        if not self.rows or not np.isfinite(self.sums):
            return float("inf")
        return (self._step() * 127) ** 2 * self.sums / self.rows

    def fixed(self) -> Fixed:
        """Return the scale."""
        return Fixed(self._step(), round(-self.low * _MARGIN / self._step()))

    def _step(self) -> float:
        return _MARGIN * (self.high - self.low) / 255


@dataclass(slots=True)
class _Graph:
    """What is made for a model; `added` are the biases that a product adds itself."""

    model: onnx.ModelProto
    fixed: Mapping[str, Fixed]
    bits: int
    constants: list[onnx.TensorProto] = field(default_factory=list)
    added: set[str] = field(default_factory=set)
    bytes: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    lengths: Mapping[str, list[int]] = field(init=False)
    results: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.results = {output.name for output in self.model.graph.output}
        self.lengths = {each.name: list(each.dims) for each in self.model.graph.initializer}
        for node in self.model.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def product(
        self, node: onnx.NodeProto, matrix: NDArray[np.float32]
    ) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that replace a product, and the sum that follows it."""
        source, name = node.input[0], f"{_PREFIX}{node.output[0]}_"
        if source not in self.bytes:
            yield self._rounded(source)
        rounded, scale, zero = self.bytes[source]
        weights = quantise_columns(matrix, self.bits)
        columns = len(weights.scales)
        factors = [
            rounded,
            self._constant(f"{name}values", weights.values),
            scale,
            self._constant(f"{name}scales", weights.scales),
            zero,
            self._constant(f"{name}zeros", np.zeros(columns, dtype=np.int8)),
        ]
        bias, output = self._bias(node, columns)
        rest = node.input[2] if len(node.input) > 2 and bias != node.input[2] else ""
        made = f"{name}sums" if rest else output
        factors += [bias] if bias else []
        yield helper.make_node("MatMulIntegerToFloat", factors, [made], domain=CONTRIB)
        if rest:  # of a Gemm, and not one number a column
            yield helper.make_node("Add", [made, rest], [output])

    def _rounded(self, source: str) -> onnx.NodeProto:
        """Return the node that makes bytes of an activation, once for all its products."""
        name, fixed = f"{_PREFIX}{source}_", self.fixed[source]
        scale = self._constant(f"{name}scale", np.array(fixed.scale, dtype=np.float32))
        zero = self._constant(f"{name}zero", np.array(fixed.zero, dtype=np.uint8))
        self.bytes[source] = [f"{name}bytes", scale, zero]
        return helper.make_node("QuantizeLinear", [source, scale, zero], [f"{name}bytes"])

    def _bias(self, node: onnx.NodeProto, columns: int) -> tuple[str, str]:
        """Return the bias that a product adds, or nothing, and the name of what it makes."""
        output: str = node.output[0]
        if len(node.input) > 2:
            whole = self.lengths.get(node.input[2]) == [columns]
            return (node.input[2] if whole else ""), output
        users = self.users.get(output, [])
        if len(users) == 1 and users[0].op_type == "Add" and output not in self.results:
            names = [name for name in users[0].input if name != output]
            if len(names) == 1 and self.lengths.get(names[0]) == [columns]:
                self.added.add(users[0].output[0])
                return names[0], users[0].output[0]
        return "", output

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name
