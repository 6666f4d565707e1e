"""What the JSON files beside a ready ONNX pair say of pictures and of text.

Two dialects: open_clip's (`preprocess_cfg.json`, `text_cfg`), which photo servers publish, and
that of transformers (`preprocessor_config.json`, `tokenizer_config.json`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mmsearch.core import Cut, Interpolation, Preprocessing, Resize
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.description import Cleaning

CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)
_RESIZE_MODES: Final = {"shortest": Resize.CROP, "squash": Resize.SQUASH, "longest": Resize.PAD}
_PILLOW: Final = {
    1: Interpolation.LANCZOS,
    2: Interpolation.BILINEAR,
    3: Interpolation.BICUBIC,
}
_LARGEST: Final = 4096  # pixels; no network takes more, and a mistake would take all memory
_NO_LIMIT: Final = 100_000
"""Above this a stated length means that none was set."""
_POSITIONS_USED: Final = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Positions that some families of text networks keep for themselves."""


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty when the file is absent. Raises ModelError."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{file} is not a JSON object; fetch it again")
    return document


def open_clip_pictures(file: Path) -> Preprocessing:
    """Return what a `preprocess_cfg.json` of open_clip says. Raises ModelError."""
    config = _required(file)
    try:
        return Preprocessing(
            size=_pair(config["size"]),
            resize=_RESIZE_MODES[config.get("resize_mode", "shortest")],
            interpolation=Interpolation(config.get("interpolation", "bicubic")),
            mean=_triple(config.get("mean", CLIP_MEAN)),
            std=_triple(config.get("std", CLIP_STD)),
            fill=int(config.get("fill_color", 0)),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise _unusable(file, error) from error


def clip_pictures(size: tuple[int, int]) -> Preprocessing:
    """Return what CLIP does to pictures for an input of `size` (height, width)."""
    return Preprocessing(size, Resize.CROP, Interpolation.BICUBIC, CLIP_MEAN, CLIP_STD)


def transformers_pictures(file: Path) -> Preprocessing:
    """Return what a `preprocessor_config.json` of transformers says.

    Raises ModelError for steps that are not known, rather than leave them out.
    """
    config = _required(file)
    try:
        _check_known(config)
        size, resize, short_side = _transformers_size(config)
        plain = not config.get("do_normalize", True)
        return Preprocessing(
            size=size,
            resize=resize,
            interpolation=_PILLOW[int(config.get("resample", 3))],
            mean=(0.0, 0.0, 0.0) if plain else _triple(config.get("image_mean", CLIP_MEAN)),
            std=(1.0, 1.0, 1.0) if plain else _triple(config.get("image_std", CLIP_STD)),
            short_side=short_side,
            cut=Cut.FLOOR if resize is Resize.CROP else Cut.ROUND,
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise _unusable(file, error) from error


def open_clip_cleaning(text: Mapping[str, Any], *, masked: bool) -> tuple[Cleaning, ...]:
    """Return what open_clip does to a sentence, from the `text_cfg` of a model.

    `masked`: the network takes an attention mask, which no text network of open_clip does; then
    the tokenizer is all that the text goes through.
    """
    from mmsearch.retrieval.convert.open_clip_tokenizer import CLEANING

    named = text.get("hf_tokenizer_name")
    if masked and not named:
        return ()
    options = text.get("tokenizer_kwargs") or {}
    clean = options.get("clean") or ("whitespace" if named else "lower")
    if clean not in CLEANING:
        raise ModelError(f"the cleaning {clean!r} of text is not known; update mmsearch")
    return CLEANING[clean]


def text_length(tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
    """Return the most tokens that `tokenizer_config.json` and `config.json` allow; None: any."""
    text = config.get("text_config") or config
    positions = text.get("max_position_embeddings")
    if isinstance(positions, int):
        positions -= _POSITIONS_USED.get(str(text.get("model_type")), 0)
    stated = (tokenizer.get("model_max_length"), positions)
    known = [int(n) for n in stated if isinstance(n, int | float) and 0 < n < _NO_LIMIT]
    return min(known, default=None)


def pads_always(config: Mapping[str, Any]) -> bool:
    """Say whether a model was trained on sentences that are all filled up to the same length."""
    text = config.get("text_config") or {}
    return any("siglip" in str(c.get("model_type", "")) for c in (config, text))


def pad_token(tokenizer: Mapping[str, Any]) -> str | None:
    """Return the padding token that a `tokenizer_config.json` names."""
    token = tokenizer.get("pad_token")
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _transformers_size(config: Mapping[str, Any]) -> tuple[tuple[int, int], Resize, int | None]:
    """Return the input's size, how a picture is brought to it, and its short side."""
    size = config["size"]
    cuts = config.get("do_center_crop", False)
    cut = _pair(config.get("crop_size", size)) if cuts else None
    if isinstance(size, Mapping) and "shortest_edge" in size:
        size = size["shortest_edge"]
    elif isinstance(size, Mapping) or not cuts:
        whole = _pair(size)
        if cut not in (None, whole):
            raise ValueError(f"it cuts {cut} out of pictures squashed to {whole}")
        return whole, Resize.SQUASH, None
    if cut is None:
        raise ValueError("it leaves pictures at different sizes")
    return cut, Resize.CROP, int(size)


def _check_known(config: Mapping[str, Any]) -> None:
    """Raise ValueError for a step that would be left out."""
    if not config.get("do_resize", True):
        raise ValueError("it does not resize pictures")
    factor = config.get("rescale_factor", 1 / 255)
    if not config.get("do_rescale", True) or abs(float(factor) * 255 - 1) > 1e-6:
        raise ValueError("it does not scale pixels to [0, 1]")
    for name in ("do_pad", "do_flip_channel_order", "crop_pct"):
        if config.get(name):
            raise ValueError(f"it asks for {name}")


def _required(file: Path) -> dict[str, Any]:
    config = read_json(file)
    if not config:
        raise ModelError(f"{file} is missing: it says what is done to pictures")
    return config


def _unusable(file: Path, error: Exception) -> ModelError:
    reason = f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
    return ModelError(f"{file} asks for something that mmsearch does not do: {reason}")


def _pair(value: Any) -> tuple[int, int]:
    """Return (height, width) of a number, a list or an object."""
    height = width = value
    if isinstance(value, Mapping):
        height, width = value["height"], value["width"]
    elif isinstance(value, Sequence):
        height, width = value if len(value) == 2 else (*value, *value)
    if max(int(height), int(width)) > _LARGEST:
        raise ValueError(f"pictures of {height} x {width} pixels")
    return int(height), int(width)


def _triple(value: Any) -> tuple[float, float, float]:
    if isinstance(value, int | float):
        return (float(value),) * 3
    red, green, blue = value
    return float(red), float(green), float(blue)
