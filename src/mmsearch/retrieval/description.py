"""What a model folder is: the names of its files and what `model.json` tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.core import Preprocessing, Space
from mmsearch.errors import ConfigError

MODEL_FILE: Final = "model.json"
IMAGE_FILE: Final = "image.onnx"
TEXT_FILE: Final = "text.onnx"
IMAGE_INT8_FILE: Final = "image.int8.onnx"
TEXT_INT8_FILE: Final = "text.int8.onnx"
WEIGHTS_SUFFIX: Final = ".data"
"""Added to a tower's name: the file of weights that lie beside its graph."""
TOKENIZER_FILE: Final = "tokenizer.json"

Facts: TypeAlias = Mapping[str, object]
"""What JSON can hold: recorded and shown, never interpreted."""


class Cleaning(StrEnum):
    """A step that is done to a sentence before the tokenizer sees it.

    NFC composes; FTFY mends wrongly decoded text; HTML replaces entities, twice over;
    PUNCTUATION turns underscores into spaces and drops the other ASCII punctuation; LOWER is
    Python's; WHITESPACE makes each run of it one space, and strips.
    """

    NFC = "nfc"
    FTFY = "ftfy"
    HTML = "html"
    PUNCTUATION = "punctuation"
    LOWER = "lower"
    WHITESPACE = "whitespace"


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What becomes of a sentence on its way to the network.

    `length` is the most tokens a sentence keeps, start and end included. `cleaning` are steps
    before the tokenizer, in their order; the rest, the vocabulary and the start and end tokens
    are those of `tokenizer.json`. `pad` is the id that fills a row up; None: the one that
    `tokenizer.json` pads with, else `<pad>`, else 0. `fixed`: every sentence is filled up to
    `length`, for networks whose answer depends on it.
    """

    length: int
    cleaning: tuple[Cleaning, ...] = (Cleaning.NFC,)
    pad: int | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"text length must be at least 1 token, not {self.length}")
        if self.pad is not None and self.pad < 0:
            raise ConfigError(f"a padding id is at least 0, not {self.pad}")


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file must be: its hex SHA-256 and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What `model.json` says of a model, without its files.

    `preprocessing` is None when the model has no image tower. `image_output` and `text_output`
    name the outputs that are the embeddings; empty: the first. `source` says where the weights
    came from, `data` what they were trained on, `metrics` how well they do. `int8` holds, for
    each of "image" and "text" whose 8-bit network passed its check, the figures of the check;
    `optimised` how the graphs were simplified: `level`, and `runtime`, the version that did it.
    """

    space: Space
    preprocessing: Preprocessing | None
    text: TextSpec
    image_output: str = ""
    text_output: str = ""
    licence: str = ""
    source: Facts = field(default_factory=dict)
    data: Facts = field(default_factory=dict)
    metrics: Facts = field(default_factory=dict)
    int8: Facts = field(default_factory=dict)
    optimised: Facts = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name, which is its space's."""
        return self.space.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder(ModelDescription):
    """A model on disk: its description, where it is, and what its files must be."""

    path: Path
    files: Mapping[str, FileStamp]

    @property
    def image_path(self) -> Path | None:
        """The image tower's ONNX file; None when the model has none."""
        return None if self.preprocessing is None else self.path / IMAGE_FILE

    @property
    def text_path(self) -> Path:
        """The text tower's ONNX file."""
        return self.path / TEXT_FILE

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer's JSON file."""
        return self.path / TOKENIZER_FILE

    @property
    def image_int8_path(self) -> Path | None:
        """The 8-bit image tower's ONNX file; None when there is none."""
        return self.path / IMAGE_INT8_FILE if IMAGE_INT8_FILE in self.files else None

    @property
    def text_int8_path(self) -> Path | None:
        """The 8-bit text tower's ONNX file; None when there is none."""
        return self.path / TEXT_INT8_FILE if TEXT_INT8_FILE in self.files else None
