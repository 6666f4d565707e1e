"""ONNX Runtime, imported in one way: on first use, and without its telemetry.

The official packages note events, with an identifier of the machine, in a database under the
user's cache and may send them to their vendor. Both happen as soon as the library is loaded,
unless the environment forbids it beforehand.
"""

import ctypes
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Final

_OPT_OUTS: Final = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")  # spelt by version


def load_runtime() -> ModuleType:
    """Return the module `onnxruntime`; what the user's environment says of telemetry wins."""
    for variable in _OPT_OUTS:
        os.environ.setdefault(variable, "1")
    return import_module("onnxruntime")


def give_back_memory() -> None:
    """Hand what a network left free in the heap back to the system: tens of megabytes.

    Otherwise it would stay beside the pages of the index that a search maps. Does something
    with glibc only.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
