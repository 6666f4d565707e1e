"""Models of open_clip, taken apart: built without fetching, weights from safetensors alone."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from mmsearch.core import Vectors
from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.convert.card import hub_facts
from mmsearch.retrieval.convert.hf_towers import PaddedLeft
from mmsearch.retrieval.convert.open_clip_config import (
    Architecture,
    find_architecture,
    preprocessing_of,
)
from mmsearch.retrieval.convert.open_clip_text import load_tokenizer, text_config_folder
from mmsearch.retrieval.convert.open_clip_tokenizer import TextWay, text_way
from mmsearch.retrieval.convert.open_clip_towers import ImageTower, Without, text_tower
from mmsearch.retrieval.convert.source import Source
from mmsearch.retrieval.description import TextSpec
from mmsearch.retrieval.layouts import open_clip_weights
from mmsearch.retrieval.tower import unit_rows

if TYPE_CHECKING:
    from PIL import Image

_BATCH: Final = 16
_UNUSABLE: Final = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What open_clip, timm and torch raise for a configuration or weights that do not fit."""


class OpenClipPipeline:
    """open_clip's own transform, tokenizer and model."""

    def __init__(self, model: Any, transform: Any, tokenizer: Any) -> None:
        self.model = model
        self.transform = transform
        self.tokenizer = tokenizer

    def images(self, pictures: Sequence["Image.Image"], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""
        with torch.inference_mode():
            rows = [
                self.model.encode_image(torch.stack([self.transform(each) for each in part]))
                for part in _parts(pictures)
            ]
        return unit_rows(torch.cat(rows).numpy())

    def texts(self, sentences: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""
        with torch.inference_mode():
            rows = [
                self.model.encode_text(self.tokenizer(list(part))) for part in _parts(sentences)
            ]
        return unit_rows(torch.cat(rows).numpy())


def load_open_clip(arch: str, weights: Path | None, directory: Path | None) -> Source:
    """Build one of open_clip's models from files on this machine, and take it apart.

    `arch` is an architecture, `ARCH`, or with the tag of published weights, `ARCH/TAG`, which
    decides the preprocessing; empty: `directory` has an open_clip_config.json. `weights` is a
    safetensors file; None: the one in `directory`. A tokenizer or a text tower of transformers
    is looked for in `directory`, or beside the weights. Nothing is fetched, and nothing is
    unpickled.

    Raises ModelError: an unknown architecture or tag (with the nearest), files that are absent,
    damaged, or of another model (with the first tensor that does not fit). MissingExtraError
    when open_clip is not installed.
    """
    try:
        import open_clip  # noqa: F401 -- is it there?
    except ImportError as error:
        raise MissingExtraError("open-clip-torch", "train") from error
    architecture = find_architecture(arch, directory)
    file = _weights_file(weights, directory, architecture)
    beside = directory or file.parent
    tokenizer, clean = load_tokenizer(architecture.text, beside)
    model = _build(architecture, text_config_folder(architecture.text, beside))
    _load_weights(model, file, architecture)
    way = text_way(tokenizer, clean)
    text, fixed = _text_tower(model, way)
    facts = hub_facts(directory)
    return Source(
        name=architecture.name.replace("/", "-"),
        image=ImageTower(model.visual),
        text=text,
        tokenizer=way.tokenizer,
        preprocessing=preprocessing_of(model.visual.preprocess_cfg),
        text_spec=TextSpec(way.length, way.cleaning, way.pad, fixed),
        pipeline=OpenClipPipeline(model, _transform(model), tokenizer),
        licence=facts.licence,
        source={
            "library": "open_clip",
            "version": version("open-clip-torch"),
            "architecture": architecture.name,
            "weights": file.name,
        },
        data=facts.data,
    )


def _text_tower(model: Any, way: TextWay) -> tuple[nn.Module, bool]:
    """Return the text tower behind such a tokenizer, and whether it wants the full length."""
    text, fixed = text_tower(model, way.pad)
    if way.separator is not None:
        text = Without(text, way.separator)
    return (PaddedLeft(text, way.pad), True) if way.left else (text, fixed)


def _weights_file(weights: Path | None, directory: Path | None, architecture: Architecture) -> Path:
    """Return the file of weights, which is whole and a safetensors file."""
    file = weights
    if file is None and directory is not None:
        file = _weights_in(directory)
    if file is None:
        raise ModelError(f"{architecture.name} needs weights; give a .safetensors file of them")
    if file.suffix != ".safetensors":
        raise ModelError(
            f"{file} is no .safetensors file; pickled weights can run any code when they are "
            "read: convert them where you trust them"
        )
    try:
        with safe_open(file, framework="pt") as tensors:
            empty = not list(tensors.keys())
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(f"{file} is not a whole safetensors file ({error})") from error
    if empty:
        raise ModelError(f"{file} holds no tensors; fetch it again")
    return file


def _weights_in(directory: Path) -> Path:
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise ModelError(f"cannot read {directory}: {error.strerror}") from error
    found = open_clip_weights(names)
    if found is None:
        raise ModelError(f"{directory} has no open_clip_model.safetensors; fetch it again")
    return directory / found


def _build(architecture: Architecture, text_folder: Path | None) -> Any:
    """Return the model with random weights, in evaluation mode."""
    import open_clip

    changed = {}
    if text_folder is not None:
        changed["text_cfg"] = {
            **architecture.text,
            "hf_model_name": str(text_folder),
            "hf_model_pretrained": False,
        }
    try:
        with _quiet():
            model = open_clip.create_model(
                architecture.spec,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=architecture.quick_gelu,
                force_preprocess_cfg=dict(architecture.preprocessing),
                **changed,
            )
    except _UNUSABLE as error:
        raise ModelError(
            f"open_clip cannot build {architecture.name}: {_reason(error)}; "
            "is its configuration from a newer open_clip?"
        ) from error
    return model.eval().requires_grad_(False)


def _load_weights(model: nn.Module, file: Path, architecture: Architecture) -> None:
    from open_clip.factory import load_checkpoint

    try:
        with _quiet():
            load_checkpoint(model, str(file), strict=True)
    except _UNUSABLE as error:
        raise ModelError(
            f"the weights {file} are not those of {architecture.name}: "
            f"{_first_difference(model, file) or _reason(error)}"
        ) from error


def _first_difference(model: nn.Module, file: Path) -> str:
    """Return in words which tensor of a file is the first that does not fit; may be empty."""
    known = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    with safe_open(file, framework="pt") as tensors:
        names = set(tensors.keys())
        shapes = {name: tensors.get_slice(name).get_shape() for name in names & known.keys()}
    for name, shape in known.items():
        if name not in names:
            return f"they have no {name}"
        if shapes[name] != shape:
            return f"{name} is {shapes[name]}, where {shape} is wanted"
    unknown = sorted(names - known.keys())
    return f"{unknown[0]} is not known" if unknown else ""


def _transform(model: Any) -> Any:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from logging, which would also set the root logger up."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return (text or type(error).__name__)[:200]


def _parts(things: Sequence[Any]) -> list[Sequence[Any]]:
    return [things[start : start + _BATCH] for start in range(0, len(things), _BATCH)]
