"""The ways in which a network is quantised, those that gain most first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise_rows import products, quantise_columns, quantise_rows
from mmsearch.retrieval.convert.quantise_static import (
    Feed,
    Range,
    Static,
    convolution_share,
    grouped_convolutions,
    quantise_static,
)
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tower import session_options

_MOSTLY: Final = 0.5
_SPARED: Final = (0.1, 0.25)
_SAMPLED_ROWS: Final = 256
_SMALLEST_APART: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to quantise: `write` makes the network, `bits` are those of the weights."""

    name: str
    bits: int
    write: Callable[[Path], None]


def recipes(source: Path, feeds: Sequence[Feed]) -> Iterator[Recipe]:
    """Yield the recipes for a network in standard operations, the preferred first.

    Convolutions get fixed scales, measured on `feeds`; products a scale for each row at run
    time, so that nothing depends on the samples. Weights of 7 bits come before those of 8,
    whose sums overflow on processors without VNNI; then the operations that lose most are
    spared, a tenth and a quarter of them.
    """
    model = onnx.load(str(source))
    if convolution_share(model) > _MOSTLY:
        yield from _static(source, model, feeds)
    else:
        yield from _rows(source, model, feeds)


def _static(source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]) -> Iterator[Recipe]:
    grouped = grouped_convolutions(model)
    rungs = [
        Static(Range.MINMAX, 7),
        Static(Range.MINMAX, 8),
        Static(Range.ENTROPY, 8),
        Static(Range.PERCENTILE, 8),
        *([Static(Range.MINMAX, 8, grouped)] if grouped else []),
    ]
    for rung in rungs:

        def write(target: Path, rung: Static = rung) -> None:
            quantise_static(source, target, feeds, rung)

        without = ", grouped convolutions spared" if rung.spared else ""
        name = f"static {rung.range.value}, weights of {rung.bits} bits{without}"
        yield Recipe(name, rung.bits, write)


def _rows(source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]) -> Iterator[Recipe]:
    worst: list[str] = []
    rungs: list[tuple[int, float]] = [(7, 0.0), (8, 0.0), *((8, share) for share in _SPARED)]
    for bits, share in rungs:
        if share and not worst:
            worst = most_sensitive(source, model, feeds)
            if not worst:
                return
        spared = frozenset(worst[: max(1, round(share * len(worst)))] if share else ())

        def write(target: Path, bits: int = bits, spared: frozenset[str] = spared) -> None:
            copy = onnx.load(str(source))
            if not quantise_rows(copy, bits=bits, spared=spared):
                raise ModelError("it has no product or table that is worth it")
            save(copy, target)

        without = f", {len(spared)} operations spared" if spared else ""
        yield Recipe(f"dynamic by row, weights of {bits} bits{without}", bits, write)


def save(model: onnx.ModelProto, target: Path) -> None:
    """Write a model with its weights beside it."""
    onnx.save(
        model,
        str(target),
        save_as_external_data=True,
        location=f"{target.name}.data",
        size_threshold=_SMALLEST_APART,
    )


def most_sensitive(source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[str]:
    """Return the results of products, by how much 8 bits change them, the worst first."""
    wanted = list(products(model))
    if not wanted:
        return []
    inputs = list(dict.fromkeys(node.input[0] for node, _ in wanted))
    seen = _activations(source, inputs, feeds[0])
    losses = {
        node.output[0]: product_loss(_flat(seen[node.input[0]]), matrix) for node, matrix in wanted
    }
    return sorted(losses, key=lambda name: -losses[name])


def product_loss(rows: NDArray[np.float32], matrix: NDArray[np.float32]) -> float:
    """Return the squared error of an 8-bit product relative to the product's own square."""
    scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / 127, 1e-12)
    weights = quantise_columns(matrix, 8)
    exact = rows @ matrix
    found = (np.rint(rows / scales) * scales) @ (weights.values * weights.scales)
    return float(((found - exact) ** 2).sum() / max(float((exact**2).sum()), 1e-12))


def _flat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = values.reshape(-1, values.shape[-1])
    return rows[:: max(1, len(rows) // _SAMPLED_ROWS)]


def _activations(source: Path, names: Sequence[str], feed: Feed) -> dict[str, NDArray[np.float32]]:
    """Run a network and return values between its operations, by name."""
    model = onnx.load(str(source), load_external_data=False)
    there = {output.name for output in model.graph.output}
    given = {each.name for each in model.graph.input}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name)
        for name in names
        if name not in there | given
    )
    probe = source.with_name(f"probe-{source.name}")
    onnx.save(model, str(probe))  # its weights lie beside the source, in the same folder
    try:
        session: Any = load_runtime().InferenceSession(
            str(probe), session_options(1), providers=["CPUExecutionProvider"]
        )
        asked = [name for name in names if name not in given]
        found = dict(zip(asked, session.run(asked, dict(feed)), strict=True))
    finally:
        probe.unlink()
    return {name: found[name] if name in found else np.asarray(feed[name]) for name in names}
