"""A torch module as an ONNX graph, and back to life in ONNX Runtime."""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmsearch.retrieval.description import WEIGHTS_SUFFIX
from mmsearch.retrieval.runtime import load_runtime

OPSET: Final = 17
_LARGE_BYTES: Final = 4 << 20  # of weights


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of a graph's inputs and its output, and which axes of the inputs vary.

    The first axis of the output is `batch`.
    """

    inputs: Mapping[str, Mapping[int, str]]
    output: str


IMAGE_SIGNATURE: Final = Signature({"pixels": {0: "batch"}}, "embedding")
TEXT_SIGNATURE: Final = Signature(
    {"tokens": {0: "batch", 1: "length"}, "lengths": {0: "batch"}}, "embedding"
)


def write_graph(
    module: nn.Module, example: Sequence[Tensor], signature: Signature, path: Path
) -> None:
    """Trace `module` on example inputs, in evaluation mode, and write it as ONNX.

    Weights of more than a few megabytes lie in a file of their own beside the graph: loading
    such a network takes half the time and memory. Tracing is used, not torch.export: the latter
    fixes a batch of recurrent networks and names their output twice. Raises what torch raises
    for an operation that ONNX does not have.
    """
    axes = {name: dict(axes) for name, axes in signature.inputs.items()}
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(),
            # A network above 2 GiB is traced into a file for each weight.
            tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as folder,
        ):
            warnings.simplefilter("ignore")
            traced = Path(folder, path.name)
            torch.onnx.export(
                module,
                tuple(example),
                str(traced),
                input_names=list(signature.inputs),
                output_names=[signature.output],
                dynamic_axes={**axes, signature.output: {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
            _tidy(traced, path, width=module(*example).shape[1])
    finally:
        for part, training in modes.items():
            part.training = training


def run_graph(path: Path, *, threads: int) -> Callable[..., NDArray[np.float32]]:
    """Return a function of the graph's inputs by name that gives its output.

    It may be called from several threads at once. Idle threads sleep instead of spinning, which
    costs nothing alone and much beside other work.
    """
    onnxruntime = load_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(**inputs: NDArray[Any]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run(None, inputs)[0]
        return output

    return run


def _tidy(traced: Path, path: Path, *, width: int) -> None:
    """State the output's width; forget where in the source each operation came from.

    What its pooled token alone needs is computed for that token alone.
    """
    import onnx

    from mmsearch.retrieval.convert.pooled import compute_pooled_alone

    model = onnx.load(traced)
    compute_pooled_alone(model)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    column = model.graph.output[0].type.tensor_type.shape.dim[1]
    column.dim_value = width
    weights = path.with_name(f"{path.name}{WEIGHTS_SUFFIX}")
    weights.unlink(missing_ok=True)  # the package would append to it
    apart = sum(len(weight.raw_data) for weight in model.graph.initializer) > _LARGE_BYTES
    if apart:
        onnx.save(
            model, path, save_as_external_data=True, location=weights.name, size_threshold=1024
        )
    else:
        onnx.save(model, path)
    onnx.checker.check_model(str(path))
