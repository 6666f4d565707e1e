"""What open_clip knows of a model before its weights: architecture, tag, preprocessing."""

import difflib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.layouts import OPEN_CLIP_CONFIG

_PARTS: Final = ("embed_dim", "vision_cfg", "text_cfg")
_RESIZE: Final[Mapping[str, Resize]] = {
    "shortest": Resize.CROP,
    "longest": Resize.PAD,
    "squash": Resize.SQUASH,
}
_INTERPOLATION: Final[Mapping[str, Interpolation]] = {
    "bicubic": Interpolation.BICUBIC,
    "bilinear": Interpolation.BILINEAR,
    "random": Interpolation.BICUBIC,  # of networks trained with several; open_clip takes this one
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One of open_clip's models without its weights.

    `spec` is what open_clip's `create_model` calls it; `name` what people do. `model` is its
    configuration, `preprocessing` what is known of it beyond open_clip's defaults.
    """

    spec: str
    name: str
    tag: str = ""
    model: Mapping[str, Any]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False

    @property
    def text(self) -> dict[str, Any]:
        """The configuration of the text tower."""
        return dict(self.model["text_cfg"])


def find_architecture(arch: str, directory: Path | None) -> Architecture:
    """Return the architecture that `arch` names (`ARCH` or `ARCH/TAG`), or a directory's.

    A built-in architecture without a tag takes the preprocessing that the directory's
    configuration states, else the one that all of its published weights agree on: open_clip's
    own default, that of CLIP, is wrong for SigLIP and MobileCLIP. A tag whose weights were
    trained with QuickGELU gets it. Raises ModelError for unknown names, with the nearest one.
    """
    if arch:
        return _built_in(arch, {} if directory is None else _preprocessing_in(directory))
    if directory is None:
        raise ModelError("an open_clip model needs an architecture or a folder")
    document = _read_config(directory)
    return Architecture(
        spec=f"local-dir:{directory}",
        name=directory.name,
        model=_checked(_part(document, "model_cfg", directory), directory / OPEN_CLIP_CONFIG),
        preprocessing=_preprocessing_in(directory),
    )


def _built_in(arch: str, stated: Mapping[str, Any]) -> Architecture:
    import open_clip

    name, tag = _split(arch)
    config = open_clip.get_model_config(name)
    known: dict[str, Any] = {}
    if tag:
        tags = open_clip.list_pretrained_tags_by_model(name)
        known = open_clip.get_pretrained_cfg(name, tag) or {}
        if not known:
            raise ModelError(f"open_clip has no weights {name}/{tag}; {_nearest(tag, tags)}")
    return Architecture(
        spec=name,
        name=f"{name}/{tag}" if tag else name,
        tag=tag,
        model=_checked(config, name),
        preprocessing=known or stated or _agreed(name),
        quick_gelu=bool(known.get("quick_gelu", False)),
    )


def _split(arch: str) -> tuple[str, str]:
    """Return the name of an architecture, spelt as open_clip does, and the tag or nothing."""
    import open_clip

    names = open_clip.list_models()
    whole = arch.replace("/", "-")
    if whole in names:
        return whole, ""
    front, _, tag = arch.rpartition("/")
    name = front.replace("/", "-")
    if name in names:
        return name, tag
    raise ModelError(
        f"open_clip has no architecture {front or arch!r}; {_nearest(name or whole, names)}"
    )


def _nearest(name: str, names: list[str]) -> str:
    folded = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.0)
    return f"did you mean {folded[close[0]]}?" if close else "there are none"


def _agreed(name: str) -> Mapping[str, Any]:
    """Return the preprocessing of all published weights, where it is the same for all."""
    import open_clip

    found = [
        {key: _plain(config.get(key)) for key in ("mean", "std", "interpolation", "resize_mode")}
        for tag in open_clip.list_pretrained_tags_by_model(name)
        if (config := open_clip.get_pretrained_cfg(name, tag))
    ]
    return found[0] if found and all(each == found[0] for each in found) else {}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_config(directory: Path) -> dict[str, Any]:
    file = directory / OPEN_CLIP_CONFIG
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}); fetch it again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{file} is not a JSON object; fetch it again")
    return document


def _preprocessing_in(directory: Path) -> Mapping[str, Any]:
    if not (directory / OPEN_CLIP_CONFIG).is_file():
        return {}
    document = _read_config(directory)
    return _part(document, "preprocess_cfg", directory) if "preprocess_cfg" in document else {}


def _part(document: Mapping[str, Any], key: str, directory: Path) -> dict[str, Any]:
    part = document.get(key)
    if not isinstance(part, dict):
        raise ModelError(f"{directory / OPEN_CLIP_CONFIG} has no {key}; fetch it again")
    return part


def _checked(config: Mapping[str, Any], where: str | Path) -> Mapping[str, Any]:
    """Return a configuration that builds from what is here: it names no place to fetch from."""
    missing = [part for part in _PARTS if part not in config]
    if missing:
        raise ModelError(f"the configuration {where} has no {missing[0]}; fetch it again")
    vision, text = config["vision_cfg"], config["text_cfg"]
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise ModelError(f"vision_cfg and text_cfg in {where} must be JSON objects")
    network = str(vision.get("timm_model_name") or "")
    if ":" in network:
        raise ModelError(f"{where} takes its image tower from {network}, which is not followed")
    return deepcopy(dict(config))


def preprocessing_of(config: Mapping[str, Any]) -> Preprocessing:
    """Return open_clip's `image_preprocess_cfg` as a Preprocessing.

    Raises ModelError for a mode, filter or resize that is not supported.
    """
    size = _pair(config["size"])
    resize = _RESIZE.get(config["resize_mode"])
    interpolation = _INTERPOLATION.get(config["interpolation"])
    if resize is None or interpolation is None or config["mode"] != "RGB":
        asked = {key: config[key] for key in ("mode", "resize_mode", "interpolation")}
        raise ModelError(f"the preprocessing {asked} is not supported")
    if resize is Resize.CROP and size[0] != size[1]:
        raise ModelError(
            f"a crop to {size[0]} x {size[1]} pixels is not supported, only to a square"
        )
    try:
        return Preprocessing(
            size=size,
            resize=resize,
            interpolation=interpolation,
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            fill=int(config["fill_color"]) if resize is Resize.PAD else 0,
        )
    except (ConfigError, TypeError, ValueError) as error:
        raise ModelError(f"the preprocessing cannot be read: {error}") from error


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return int(height), int(width)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, (list, tuple)) else (values,) * 3
    return float(red), float(green), float(blue)
