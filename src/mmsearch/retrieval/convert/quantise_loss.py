"""What 8 bits do to each product of a network, measured on samples."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise_rows import products
from mmsearch.retrieval.convert.quantise_static import Feed
from mmsearch.retrieval.convert.quantise_weights import quantise_columns
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tower import runtime_errors, session_options

_SAMPLED_ROWS: Final = 256


def most_sensitive(source: Path, model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[str]:
    """Return the results of products, by how much 8 bits change them, the worst first."""
    wanted = list(products(model))
    if not wanted:
        return []
    inputs = list(dict.fromkeys(node.input[0] for node, _ in wanted))
    seen = next(activations(source, inputs, feeds))
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


def activations(
    source: Path, names: Sequence[str], feeds: Iterable[Feed]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Run a network and yield values between its operations, by name, of each feed.

    Raises ModelError when the network fails.
    """
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
    failures = runtime_errors()
    try:
        session: Any = load_runtime().InferenceSession(
            str(probe),
            session_options(available_processors()),
            providers=["CPUExecutionProvider"],
        )
    except failures as error:
        raise _failed(source, error) from error
    finally:
        probe.unlink()
    asked = [name for name in names if name not in given]
    for feed in feeds:
        try:  # to ask for nothing would be to ask for all results
            values = session.run(asked, dict(feed)) if asked else []
        except failures as error:
            raise _failed(source, error) from error
        found = dict(zip(asked, values, strict=True))
        yield {name: found[name] if name in found else np.asarray(feed[name]) for name in names}


def _failed(source: Path, error: Exception) -> ModelError:
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return ModelError(f"{source.name} cannot be measured on the samples: {reason}")
