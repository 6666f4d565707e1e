"""Convolutions in 8 bits: scales of activations are measured on sample pictures beforehand."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from mmsearch.errors import ModelError
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tower import runtime_errors

_PERCENTILE: Final = 99.999
Feed = Mapping[str, NDArray[Any]]


class Range(StrEnum):
    """Which range of an activation is represented: all that was seen, or most of it."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


@dataclass(frozen=True, slots=True)
class Static:
    """How: the range of activations, the bits of weights, names of nodes that are `spared`."""

    range: Range
    bits: int
    spared: frozenset[str] = frozenset()


def quantise_static(source: Path, target: Path, feeds: Sequence[Feed], how: Static) -> None:
    """Write a QDQ graph, weights with a scale for each channel, activations with one each.

    `feeds` are inputs to calibrate with. Raises ModelError when the tools cannot.
    """
    load_runtime()
    from onnxruntime import quantization as tools

    methods = {
        Range.MINMAX: tools.CalibrationMethod.MinMax,
        Range.ENTROPY: tools.CalibrationMethod.Entropy,
        Range.PERCENTILE: tools.CalibrationMethod.Percentile,
    }
    failures: tuple[type[Exception], ...] = (
        *runtime_errors(),
        TypeError,
        KeyError,
        AttributeError,
    )
    try:
        with _silence():
            tools.quantize_static(
                source,
                target,
                _reader(feeds),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=how.bits == 7,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                nodes_to_exclude=sorted(how.spared),
                calibrate_method=methods[how.range],
                use_external_data_format=True,
                extra_options={"CalibPercentile": _PERCENTILE},
            )
    except failures as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{source.name} cannot be quantised: {reason}") from error


def grouped_convolutions(model: onnx.ModelProto) -> frozenset[str]:
    """Return the names of convolutions that look at each channel apart: their ranges differ."""
    found = set()
    for node in model.graph.node:
        groups = [each.i for each in node.attribute if each.name == "group"]
        if node.op_type == "Conv" and groups and groups[0] > 1:
            found.add(node.name)
    return frozenset(found)


def convolution_share(model: onnx.ModelProto) -> float:
    """Return which share of the weights of convolutions and products belongs to convolutions."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    counts = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in counts:
            counts[node.op_type] += sum(sizes.get(name, 0) for name in node.input[:2])
    return counts["Conv"] / max(1, sum(counts.values()))


def _reader(feeds: Sequence[Feed]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> Feed | None:
            return next(self._left, None)

        def rewind(self) -> None:
            self._left = iter(feeds)

    return Reader()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the tools' advice and progress from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
