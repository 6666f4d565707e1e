"""A transformers model directory as a `Source`: two towers, a tokenizer, the preprocessing."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mmsearch.core import Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.hf_files import check_directory, read_licence
from mmsearch.retrieval.convert.hf_images import (
    Framing,
    Windowed,
    check_pixels,
    read_framing,
)
from mmsearch.retrieval.convert.hf_loading import (
    FAILURES,
    check_kind,
    load_model,
    load_processor,
    quiet,
    reason,
)
from mmsearch.retrieval.convert.hf_texts import Words, convert_tokenizer, load_tokenizer
from mmsearch.retrieval.convert.hf_towers import (
    ImageTower,
    PaddedLeft,
    TextTower,
    check_padding,
    embedding,
)
from mmsearch.retrieval.convert.source import Source
from mmsearch.retrieval.folder import TextSpec
from mmsearch.retrieval.tower import unit_rows

if TYPE_CHECKING:
    from PIL import Image

_BATCH: Final = 16
_SHIFTED: Final = "create_position_ids_from_input_ids"
_EXACT: Final = 0.25
_ROUNDED: Final = 1.0
"""How far pixels may be from Pillow's and from torchvision's, on average, in levels of 255.
Pillow's are ours, but for cuts of a quarter of a picture and less."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What is particular about the text tower of a kind of model.

    `masked`: it is given an attention mask; `fixed`: it is trained with sentences filled up to
    one length, and its tokenizer says whether the padding is masked; `length`: the most tokens,
    where the processor says so.
    """

    masked: bool = True
    fixed: bool = False
    length: int | None = None


_FAMILIES: Final = {
    "clip": _Family(masked=False),
    "metaclip_2": _Family(masked=False),
    "siglip": _Family(fixed=True),
    "chinese_clip": _Family(),
    "altclip": _Family(),
    "align": _Family(length=64),
    "vision-text-dual-encoder": _Family(),
}


def load_hf(directory: Path) -> Source:
    """Return a transformers model directory as a source; weights become float32.

    Nothing is fetched and no code of the directory runs. Tokens and pixels are compared with
    those of transformers before this returns. Raises ModelError when something is missing,
    unsupported or differs, MissingExtraError when a package is needed to read it.
    """
    kind = check_directory(directory).get("model_type")
    with quiet():
        check_kind(directory, kind)
        processor = load_processor(directory, backend="pil")
        framing = read_framing(processor)
        check_pixels(processor, framing, levels=_EXACT)
        check_pixels(load_processor(directory), framing, levels=_ROUNDED)
        theirs = load_tokenizer(directory, str(kind))
        model = load_model(directory)
        family = _FAMILIES.get(str(kind), _Family())
        positions = min(_positions(model), family.length or _positions(model))
        words = convert_tokenizer(theirs, positions=positions, fixed=family.fixed)
    masked = family.masked
    if family.fixed:
        masked = "attention_mask" in theirs.model_input_names
    return Source(
        name=directory.resolve().name,
        image=_image_tower(model, framing),
        text=_text_tower(model, words, masked=masked),
        text_inputs=("tokens", "attention_mask") if masked else ("tokens",),
        tokenizer=words.tokenizer,
        preprocessing=framing.preprocessing,
        text_spec=words.spec,
        pipeline=LibraryPipeline(model, processor, theirs, words.spec),
        licence=read_licence(directory),
        source=_facts(model, processor),
    )


class LibraryPipeline:
    """transformers' own way from pictures and sentences to vectors.

    Pictures go through the processor that resizes with Pillow: its pixels are ours to the last
    bit, so that vectors can be compared without allowance. transformers' default resizes
    tensors, and rounds a level otherwise here and there.
    """

    def __init__(self, model: Any, processor: Any, tokenizer: Any, spec: TextSpec) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = tokenizer
        self._spec = spec
        wanted = inspect.signature(model.get_text_features).parameters
        self._inputs = [name for name in tokenizer.model_input_names if name in wanted]

    def images(self, pictures: Sequence["Image.Image"], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""

        def rows(part: Sequence["Image.Image"]) -> Tensor:
            seen = self._processor(images=list(part), return_tensors="pt")
            return embedding(self._model.get_image_features(pixel_values=seen["pixel_values"]))

        return _in_batches(rows, pictures)

    def texts(self, sentences: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""

        def rows(part: Sequence[str]) -> Tensor:
            seen = self._tokenizer(
                list(part),
                padding="max_length" if self._spec.fixed else True,
                truncation=True,
                max_length=self._spec.length,
                return_tensors="pt",
            )
            return embedding(
                self._model.get_text_features(**{name: seen[name] for name in self._inputs})
            )

        return _in_batches(rows, sentences)


def _in_batches(rows: Callable[[Any], Tensor], things: Sequence[Any]) -> Vectors:
    with torch.inference_mode():
        parts = [
            rows(things[start : start + _BATCH]).numpy() for start in range(0, len(things), _BATCH)
        ]
    return unit_rows(np.concatenate(parts))


def _positions(model: Any) -> int:
    """Return the most tokens that the text tower has positions for.

    Towers of the RoBERTa family count positions from behind the padding id.
    """
    settings = model.config.get_text_config()
    most = getattr(settings, "max_position_embeddings", None)
    if not isinstance(most, int):
        raise ModelError(
            f"the text tower of a {type(model).__name__} does not say how many tokens it takes"
        )
    parts: list[Any] = [
        embeddings
        for part in getattr(model, "text_model", model).modules()
        if hasattr(embeddings := getattr(part, "embeddings", None), _SHIFTED)
    ]
    return most - int(parts[0].padding_idx) - 1 if parts else most


def _image_tower(model: Any, framing: Framing) -> nn.Module:
    tower: nn.Module = ImageTower(model)
    if framing.window is not None:
        tower = Windowed(tower, framing.window)
    height, width = framing.preprocessing.size
    try:
        with torch.inference_mode():
            tower(torch.zeros(1, 3, height, width))
    except FAILURES as error:
        raise ModelError(
            f"the image tower does not take pictures of {height} x {width} pixels: {reason(error)}"
        ) from error
    return tower.eval()


def _text_tower(model: Any, words: Words, *, masked: bool) -> nn.Module:
    tower, pad = TextTower(model), words.spec.pad or 0
    if words.spec.fixed:
        if words.left and words.ends_with_padding:
            raise ModelError(
                "the tokenizer pads before the sentence with the token that ends it, so that the "
                "two cannot be told apart; set padding_side to right in tokenizer_config.json"
            )
        return (PaddedLeft(tower, pad) if words.left else tower).eval()
    sentences = ["a", "two dogs play with a ball in the snow", "red"]
    ids = [encoding.ids for encoding in words.tokenizer.encode_batch(sentences)]
    check_padding(tower, ids, pad=pad, masked=masked)
    return tower.eval()


def _facts(model: Any, processor: Any) -> dict[str, object]:
    import transformers

    return {
        "library": "transformers",
        "version": transformers.__version__,
        "architecture": type(model).__name__,
        "model_type": model.config.model_type,
        "image_processor": type(processor).__name__,
    }
