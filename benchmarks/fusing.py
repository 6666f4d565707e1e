"""What fusing captions into pictures' vectors does to retrieval, by the weight of the captions.

    python benchmarks/fusing.py DATA [--model SPEC] [--split dev] [--json FILE]

DATA is captioned as `train` reads it, at least four captions a picture. The first one, or the
first two, are attached; the questions are the others from the third on, which nothing was made
of. Columns: R@K with every picture captioned; R@10 with a half or a tenth of them captioned, drawn
by seed, for the questions of those with and of those without captions apart; and whether a picture
itself, as a question, still finds its own item.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mmsearch.core import Encoder, Ids, Vectors
from mmsearch.errors import InputError
from mmsearch.retrieval.captions import CaptionedImage, load_captions
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.fusing import fused_vector
from mmsearch.retrieval.metrics import Ranks, bootstrap, metrics, ranks
from mmsearch.retrieval.models import load_encoder

WEIGHTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
_ATTACHED: Final = (1, 2)
_ASKED: Final = 2  # the first caption that is a question
_BATCH: Final = 32
_CUTOFF: Final = 10
_PARTS: Final = {"half": 2, "tenth": 10}


@dataclass(frozen=True)
class Encoded:
    """Pictures (n, dim); captions (n, _ASKED, dim) to attach; questions (m, dim) and whose."""

    pictures: Vectors
    attached: Vectors
    questions: Vectors
    owner: Ids


def main() -> None:
    """Encode, and print a table a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int, default=None, help="pictures at most")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    images = load_captions(given.data).splits[given.split][: given.limit]
    encoder = load_encoder(given.model)
    encoded = encode(encoder, images)
    found = {str(count): {f"{w:g}": row(encoded, count, w) for w in WEIGHTS} for count in _ATTACHED}
    for count in _ATTACHED:
        print(f"\n{count} caption(s) attached, {len(images)} pictures, {encoder.space.name}")
        print(table(found[str(count)]))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


def encode(encoder: Encoder, images: Sequence[CaptionedImage]) -> Encoded:
    """Encode everything once; vectors as a library stores them, in float16."""
    short = next((image for image in images if len(image.captions) <= _ASKED), None)
    if short is not None:
        raise InputError(
            f"{short.path} has {len(short.captions)} captions; {_ASKED + 1} are needed"
        )
    pictures = [
        encoder.encode_images(
            [decode(image.path, encoder.preprocessing) for image in images[start : start + _BATCH]]
        )
        for start in range(0, len(images), _BATCH)
    ]
    attached = encoder.encode_texts([text for image in images for text in image.captions[:_ASKED]])
    asked = [(n, text) for n, image in enumerate(images) for text in image.captions[_ASKED:]]
    return Encoded(
        _stored(np.concatenate(pictures)),
        attached.reshape(len(images), _ASKED, -1),
        encoder.encode_texts([text for _, text in asked]),
        np.array([n for n, _ in asked], dtype=np.int64),
    )


def row(encoded: Encoded, count: int, weight: float) -> dict[str, float]:
    """Return the figures of one weight with `count` captions attached; 1: the captions alone."""
    everything = np.ones(len(encoded.pictures), dtype=bool)
    order = np.random.default_rng(0).permutation(len(encoded.pictures))
    whole = ranks(fused(encoded, count, weight, everything), encoded.questions, encoded.owner)
    both = metrics(whole)
    low, high = bootstrap([whole]).t2i.r1
    figures = {
        "t2i r1": both.t2i.r1,
        "t2i r5": both.t2i.r5,
        "t2i r10": both.t2i.r10,
        "r1 low": low,
        "r1 high": high,
        "i2t r1": both.i2t.r1,
        "i2t r10": both.i2t.r10,
        "copy r1": _copies_found(fused(encoded, count, weight, everything), encoded.pictures),
    }
    for name, part in _PARTS.items():
        some = order % part == 0
        partly = ranks(fused(encoded, count, weight, some), encoded.questions, encoded.owner)
        figures[f"{name}: with r10"] = _recall(partly, some[encoded.owner])
        figures[f"{name}: without r10"] = _recall(partly, ~some[encoded.owner])
    return figures


def fused(encoded: Encoded, count: int, weight: float, chosen: np.ndarray) -> Vectors:
    """Return the vectors that are searched when the chosen pictures have captions."""
    rows = encoded.pictures.copy()
    for n in np.flatnonzero(chosen):
        captions = encoded.attached[n, :count]
        alone = captions.mean(axis=0) / np.linalg.norm(captions.mean(axis=0))
        rows[n] = alone if weight == 1 else fused_vector(rows[n], captions, weight)
    return _stored(rows)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table, a weight a line."""
    names = [name for name in next(iter(rows.values())) if name not in ("r1 low", "r1 high")]
    lines = [f"| w | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {weight} | {' | '.join(f'{figures[name]:.1f}' for name in names)} |"
        for weight, figures in rows.items()
    ]
    return "\n".join(lines)


def _recall(found: Ranks, chosen: np.ndarray) -> float:
    """Return R@10 in percent of the chosen questions."""
    return 100 * float(np.mean(found.t2i[chosen] < _CUTOFF))


def _copies_found(rows: Vectors, pictures: Vectors) -> float:
    """Return how many pictures as questions have their own item first, percent."""
    best = np.argmax(pictures @ rows.T, axis=1)
    return 100 * float(np.mean(best == np.arange(len(rows))))


def _stored(vectors: Vectors) -> Vectors:
    return vectors.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    main()
