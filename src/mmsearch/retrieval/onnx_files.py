"""ONNX graphs as files: which weights lie beside one, and a copy that stands on its own.

Read without the onnx package. An ONNX file is a protocol buffer; the few fields on the way to a
tensor's place of storage are followed, everything else is skipped.
"""

import mmap
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from mmsearch.errors import ModelError
from mmsearch.retrieval.description import WEIGHTS_SUFFIX
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tower import runtime_errors

_Message: TypeAlias = "Mapping[int, str]"

# For each kind of message, the fields that lead on: number of the field, kind of message there.
_FIELDS: Final[Mapping[str, _Message]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Place"},
}
_KEY, _VALUE = 1, 2  # fields of a Place: one line of where a tensor is stored
_SMALL_TENSOR: Final = "1024"  # bytes; smaller ones stay in the graph


def files_beside(graph: Path) -> list[str]:
    """Return the names of the files that hold an ONNX graph's weights; none: they are inside.

    Raises ModelError when it is no ONNX graph or a name leads out of its folder.
    """
    try:
        with graph.open("rb") as stream:
            # Not closed by hand: parts of it are still held while an error is on its way up.
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        found = sorted(set(_places(content, "Model")))
    except (OSError, ValueError, IndexError, RecursionError) as error:
        raise ModelError(f"{graph} is damaged or no ONNX network; fetch it again") from error
    for name in found:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ModelError(f"{graph} refers to {name!r}, which is outside its folder")
    return found


def place_network(graph: Path, target: Path) -> None:
    """Write an ONNX graph as `target`, its weights inside or in `target` + `.data`.

    A graph names the file of its weights, so one whose weights lie beside it is read and written
    anew by ONNX Runtime, operation for operation. Raises ModelError when it cannot be read.
    """
    beside = files_beside(graph)
    missing = [name for name in beside if not (graph.parent / name).is_file()]
    if missing:
        raise ModelError(f"{graph} refers to the file {missing[0]!r}, which is not beside it")
    if not beside:
        shutil.copyfile(graph, target)
        return
    ort = load_runtime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 4
    entry = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{entry}_file_name", target.name + WEIGHTS_SUFFIX)
    options.add_session_config_entry(f"{entry}_min_size_in_bytes", _SMALL_TENSOR)
    try:
        ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{graph} cannot be read by ONNX Runtime: {reason}") from error


def _places(data: memoryview, kind: str) -> Iterator[str]:
    """Yield the file name of every tensor below a message that is stored outside."""
    if kind == "Place":
        fields = {number: bytes(value).decode() for number, value in _fields(data)}
        if fields.get(_KEY) == "location":
            yield fields.get(_VALUE, "")
        return
    for number, value in _fields(data):
        following = _FIELDS[kind].get(number)
        if following is not None:
            yield from _places(value, following)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of a message's fields that have a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise ValueError("a field is longer than its message")
                yield tag >> 3, data[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise ValueError("an unknown kind of field")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
