"""Checkpoints: weights as safetensors, training state beside them, never half of either."""

import hashlib
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmsearch.errors import InputError, ModelError

FORMAT: Final = 1
WEIGHTS_FILE: Final = "model.safetensors"
STATE_FILE: Final = "state.pt"


def save_checkpoint(folder: Path, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace `folder` by a checkpoint of weights and training state.

    `state` may hold tensors, numbers, strings, None, and lists, tuples and dicts of these. A
    process killed at any moment leaves the checkpoint before or this one.
    Raises InputError when the disk does not take it.
    """
    new, old = _siblings(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _recover(folder)
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
        new.mkdir()
        save_file(_apart(weights), new / WEIGHTS_FILE, {"format": "pt"})
        document = {"format": FORMAT, "weights": _digest(new / WEIGHTS_FILE), "state": dict(state)}
        torch.save(document, new / STATE_FILE)
        for path in (new / WEIGHTS_FILE, new / STATE_FILE, new):
            _sync(path)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write the checkpoint {folder}: {reason}") from error


def has_checkpoint(folder: Path) -> bool:
    """Tell whether there is a checkpoint, finishing a replacement that was cut off."""
    _recover(folder)
    return (folder / STATE_FILE).exists()


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return weights and training state, on the CPU.

    Raises ModelError when the folder is no checkpoint, is damaged or is of another version.
    """
    _recover(folder)
    document = _load_state(folder)
    if document.get("format") != FORMAT:
        raise ModelError(
            f"{folder} is a checkpoint of format {document.get('format')} and this mmsearch reads "
            f"{FORMAT}; update mmsearch, or train again"
        )
    weights = load_weights(folder)
    if document.get("weights") != _digest(folder / WEIGHTS_FILE):
        raise ModelError(
            f"the files of the checkpoint {folder} do not belong together; use another checkpoint"
        )
    state: dict[str, Any] = document["state"]
    return weights, state


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, on the CPU.

    Raises ModelError when they are absent or damaged.
    """
    _recover(folder)
    path = folder / WEIGHTS_FILE
    try:
        return load_file(path)
    except OSError as error:
        raise ModelError(_unreadable(path, error)) from error
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged ({error}); use another checkpoint") from error


def _load_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE_FILE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of here is an error below
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(_unreadable(path, error)) from error
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path} is damaged ({reason}); use another checkpoint") from error
    return document if isinstance(document, dict) else {}


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path.parent} is not a checkpoint: cannot read {path.name} ({error.strerror or error})"


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy to the CPU; safetensors takes no two tensors that share memory."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()
    }


def _siblings(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def _recover(folder: Path) -> None:
    """Finish a replacement that was cut off between its two renames."""
    new, old = _siblings(folder)
    if not folder.exists() and old.exists():
        (new if new.exists() else old).rename(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
