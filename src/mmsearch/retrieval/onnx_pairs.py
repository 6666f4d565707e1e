"""Ready ONNX pairs: two networks that somebody exported become a model folder, without torch.

Known are the folders of photo servers (`visual/`, `textual/`, open_clip's JSON files), those of
transformers.js (`onnx/`, the JSON files of transformers) and rclip's (two networks, CLIP's
vocabulary). Which output is the embedding is found by running them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from mmsearch.core import Pixels, Space, Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.description import (
    IMAGE_FILE,
    TEXT_FILE,
    TOKENIZER_FILE,
    ModelDescription,
    ModelFolder,
)
from mmsearch.retrieval.encoder import OnnxEncoder, normalise
from mmsearch.retrieval.folder import write_model_folder
from mmsearch.retrieval.layouts import Layout
from mmsearch.retrieval.onnx_files import place_network
from mmsearch.retrieval.pair_probe import ONE_THREAD, Probe, choose_outputs
from mmsearch.retrieval.pair_reading import ReadyPair, read_pair, space_digest
from mmsearch.retrieval.resizing import resize
from mmsearch.retrieval.tokenizer_file import write_tokenizer
from mmsearch.retrieval.tokens import Tokens
from mmsearch.retrieval.tower import Tower

SAME: Final = 0.9999
"""The least cosine between the folder's vectors and those of the networks it was made of."""
_SENTENCES: Final = (
    "a dog on the grass",
    "",
    "two people at a table in front of a window, drinking coffee from large white cups & reading",
    "Grüße 東京 🙂",
    "red",
)


def write_pair(layout: Layout, folder: Path, path: Path, *, name: str) -> ModelFolder:
    """Write the ONNX pair in `folder` as the model folder `path`, which is empty.

    Raises ModelError when it lacks a file, its networks do not fit together, or the folder does
    not give what they give.
    """
    pair = read_pair(layout, folder)
    place_network(pair.image, path / IMAGE_FILE)
    place_network(pair.text_network, path / TEXT_FILE)
    write_tokenizer(pair.tokenizer, path / TOKENIZER_FILE)
    description = ModelDescription(
        space=Space(name, 1, space_digest(pair)),  # its width is found by running it
        preprocessing=pair.preprocessing,
        text=pair.text,
        source={"format": layout.value, "image": pair.files.image, "text": pair.files.text},
    )
    written = _with_outputs(write_model_folder(path, description))
    if not _rows_are_independent(written):
        text = replace(pair.text, fixed=True)
        pair = replace(pair, text=text)
        space = replace(written.space, digest=space_digest(pair))
        written = write_model_folder(path, replace(written, text=text, space=space))
    _compare(pair, written)
    return written


def _with_outputs(folder: ModelFolder) -> ModelFolder:
    """Find the embeddings among the networks' outputs, and record them."""
    size = folder.preprocessing.size if folder.preprocessing else (1, 1)
    image, text = Probe(folder.path / IMAGE_FILE), Probe(folder.text_path)
    tokens = Tokens(folder)
    pixels = {image.inputs[0].name: np.zeros((1, 3, *size), dtype=np.float32)}
    sentence = tokens.feed(text, tokens.encode(_SENTENCES[:1]))
    one, other, dim = choose_outputs(image.widths(pixels), text.widths(sentence))
    return write_model_folder(
        folder.path,
        replace(
            folder,
            space=replace(folder.space, dim=dim),
            image_output=one,
            text_output=other,
        ),
    )


def _rows_are_independent(folder: ModelFolder) -> bool:
    """Say whether a sentence's vector is the same alone and beside a longer one."""
    encoder = OnnxEncoder(folder)
    together = encoder.encode_texts(_SENTENCES)
    alone = np.concatenate([encoder.encode_texts([sentence]) for sentence in _SENTENCES])
    return _least_cosine(together, alone) >= SAME


def _compare(pair: ReadyPair, folder: ModelFolder) -> None:
    """Compare the folder's vectors with those of the networks it was made of."""
    dim, pictures = folder.space.dim, _pictures()
    encoder, tokens = OnnxEncoder(folder), Tokens(folder)
    image = Tower(pair.image, dim, ONE_THREAD, folder.image_output)
    text = Tower(pair.text_network, dim, ONE_THREAD, folder.text_output)
    pixels = normalise(
        np.stack([resize(p, pair.preprocessing) for p in pictures]), pair.preprocessing
    )
    seen = [image.run({image.inputs[0].name: row[None]}) for row in pixels]
    read = [text.run(tokens.feed(text, tokens.encode([s]))) for s in _SENTENCES]
    found = (encoder.encode_images(pictures), encoder.encode_texts(_SENTENCES))
    for kind, rows, expected in zip(("picture", "sentence"), found, (seen, read), strict=True):
        least = _least_cosine(rows, np.concatenate(expected))
        if not least >= SAME:
            raise ModelError(f"the copy of the {kind} network gives other vectors ({least:.4f})")
        if np.ptp(rows, axis=0).max() == 0:
            raise ModelError(f"the {kind} network gives the same vector for every {kind}")


def _pictures() -> Sequence[Pixels]:
    """Return a few pictures of different shapes: smooth, coarse and fine patterns."""
    rng = np.random.default_rng(0)
    shapes = [(480, 640), (640, 360), (64, 64), (300, 301)]
    made = []
    for n, (height, width) in enumerate(shapes):
        coarse = rng.integers(0, 256, size=(3 + 2 * n, 4 + n, 3), dtype=np.uint8)
        rows = np.arange(height) * len(coarse) // height
        columns = np.arange(width) * coarse.shape[1] // width
        made.append(np.ascontiguousarray(coarse[rows][:, columns]))
    return made


def _least_cosine(rows: Vectors, others: Vectors) -> float:
    return float(np.einsum("nd,nd->n", rows, others).min())
