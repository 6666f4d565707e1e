"""The ways in which a network is quantised, those that gain most first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise_fixed import fixed_scales, quantise_fixed
from mmsearch.retrieval.convert.quantise_loss import most_sensitive
from mmsearch.retrieval.convert.quantise_rows import products, quantise_rows
from mmsearch.retrieval.convert.quantise_static import (
    Feed,
    Range,
    Static,
    convolution_share,
    grouped_convolutions,
    quantise_static,
)

_MOSTLY: Final = 0.5
_SPARED: Final = (0.1, 0.25)
_SMALLEST_APART: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to quantise: `write` makes the network, `bits` are those of the weights."""

    name: str
    bits: int
    write: Callable[[Path], None]


def recipes(source: Path, feeds: Sequence[Feed], *, typical: bool = False) -> Iterator[Recipe]:
    """Yield the recipes for a network in standard operations, the preferred first.

    Convolutions get fixed scales, measured on `feeds`; products a scale for each row at run
    time, so that nothing depends on the samples. Only where these are `typical` of what the
    network will see, products that lose little by it have fixed scales too. Weights of 7 bits
    come before those of 8, whose sums overflow on processors without VNNI; then the operations
    that lose most are spared, a tenth and a quarter of them.
    """
    model = onnx.load(str(source))
    if convolution_share(model) > _MOSTLY:
        yield from _static(source, model, feeds)
        return
    if typical:
        yield from _fixed(source, model, feeds)
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


def _fixed(source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]) -> Iterator[Recipe]:
    try:
        scales = fixed_scales(source, model, feeds)
    except ModelError as error:
        yield Recipe("fixed scales", 7, _failing(error))
        return
    every = [node for node, _ in products(model)]
    apart = frozenset(node.output[0] for node in every if node.input[0] in scales)
    for bits in (7, 8) if apart else ():

        def write(target: Path, bits: int = bits) -> None:
            copy = onnx.load(str(source))
            quantise_rows(copy, bits=bits, spared=apart)
            quantise_fixed(copy, scales, bits=bits)
            save(copy, target)

        share = f"{len(apart)} of {len(every)} products"
        yield Recipe(f"fixed for {share}, else by row, weights of {bits} bits", bits, write)


def _failing(error: ModelError) -> Callable[[Path], None]:
    """Return what makes no network, so that the reason is noted and the next recipe tried."""

    def write(target: Path) -> None:
        raise ModelError(f"no {target.name}: {error}")

    return write


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
