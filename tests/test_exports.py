"""The public surface is what `__all__` says, and importing it costs nothing."""

import subprocess
import sys

import pytest

import mmsearch
from mmsearch import errors

HEAVY = """
    torch torchvision transformers open_clip timm sqlite_utils matplotlib tensorboard safetensors
    onnx faiss onnxruntime tokenizers numpy PIL rich typer
"""


def test_all_is_sorted_and_complete() -> None:
    assert mmsearch.__all__ == sorted(mmsearch.__all__)
    exposed = {name for name in dir(mmsearch) if not name.startswith("_")}
    submodules = {
        *("choices", "cli", "commands", "conditions", "core", "errors", "index", "models"),
        "retrieval",
    }
    assert exposed - submodules - {"TYPE_CHECKING", "Any"} == set(mmsearch.__all__)


@pytest.mark.parametrize("name", mmsearch.__all__)
def test_everything_in_all_can_be_had(name: str) -> None:
    assert getattr(mmsearch, name) is not None


def test_every_error_is_public() -> None:
    named = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert named <= set(mmsearch.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        getattr(mmsearch, "nothing_like_it")  # noqa: B009 - not a name that a type checker knows


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, mmsearch; print(*(set({HEAVY.split()}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
