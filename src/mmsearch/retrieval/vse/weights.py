"""Files of backbone weights: safetensors with metadata, never a pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.errors import ConfigError, ModelError

LISTED_KEYS: Final = 3
# Arguments through which a weights file could reach the network or a pickle.
REFUSED_ARGUMENTS: Final = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "features_only",
        "model_name",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
    }
)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A safetensors file: its tensors, and what its metadata says of them."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the architecture."""
        arguments = self.json("timm_args", {})
        if not isinstance(arguments, dict):
            raise ModelError(f"timm_args in the metadata of {self.path} is not a JSON object")
        refused = sorted(REFUSED_ARGUMENTS & arguments.keys())
        if refused:
            raise ModelError(
                f"timm_args in the metadata of {self.path} holds {refused[0]!r}, which a weights "
                "file may not set; save it without"
            )
        return {key: value for key, value in arguments.items() if key != "num_classes"}

    def json(self, key: str, default: Any) -> Any:
        """Return a metadata value that is JSON."""
        if key not in self.metadata:
            return default
        try:
            return json.loads(self.metadata[key])
        except ValueError as error:
            raise ModelError(f"{key} in the metadata of {self.path} is not JSON") from error


def read_weights(path: Path) -> WeightsFile:
    """Read tensors (float16 and bfloat16 as float32) and metadata.

    Raises ModelError when the file is absent, damaged or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: _full_precision(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 -- not a dict
            return WeightsFile(path, tensors, file.metadata() or {})
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"cannot read the backbone weights {path}: {reason}") from error
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a whole safetensors file ({error}); pickled checkpoints are not read"
        ) from error


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def check_architecture(file: WeightsFile, model_name: str) -> None:
    """Raise ModelError when the metadata names another network than the one asked for."""
    architecture = file.metadata.get("architecture")
    if architecture is None:
        return
    asked, found = (name.partition(".")[0] for name in (model_name, architecture))
    if asked != found:
        encoder = found if found == "cnn" else f"timm:{found}"
        raise ModelError(
            f"{file.path} holds weights of {found!r}, not of {asked!r}; "
            f"use --image-encoder {encoder}, or another file"
        )


def with_metadata(preprocessing: Preprocessing, file: WeightsFile) -> Preprocessing:
    """Return `preprocessing` with what the file's metadata says instead.

    Raises ModelError when the metadata cannot be understood.
    """
    mean, std = file.json("mean", preprocessing.mean), file.json("std", preprocessing.std)
    try:
        _, height, width = file.json("input_size", (3, *preprocessing.size))
        return replace(
            preprocessing,
            size=(int(height), int(width)),
            resize=Resize(file.metadata.get("resize", preprocessing.resize)),
            interpolation=Interpolation(
                file.metadata.get("interpolation", preprocessing.interpolation)
            ),
            mean=_three(mean),
            std=_three(std),
        )
    except (TypeError, ValueError, ConfigError) as error:
        raise ModelError(
            f"the metadata of {file.path} does not describe a preprocessing: {error}"
        ) from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def load_tensors(network: nn.Module, file: WeightsFile, heads: tuple[str, ...]) -> None:
    """Load all of a network's state; tensors of its classifier `heads` are left out.

    Raises ModelError naming the first keys that are missing, unknown or of another shape.
    """
    known = network.state_dict()
    skipped = tuple(f"{head}." for head in heads)
    missing = [key for key in known if key not in file.tensors]
    unexpected = [key for key in file.tensors if key not in known and not key.startswith(skipped)]
    differing = [
        f"{key} {tuple(file.tensors[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in known.items()
        if key in file.tensors and file.tensors[key].shape != tensor.shape
    ]
    problems = {"lacks": missing, "has unknown": unexpected, "has other shapes:": differing}
    text = "; ".join(f"{what} {_listed(keys)}" for what, keys in problems.items() if keys)
    if text:
        raise ModelError(f"{file.path} does not fit the network: it {text}")
    network.load_state_dict({key: file.tensors[key] for key in known})


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - LISTED_KEYS} more" if len(keys) > LISTED_KEYS else ""
    return ", ".join(keys[:LISTED_KEYS]) + more
