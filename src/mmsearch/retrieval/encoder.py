"""The encoder at index and query time: ONNX Runtime and tokenizers, nothing else.

Each tower loads when it is first asked for, so that a text query pays for one only.
"""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from mmsearch.retrieval.runtime import give_back_memory, load_runtime

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD_TOKEN: Final = "<pad>"
_EPSILON: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How an encoder is going to be used.

    `threads` None uses every processor that this process may run on; `batch_size` bounds how
    many pictures or sentences go through a network at once. `verified` compares the checksums
    of large files, too, when a network is loaded, which takes a moment: worth it before much is
    encoded. `once`: for a single question, the quickest load and the least memory; a tower is
    let go of when it has answered.
    """

    threads: int | None = None
    batch_size: int = 32
    verified: bool = False
    once: bool = False

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
        self._image: _Tower | None = None
        self._text: _Tower | None = None
        self._tokens: _Tokens | None = None

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
            self._image = self._load_tower(self.folder.path / "image.onnx")
        rows = np.empty((len(images), self.space.dim), dtype=np.float32)
        for part in _batches(len(images), self._use.batch_size):
            pixels = _network_input(images[part], preprocessing)
            rows[part] = self._image.run({self._image.inputs[0]: pixels})
        if self._use.once:
            self._image = None
            give_back_memory()
        return rows

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows; an empty sentence is encoded like any other.

        Raises ModelError when the text tower or the tokenizer is damaged.
        """
        if self._tokens is None:
            self._tokens = _Tokens(self.folder)
        if self._text is None:
            self._text = self._load_tower(self.folder.text_path)
        sentences = self._tokens.encode(texts)
        order = sorted(range(len(texts)), key=lambda n: len(sentences[n]))
        rows = np.empty((len(texts), self.space.dim), dtype=np.float32)
        for part in _batches(len(texts), self._use.batch_size):
            chosen = order[part]
            tokens, lengths = self._tokens.pad([sentences[n] for n in chosen])
            rows[chosen] = self._text.run(_text_feed(self._text, tokens, lengths))
        if self._use.once:
            self._text = self._tokens = None
            give_back_memory()
        return rows

    def _load_tower(self, file: Path) -> "_Tower":
        for name in (file.name, f"{file.name}{WEIGHTS_SUFFIX}"):
            if name in self.folder.files:
                below = None if self._use.verified else SMALL_FILE_BYTES
                verify_file(self.folder, name, below=below)
        return _Tower(file, self.space.dim, self._use)


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


def unit_rows(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Return the rows divided by their length, float32; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _EPSILON), dtype=np.float32)


def clean_text(text: str, *, lowercase: bool) -> str:
    """Return the sentence as the tokenizer is to see it: NFC, valid Unicode."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    composed = unicodedata.normalize("NFC", valid)
    return composed.lower() if lowercase else composed


class _Tower:
    """One ONNX network whose first output is `(n, dim)`."""

    def __init__(self, file: Path, dim: int, use: Use) -> None:
        ort = load_runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = use.threads or available_processors()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A waiting thread that spins takes the processor from the threads that decode pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if use.once:  # packing weights for fast products costs more than one question gains
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._file = file
        self._dim = dim
        self._failures = _runtime_errors()
        try:
            self._session = ort.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except self._failures as error:
            raise ModelError(
                f"{file} is damaged or no ONNX network this runtime can read; "
                "export or add the model again"
            ) from error
        self.inputs: list[str] = [node.name for node in self._session.get_inputs()]
        if not self.inputs:
            raise ModelError(f"the network {file} has no input; export or add the model again")

    def run(self, feed: Mapping[str, NDArray[Any]]) -> Vectors:
        """Return (n, dim) float32 unit rows. Raises ModelError when the network fails."""
        try:
            output = self._session.run(None, dict(feed))[0]
        except self._failures as error:
            reason = str(error).splitlines()[0][:200]
            raise ModelError(f"the network {self._file} failed: {reason}") from error
        count = len(next(iter(feed.values())))
        if output.shape != (count, self._dim):
            raise ModelError(
                f"the network {self._file} gives {output.shape} where model.json promises "
                f"({count}, {self._dim}); export or add the model again"
            )
        if not np.isfinite(output).all():
            raise ModelError(
                f"the network {self._file} gives numbers that are not finite; "
                "export or add the model again"
            )
        return unit_rows(output)


class _Tokens:
    """Sentences to token ids, by `tokenizer.json`."""

    def __init__(self, folder: ModelFolder) -> None:
        verify_file(folder, folder.tokenizer_path.name, below=SMALL_FILE_BYTES)
        self._folder = folder
        self._tokenizer = _load_tokenizer(folder.tokenizer_path)
        padding = self._tokenizer.padding
        pad = padding["pad_id"] if padding else self._tokenizer.token_to_id(PAD_TOKEN)
        self._pad: int = pad or 0
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(folder.text.length)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each sentence: at least one, at most the model's length."""
        text = self._folder.text
        clean = [clean_text(sentence, lowercase=text.lowercase) for sentence in texts]
        try:
            encodings = self._tokenizer.encode_batch(clean)
        except Exception as error:  # tokenizers raises the bare class
            raise ModelError(f"{self._folder.tokenizer_path} fails: {error}") from error
        return [encoding.ids[: text.length] or [self._pad] for encoding in encodings]

    def pad(self, sentences: Sequence[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return tokens (n, longest) padded on the right, and lengths (n,)."""
        lengths = np.array([len(ids) for ids in sentences], dtype=np.int64)
        tokens = np.full((len(sentences), int(lengths.max())), self._pad, dtype=np.int64)
        for row, ids in zip(tokens, sentences, strict=True):
            row[: len(ids)] = ids
        return tokens, lengths


def _load_tokenizer(file: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the tokenizer {file} cannot be read ({error}); export or add the model again"
        ) from error


def _text_feed(
    tower: _Tower, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return what the network declares of tokens, lengths and attention mask."""
    mask = (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int64)
    known = {"tokens": tokens, "lengths": lengths, "attention_mask": mask}
    unknown = [name for name in tower.inputs if name not in known]
    if unknown:
        raise ModelError(f"the text network wants an unknown input {unknown[0]!r}")
    return {name: known[name] for name in tower.inputs}


def _network_input(images: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    if any(image.shape[:2] != preprocessing.size for image in images):
        from mmsearch.retrieval.decode import resize

        images = [resize(image, preprocessing) for image in images]
    return normalise(np.stack(images), preprocessing)


def _batches(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


def _runtime_errors() -> tuple[type[Exception], ...]:
    load_runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
        RuntimeError,
        ValueError,
    )
