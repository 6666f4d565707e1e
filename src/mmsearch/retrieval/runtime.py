"""ONNX Runtime, imported in one way: on first use, and without its telemetry.

The official packages note events, with an identifier of the machine, in a database under the
user's cache and may send them to their vendor. Both happen as soon as the library is loaded,
unless the environment forbids it beforehand.
"""

import os
from importlib import import_module
from types import ModuleType
from typing import Final

_OPT_OUTS: Final = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")  # spelt by version


def load_runtime() -> ModuleType:
    """Return the module `onnxruntime`; what the user's environment says of telemetry wins."""
    for variable in _OPT_OUTS:
        os.environ.setdefault(variable, "1")
    return import_module("onnxruntime")
