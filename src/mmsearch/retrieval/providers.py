"""Which of ONNX Runtime's execution providers runs a network: tried, compared and timed.

A provider that is installed may still not work, or give other vectors, or be slower than the
processor. So each one that ONNX Runtime lists runs a few rows of the very network beside the
CPU, once on a machine; the fastest of those that agree is kept by `machine`.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Vectors
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.runtime import load_runtime

PROVIDER_VARIABLE: Final = "MMSEARCH_PROVIDER"
_SAME: Final = 0.99
"""Mean cosine; an 8-bit network on the CPU may stand beside the full one on another device."""
_TIMES: Final = 3

Feed = Mapping[str, NDArray[Any]]


class Provider(StrEnum):
    """What runs a network. AUTO is the fastest that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    OPENVINO = "openvino"


RUNTIME_NAMES: Final = {
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.OPENVINO: "OpenVINOExecutionProvider",
    Provider.CPU: "CPUExecutionProvider",
}


class Network(Protocol):
    """A loaded network."""

    def run(self, feed: Feed, /) -> Vectors:
        """Return (n, dim) float32 unit rows. Raises ModelError when it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """The provider to use, and a line for each one that was not: why."""

    provider: Provider
    remarks: tuple[str, ...] = ()


def available_providers() -> list[Provider]:
    """Return the providers that ONNX Runtime lists here, the CPU last."""
    listed = load_runtime().get_available_providers()
    return [provider for provider, name in RUNTIME_NAMES.items() if name in listed]


def forced_provider(asked: Provider, available: Sequence[Provider]) -> Provider | None:
    """Return the provider that the caller or $MMSEARCH_PROVIDER insists on; None: neither does.

    Raises ConfigError, with those there are, for a name that is none or one not available.
    """
    name = os.environ.get(PROVIDER_VARIABLE) or Provider.AUTO.value
    if asked is not Provider.AUTO:
        name = asked.value
    there = ", ".join(provider.value for provider in available)
    if name not in list(Provider):
        raise ConfigError(
            f"{PROVIDER_VARIABLE} is {name!r}, which is no execution provider; here: auto, {there}"
        )
    provider = Provider(name)
    if provider is Provider.AUTO:
        return None
    if provider not in available:
        raise ConfigError(
            f"the execution provider {name} is not available; here: {there}. "
            "Which there are depends on the installed onnxruntime package"
        )
    return provider


def choose_provider(
    load: Callable[[Provider], Network], feed: Feed, candidates: Sequence[Provider]
) -> Choice:
    """Return the fastest of the CPU and those candidates that agree with it.

    `load` raises ModelError for a provider that does not work; an error of the CPU is raised.
    """
    network = load(Provider.CPU)
    expected = network.run(feed)
    best, fastest = Provider.CPU, _seconds(network, feed)
    remarks = []
    for provider in candidates:
        if provider is Provider.CPU:
            continue
        try:
            network = load(provider)
            found = network.run(feed)
            taken = _seconds(network, feed)
        except ModelError as error:
            remarks.append(f"{provider.value} is installed and does not work ({error})")
            continue
        cosine = float((expected * found).sum(axis=1).mean())
        if not cosine >= _SAME:
            remarks.append(f"{provider.value} gives other vectors (cosine {cosine:.4f})")
        elif taken >= fastest:
            remarks.append(f"{provider.value} takes {taken / fastest:.1f} times as long")
        else:
            best, fastest = provider, taken
    return Choice(best, tuple(f"{remark}; {best.value} is used" for remark in remarks))


def _seconds(network: Network, feed: Feed) -> float:
    """Return the least of a few runs."""
    least = np.inf
    for _ in range(_TIMES):
        began = time.perf_counter()
        network.run(feed)
        least = min(least, time.perf_counter() - began)
    return float(least)
