"""The encoder at index and query time: ONNX Runtime and tokenizers, nothing else.

Each tower loads when it is first asked for, so that a text query pays for one only.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Modality, Pixels, Preprocessing, Space, Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.feeding import (
    network_input,
    normalise,
    sample_pixels,
    sample_sentences,
)
from mmsearch.retrieval.folder import ModelFolder
from mmsearch.retrieval.loading import Precision, TowerLoader, Use
from mmsearch.retrieval.runtime import give_back_memory
from mmsearch.retrieval.tokens import Tokens
from mmsearch.retrieval.tower import Tower

__all__ = ["DEFAULT_USE", "OnnxEncoder", "Precision", "Use", "normalise"]

DEFAULT_USE: Final = Use()
_SAMPLE_TOKENS: Final = 16


class OnnxEncoder:
    """An encoder made of a model folder's ONNX towers."""

    def __init__(self, folder: ModelFolder, use: Use = DEFAULT_USE) -> None:
        self.folder = folder
        self._use = use
        self._loader = TowerLoader(folder, use)
        self._image: Tower | None = None
        self._text: Tower | None = None
        self._tokens: Tokens | None = None
        self._unknown: dict[str, tuple[str, ...]] = {}
        self._loading = Lock()
        self._loading_images = Lock()

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

    @property
    def lanes(self) -> int:
        """How many threads may call `encode_images` at once, each with a share of processors."""
        return self._use.lanes

    def load_images(self) -> None:
        """Load the network of pictures unless it is there. Raises ModelError."""
        self._image_tower()

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Return (n, dim) float32 unit rows; each picture is (h, w, 3) uint8 of any size.

        Raises ModelError when the model has no image tower or its file is damaged.
        """
        preprocessing = self.preprocessing
        network = self._image_tower()
        rows = np.empty((len(images), self.space.dim), dtype=np.float32)
        for part in self._batches(len(images), network):
            pixels = network_input(images[part], preprocessing)
            rows[part] = network.run({network.inputs[0].name: pixels})
        if self._use.once:
            del network
            self._image = None
            give_back_memory()
        return rows

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows; an empty sentence is encoded like any other.

        Raises ModelError when the text tower or the tokenizer is damaged.
        """
        network, tokens = self._text_tower(), self._tokenizer()
        sentences = tokens.encode(texts)
        order = sorted(range(len(texts)), key=lambda n: len(sentences[n]))
        rows = np.empty((len(texts), self.space.dim), dtype=np.float32)
        for part in self._batches(len(texts), network):
            chosen = order[part]
            feed = tokens.feed(network, [sentences[n] for n in chosen])
            rows[chosen] = network.run(feed)
        if self._use.once:
            self._unknown = {text: tokens.unknown_words(text) for text in texts}
            del network, tokens
            self._text = self._tokens = None
            give_back_memory()
        return rows

    def unknown_words(self, text: str, /) -> tuple[str, ...]:
        """Return the words that the vocabulary lacks; see `vocabulary.unknown_words`.

        With `once` it is known of the sentences encoded last: the tokenizer is gone.
        """
        known = self._unknown.get(text)
        return self._tokenizer().unknown_words(text) if known is None else known

    def try_texts(self) -> None:
        """Encode a drawn sentence, and let go of the network again. Raises ModelError."""
        network = self._text or self._loader.load(Modality.TEXT, self._sample)
        network.run(self._sample(network, 1))
        del network
        give_back_memory()

    def load_tokenizer(self) -> None:
        """Load the tokenizer unless it is there; see `ahead.load_ahead`."""
        self._tokenizer()

    def subject(self, tower: Modality, /) -> str:
        """Name what `seconds` measures; see `machine.batch_size`."""
        return self._loader.subject(tower, self._sample)

    def seconds(self, tower: Modality, count: int, /) -> float:
        """Return the seconds that one batch takes: drawn pictures, or sentences of 16 tokens.

        A network of a fixed batch takes `count` in several.
        """
        network = self._image_tower() if tower is Modality.IMAGE else self._text_tower()
        size = min(count, network.batch or count)
        feed = self._sample(network, size)
        began = time.perf_counter()
        for _ in range(0, count, size):
            network.run(feed)
        return time.perf_counter() - began

    def _image_tower(self) -> Tower:
        with self._loading_images:
            if self._image is None:
                self._image = self._loader.load(Modality.IMAGE, self._sample)
            return self._image

    def _text_tower(self) -> Tower:
        if self._text is None:
            self._text = self._loader.load(Modality.TEXT, self._sample)
        return self._text

    def _tokenizer(self) -> Tokens:
        with self._loading:  # another thread may have begun
            if self._tokens is None:
                self._tokens = Tokens(self.folder)
            return self._tokens

    def _sample(self, network: Tower, count: int) -> Mapping[str, NDArray[Any]]:
        """Return inputs of so many rows: noise, or sentences of letters."""
        if len(network.inputs[0].shape) == 4:
            pixels = sample_pixels(self.preprocessing, count)
            return {network.inputs[0].name: normalise(pixels, self.preprocessing)}
        sentences = self._tokenizer().encode(sample_sentences(count, _SAMPLE_TOKENS))
        return self._tokenizer().feed(network, sentences)

    def _batches(self, count: int, tower: Tower) -> Iterator[slice]:
        size = min(self._use.batch_size, tower.batch or self._use.batch_size)
        for start in range(0, count, size):
            yield slice(start, start + size)
