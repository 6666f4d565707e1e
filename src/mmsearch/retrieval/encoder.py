"""The encoder at index and query time: ONNX Runtime and tokenizers, nothing else.

Each tower loads when it is first asked for, so that a text query pays for one only.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Pixels, Preprocessing, Space, Vectors
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.folder import (
    SMALL_FILE_BYTES,
    WEIGHTS_SUFFIX,
    ModelFolder,
    verify_file,
)
from mmsearch.retrieval.runtime import give_back_memory
from mmsearch.retrieval.tokens import Tokens
from mmsearch.retrieval.tower import Setting, Tower


class Precision(StrEnum):
    """Which networks an encoder runs: AUTO takes the 8-bit ones where the model keeps them."""

    AUTO = "auto"
    FP32 = "fp32"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How an encoder is going to be used.

    `threads` None uses every processor that this process may run on; `batch_size` bounds how
    many pictures or sentences go through a network at once. `verified` compares the checksums
    of large files, too, when a network is loaded, which takes a moment: worth it before much is
    encoded. `once`: for a single question, the quickest load and the least memory; a tower is
    let go of when it has answered. `precision` INT8 insists on 8-bit networks.
    """

    threads: int | None = None
    batch_size: int = 32
    verified: bool = False
    once: bool = False
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch size must be at least 1, not {self.batch_size}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, not {self.threads}")


DEFAULT_USE: Final = Use()


class OnnxEncoder:
    """An encoder made of a model folder's ONNX towers."""

    def __init__(self, folder: ModelFolder, use: Use = DEFAULT_USE) -> None:
        self.folder = folder
        self._use = use
        self._image: Tower | None = None
        self._text: Tower | None = None
        self._tokens: Tokens | None = None

    @property
    def space(self) -> Space:
        """The space that the vectors belong to."""
        return self.folder.space

    @property
    def preprocessing(self) -> Preprocessing:
        """What `encode_images` does to pictures.

        Raises ModelError when the model has no image tower.
        """
        if self.folder.preprocessing is None:
            raise ModelError(
                f"the model {self.folder.name} was trained on precomputed features and cannot "
                "encode pictures; use a model with an image encoder"
            )
        return self.folder.preprocessing

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Return (n, dim) float32 unit rows; each picture is (h, w, 3) uint8 of any size.

        Raises ModelError when the model has no image tower or its file is damaged.
        """
        preprocessing = self.preprocessing
        if self._image is None:
            plain = self.folder.path / "image.onnx"
            file = self._chosen(plain, self.folder.image_int8_path)
            self._image = self._load_tower(file, self.folder.image_output)
        rows = np.empty((len(images), self.space.dim), dtype=np.float32)
        for part in self._batches(len(images), self._image):
            pixels = _network_input(images[part], preprocessing)
            rows[part] = self._image.run({self._image.inputs[0].name: pixels})
        if self._use.once:
            self._image = None
            give_back_memory()
        return rows

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows; an empty sentence is encoded like any other.

        Raises ModelError when the text tower or the tokenizer is damaged.
        """
        if self._tokens is None:
            self._tokens = Tokens(self.folder)
        if self._text is None:
            file = self._chosen(self.folder.text_path, self.folder.text_int8_path)
            self._text = self._load_tower(file, self.folder.text_output)
        sentences = self._tokens.encode(texts)
        order = sorted(range(len(texts)), key=lambda n: len(sentences[n]))
        rows = np.empty((len(texts), self.space.dim), dtype=np.float32)
        for part in self._batches(len(texts), self._text):
            chosen = order[part]
            rows[chosen] = self._text.run(
                self._tokens.feed(self._text, [sentences[n] for n in chosen])
            )
        if self._use.once:
            self._text = self._tokens = None
            give_back_memory()
        return rows

    def _chosen(self, plain: Path, int8: Path | None) -> Path:
        """Return the network to run: the 8-bit one where it is there and wanted."""
        if self._use.precision is Precision.INT8 and int8 is None:
            raise ModelError(
                f"the model {self.folder.name} has no 8-bit {plain.stem} network; "
                "use the precision auto"
            )
        return plain if int8 is None or self._use.precision is Precision.FP32 else int8

    def _load_tower(self, file: Path, output: str) -> Tower:
        for name in (file.name, f"{file.name}{WEIGHTS_SUFFIX}"):
            if name in self.folder.files:
                below = None if self._use.verified else SMALL_FILE_BYTES
                verify_file(self.folder, name, below=below)
        setting = Setting(self._use.threads or available_processors(), once=self._use.once)
        return Tower(file, self.space.dim, setting, output)

    def _batches(self, count: int, tower: Tower) -> Iterator[slice]:
        size = min(self._use.batch_size, tower.batch or self._use.batch_size)
        for start in range(0, count, size):
            yield slice(start, start + size)


def available_processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return (x / 255 - mean) / std of (n, h, w, 3) uint8 as (n, 3, h, w) float32."""
    mean = np.array(preprocessing.mean, dtype=np.float32)
    std = np.array(preprocessing.std, dtype=np.float32)
    scale, shift = 1 / (255 * std), -mean / std
    result = np.empty((len(pixels), 3, *pixels.shape[1:3]), dtype=np.float32)
    for channel in range(3):
        np.multiply(pixels[..., channel], scale[channel], out=result[:, channel])
        result[:, channel] += shift[channel]
    return result


def _network_input(images: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    if any(image.shape[:2] != preprocessing.size for image in images):
        from mmsearch.retrieval.decode import resize

        images = [resize(image, preprocessing) for image in images]
    return normalise(np.stack(images), preprocessing)
