"""What a converter makes of another library's model, and how that becomes a model folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import torch
from tokenizers import Tokenizer
from torch import nn

from mmsearch.core import Preprocessing, Space, Vectors
from mmsearch.errors import ModelError
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
from mmsearch.retrieval.vse.backbone import weights_digest
from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, Signature, write_graph

if TYPE_CHECKING:
    from PIL import Image

_TEXT_AXES: Final = {0: "batch", 1: "length"}


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

    Raises ModelError when a tower has an operation that ONNX lacks.
    """
    size = source.preprocessing.size
    tokens = torch.ones((2, min(5, source.text_spec.length)), dtype=torch.int64)
    if source.text_spec.fixed:
        tokens = torch.ones((2, source.text_spec.length), dtype=torch.int64)
    example = [tokens] * len(source.text_inputs)
    axes = {0: "batch"} if source.text_spec.fixed else _TEXT_AXES
    signature = Signature(dict.fromkeys(source.text_inputs, axes), "embedding")
    try:
        write_graph(source.text, example, signature, path / TEXT_FILE)
        write_graph(source.image, [torch.zeros(2, 3, *size)], IMAGE_SIGNATURE, path / IMAGE_FILE)
        with torch.inference_mode():
            dim = int(source.text(*example).shape[1])
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"a tower cannot be written as ONNX: {reason}") from error
    source.tokenizer.save(str(path / TOKENIZER_FILE))
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
