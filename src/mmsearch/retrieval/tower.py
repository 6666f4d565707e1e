"""One network of a model folder in ONNX Runtime."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.providers import RUNTIME_NAMES, Provider
from mmsearch.retrieval.runtime import load_runtime

_EPSILON: Final = 1e-12
_AGAIN: Final = "export or add the model again"
_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


@dataclass(frozen=True, slots=True)
class Input:
    """What a network takes under a name; an axis of any length is None."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is loaded.

    `threads` on the CPU, `once` for a single question, `provider` that runs it; `optimised`: the
    file holds a graph that ONNX Runtime has simplified already.
    """

    threads: int
    once: bool = False
    provider: Provider = Provider.CPU
    optimised: bool = False


class Tower:
    """An ONNX network that gives one vector for each row of its inputs."""

    def __init__(self, file: Path, dim: int, setting: Setting, output: str = "") -> None:
        self._file = file
        self._dim = dim
        self._failures = runtime_errors()
        self._session = self._open(setting)
        self.inputs = [self._input(node) for node in self._session.get_inputs()]
        if not self.inputs:
            raise ModelError(f"the network {file} has no input; {_AGAIN}")
        self._output = self._named_output(output)

    @property
    def batch(self) -> int | None:
        """How many rows the network takes at once; None: any number."""
        return self.inputs[0].shape[0] if self.inputs[0].shape else None

    def run(self, feed: Mapping[str, NDArray[Any]]) -> Vectors:
        """Return (n, dim) float32 unit rows for inputs of n rows.

        Inputs are cast to what the network declares; n is at most `batch`, and fewer are filled
        up. Raises ModelError when the network fails.
        """
        count = len(next(iter(feed.values())))
        try:
            output = self._session.run([self._output], self.fitting(feed))[0][:count]
        except self._failures as error:
            reason = str(error).splitlines()[0][:200]
            raise ModelError(f"the network {self._file} failed: {reason}") from error
        if output.shape != (count, self._dim):
            raise ModelError(
                f"the network {self._file} gives {output.shape} where model.json promises "
                f"({count}, {self._dim}); {_AGAIN}"
            )
        if not np.isfinite(output).all():
            raise ModelError(
                f"the network {self._file} gives numbers that are not finite; {_AGAIN}"
            )
        return unit_rows(output)

    def fitting(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return what the network is run on: cast, and filled up to `batch` with the last row."""
        return {each.name: self._fitting(feed[each.name], each) for each in self.inputs}

    def _open(self, setting: Setting) -> Any:
        runtime = load_runtime()
        options = session_options(setting.threads)
        if setting.once:  # packing weights for fast products costs more than one question gains
            options.add_session_config_entry("session.disable_prepacking", "1")
            # Planning which buffers to use again takes longer than one sentence, and saves little.
            options.enable_mem_reuse = False
            if setting.optimised:
                options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        name = RUNTIME_NAMES[setting.provider]
        names = [name] if setting.provider is Provider.CPU else [name, RUNTIME_NAMES[Provider.CPU]]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a provider that fails: it is looked at below
                session = runtime.InferenceSession(
                    str(self._file), options, providers=names, disabled_optimizers=SLOW_FUSIONS
                )
        except self._failures as error:
            raise ModelError(
                f"{self._file} is damaged or no ONNX network this runtime can read; {_AGAIN}"
            ) from error
        if session.get_providers()[0] != name:
            raise ModelError(f"the runtime cannot load {name}; see its installation guide")
        return session

    def _fitting(self, values: NDArray[Any], wanted: Input) -> NDArray[Any]:
        missing = (self.batch or 0) - len(values)
        if missing > 0:
            values = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        return values.astype(wanted.dtype, copy=False)

    def _input(self, node: Any) -> Input:
        if node.type not in _DTYPES:
            raise ModelError(
                f"the network {self._file} takes {node.type} as {node.name!r}, not "
                f"{', '.join(_DTYPES)}; {_AGAIN}"
            )
        shape = tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in node.shape)
        return Input(node.name, _DTYPES[node.type], shape)

    def _named_output(self, name: str) -> str:
        names: list[str] = [node.name for node in self._session.get_outputs()]
        if name and name not in names:
            raise ModelError(
                f"the network {self._file} has no output {name!r}, only {', '.join(names)}; "
                f"{_AGAIN}"
            )
        return name or names[0]


def unit_rows(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Return the rows divided by their length, float32; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, _EPSILON), dtype=np.float32)


SLOW_FUSIONS: Final = ["BiasGeluFusion"]
"""Of ONNX Runtime's: an addition and a Gelu, one after the other, take a quarter less time."""


def session_options(threads: int) -> Any:
    """Return what every network is run with: so many threads, which wait asleep."""
    options = load_runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A waiting thread that spins takes the processor from the threads that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; it has no base of its own."""
    load_runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,
        ValueError,
    )
