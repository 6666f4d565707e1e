"""A tower as an ONNX graph with its weights in a file beside it, of any size."""

import copy
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.attention import with_plain_attention
from mmsearch.retrieval.folder import WEIGHTS_SUFFIX
from mmsearch.retrieval.vse.onnx_graph import OPSET, Signature

INLINE_BYTES: Final = 1024
"""Constants below this size stay in the graph: shapes and the like."""
_ALIGNMENT: Final = 4096
"""A tensor of a page or more begins at a page, so that it can be used where it is mapped."""


def write_tower(
    module: nn.Module, example: Sequence[Tensor], signature: Signature, path: Path
) -> int:
    """Write `module`, traced in evaluation mode, to `path` and its weights to `path`.data.

    Returns the width of its output. The module is left as it is. Raises ModelError when the tower
    has an operation that ONNX lacks.
    """
    ready = _prepared(module)
    scratch = Path(tempfile.mkdtemp(prefix=".export.", dir=path.parent))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width = int(ready(*example).shape[1])
            _trace(ready, example, signature, scratch / path.name)
        _store(scratch / path.name, path, width)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"a tower cannot be written as ONNX: {reason}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return width


def _trace(module: nn.Module, example: Sequence[Tensor], signature: Signature, path: Path) -> None:
    axes = {name: dict(axes) for name, axes in signature.inputs.items()}
    torch.onnx.export(
        module,
        tuple(example),
        str(path),
        input_names=list(signature.inputs),
        output_names=[signature.output],
        dynamic_axes={**axes, signature.output: {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )


def _store(traced: Path, path: Path, width: int) -> None:
    """Write the graph again: without traces of the source, weights in one file, page by page.

    What its pooled token alone needs is computed for that token alone.
    """
    import onnx

    from mmsearch.retrieval.convert.pooled import compute_pooled_alone

    model = onnx.load(traced)
    compute_pooled_alone(model)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = width
    weights = path.with_name(f"{path.name}{WEIGHTS_SUFFIX}")
    with weights.open("wb") as stream:
        for tensor in model.graph.initializer:
            _move_out(tensor, stream, weights.name)
        size = stream.tell()
    if size == 0:
        weights.unlink()
    onnx.save_model(model, path)
    onnx.checker.check_model(path)


def _move_out(tensor: Any, stream: Any, location: str) -> None:
    """Append a tensor's bytes to `stream` and leave its place in the graph; small ones stay."""
    from onnx import TensorProto, external_data_helper, numpy_helper

    if not tensor.HasField("raw_data"):
        values = numpy_helper.to_array(tensor)
        if values.nbytes < INLINE_BYTES:
            return
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    size = len(tensor.raw_data)
    if size < INLINE_BYTES:
        return
    stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
    external_data_helper.set_external_data(tensor, location, offset=stream.tell(), length=size)
    stream.write(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL


def _prepared(module: nn.Module) -> nn.Module:
    """Return a copy for tracing, in evaluation mode; it shares its weights with the original.

    Attention is taken apart, and parts of timm are folded for inference.
    """
    tensors = [*module.parameters(), *module.buffers()]
    copied = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors}).eval()
    prepared = with_plain_attention(copied)
    if any(type(part).__module__.startswith("timm.") for part in prepared.modules()):
        from timm.utils.model import reparameterize_model

        prepared = reparameterize_model(prepared, inplace=True)
    return prepared
