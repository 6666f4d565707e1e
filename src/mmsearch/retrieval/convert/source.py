"""What a converter makes of another library's model, and how that becomes a model folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import torch
from tokenizers import Tokenizer
from torch import nn

from mmsearch.core import Preprocessing, Space, Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.graph import write_tower
from mmsearch.retrieval.description_json import preprocessing_document
from mmsearch.retrieval.folder import (
    IMAGE_FILE,
    TEXT_FILE,
    TOKENIZER_FILE,
    Facts,
    ModelDescription,
    ModelFolder,
    TextSpec,
    write_model_folder,
)
from mmsearch.retrieval.tokenizer_file import write_tokenizer
from mmsearch.retrieval.vse.backbone import weights_digest
from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, Signature

if TYPE_CHECKING:
    from PIL import Image

_TEXT_AXES: Final = {0: "batch", 1: "length"}
_SENTENCES: Final = ("a small red circle to the left of a large blue square", "a circle")


class Pipeline(Protocol):
    """The source library's own way from a picture or a sentence to its vector."""

    def images(self, pictures: Sequence["Image.Image"], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""
        ...

    def texts(self, sentences: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Another library's model, taken apart.

    `image` maps normalised pixels (b, 3, h, w) float32 to rows (b, dim); `text` maps tokens
    (b, length) int64, and attention_mask (b, length) int64 when `text_inputs` names it, to rows
    (b, dim). Rows need not be of length one. `tokenizer` adds start and end tokens itself.
    """

    name: str
    image: nn.Module
    text: nn.Module
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    text_spec: TextSpec
    pipeline: Pipeline
    text_inputs: tuple[str, ...] = ("tokens",)
    licence: str = ""
    source: Facts = field(default_factory=dict)
    data: Facts = field(default_factory=dict)


def write_source(source: Source, path: Path) -> ModelFolder:
    """Write the towers, the tokenizer and `model.json` into the empty folder `path`.

    Weights lie in a file beside each graph. The graphs take any batch, and any length of text
    unless `text_spec.fixed`. Raises ModelError when a tower has an operation that ONNX lacks.
    """
    example = [_example(source)[name] for name in source.text_inputs]
    axes = {0: "batch"} if source.text_spec.fixed else _TEXT_AXES
    signature = Signature(dict.fromkeys(source.text_inputs, axes), "embedding")
    dim = write_tower(source.text, example, signature, path / TEXT_FILE)
    pixels = torch.zeros(2, 3, *source.preprocessing.size)
    width = write_tower(source.image, [pixels], IMAGE_SIGNATURE, path / IMAGE_FILE)
    if width != dim:
        raise ModelError(
            f"the towers of {source.name} give vectors of {width} and {dim} numbers, which "
            "cannot be compared; the model needs a projection of both into one space"
        )
    write_tokenizer(source.tokenizer, path / TOKENIZER_FILE)
    return write_model_folder(
        path,
        ModelDescription(
            space=Space(source.name, dim, space_digest(source)),
            preprocessing=source.preprocessing,
            text=source.text_spec,
            licence=source.licence,
            source=source.source,
            data=source.data,
        ),
    )


def _example(source: Source) -> Mapping[str, torch.Tensor]:
    """Return what a text tower is traced on: two sentences of different length, padded."""
    spec = source.text_spec
    sentences = [encoding.ids for encoding in source.tokenizer.encode_batch(list(_SENTENCES))]
    rows = [ids[: spec.length] for ids in sentences]
    width = spec.length if spec.fixed else max(len(ids) for ids in rows)
    pad = spec.pad or 0
    tokens = torch.tensor([ids + [pad] * (width - len(ids)) for ids in rows])
    lengths = torch.tensor([[len(ids)] for ids in rows])
    return {"tokens": tokens, "attention_mask": (torch.arange(width) < lengths).long()}


def space_digest(source: Source) -> str:
    """Return the hex SHA-256 of weights, tokenizer, preprocessing and what is done to text."""
    spec = source.text_spec
    text = [spec.length, [step.value for step in spec.cleaning], spec.pad, spec.fixed]
    parts = [
        weights_digest(source.image),
        weights_digest(source.text),
        source.tokenizer.to_str(),
        json.dumps(preprocessing_document(source.preprocessing)),
        json.dumps(text),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
