"""Compare the two ways in which negative terms act, on captioned photos.

    python benchmarks/negation.py DATA [--model SPEC] [--weights 0.25,0.5,1]

DATA has `captions_dev.csv` with header `image,caption` and the photos in `images/`. Three kinds
of question, each asked of all its photos with every weight by subtraction and by projection:

sentence  a caption of photo i, minus a caption of photo j, drawn from the other photos among the
          caption's first ten. Wanted: i stays up (R@K, median rank), j goes down (share still
          among the first ten, median rank), and both: i among the first ten without j.
word      a caption that has a frequent word, minus that word. Wanted: fewer of the first ten
          photos have the word in a caption, and as many as before have the caption's others.
two words a frequent word minus another, for all pairs: likewise.

Prints one Markdown table a kind.
"""

import argparse
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Encoder, Negation, Vectors
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.query import combine

WORDS = [
    "dog", "dogs", "man", "woman", "boy", "girl", "child", "people", "water", "grass", "snow",
    "ball", "beach", "street", "bike", "rock", "tree", "hat", "shirt", "mountain", "field",
    "sand", "pool", "car", "crowd",
]  # fmt: skip
TOP = 10


@dataclass(frozen=True)
class Photos:
    """Captioned photos: `rows` (n, dim); of each caption its photo, its text, its row."""

    rows: Vectors
    photo_of: NDArray[np.int64]
    captions: list[str]
    caption_rows: Vectors

    def mentions(self, word: str) -> NDArray[np.bool_]:
        """Return (n,): which photos have a word in one of their captions."""
        found = np.zeros(len(self.rows), dtype=bool)
        for photo, caption in zip(self.photo_of, self.captions, strict=True):
            found[photo] |= word in words(caption)
        return found


def words(caption: str) -> list[str]:
    return re.findall(r"[a-z]+", caption.lower())


def read(data: Path, encoder: Encoder) -> Photos:
    with (data / "captions_dev.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(row["image"], row["caption"]) for row in csv.DictReader(file)]
    names = list(dict.fromkeys(image for image, _ in pairs))
    rows = [
        encoder.encode_images(
            [decode(data / "images" / name, encoder.preprocessing) for name in names[n : n + 32]]
        )
        for n in range(0, len(names), 32)
    ]
    captions = [caption for _, caption in pairs]
    return Photos(
        np.concatenate(rows),
        np.array([names.index(image) for image, _ in pairs]),
        captions,
        np.concatenate(
            [encoder.encode_texts(captions[n : n + 64]) for n in range(0, len(captions), 64)]
        ),
    )


def ranks(photos: Photos, queries: Vectors) -> NDArray[np.int64]:
    """Return (queries, photos): the rank of each photo, from 1, ties by place."""
    order = np.argsort(-(queries @ photos.rows.T), axis=1, kind="stable")
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(1, len(photos.rows) + 1)[np.newaxis], axis=1)
    return found


def asked(wanted: Vectors, unwanted: Vectors, weight: float, negation: Negation | None) -> Vectors:
    """Return one query a row: wanted minus unwanted, or wanted alone."""
    if negation is None:
        return wanted
    return np.concatenate(
        [
            combine(np.stack(rows), [1.0, -weight], negation).vector
            for rows in zip(wanted, unwanted, strict=True)
        ]
    )


def settings(weights: Sequence[float]) -> Iterator[tuple[str, float, Negation | None]]:
    yield "none", 0.0, None
    for negation in Negation:
        for weight in weights:
            yield f"{negation} {weight:g}", weight, negation


def sentences(photos: Photos, weights: Sequence[float], generator: np.random.Generator) -> None:
    """Print what a caption minus a confusing photo's caption finds."""
    plain = ranks(photos, photos.caption_rows)
    others = np.empty_like(photos.photo_of)
    for place, (row, photo) in enumerate(zip(plain, photos.photo_of, strict=True)):
        others[place] = generator.choice([n for n in np.flatnonzero(row <= TOP) if n != photo])
    chosen = [generator.choice(np.flatnonzero(photos.photo_of == other)) for other in others]
    unwanted = photos.caption_rows[chosen]
    print(f"\n{len(others)} captions minus a caption of another photo among the first {TOP}\n")
    print("| negation | R@1 | R@5 | R@10 | MedR | unwanted in 10 | its MedR | wanted alone in 10 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, weight, negation in settings(weights):
        found = ranks(photos, asked(photos.caption_rows, unwanted, weight, negation))
        places = np.arange(len(others))
        right, wrong = found[places, photos.photo_of], found[places, others]
        recalls = " | ".join(f"{100 * (right <= k).mean():.1f}" for k in (1, 5, 10))
        print(
            f"| {name} | {recalls} | {np.median(right):.0f} | "
            f"{100 * (wrong <= TOP).mean():.1f} | {np.median(wrong):.0f} | "
            f"{100 * ((right <= TOP) & (wrong > TOP)).mean():.1f} |"
        )


def shares(
    found: NDArray[np.int64], unwanted: NDArray[np.bool_], kept: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the shares of the first ten photos that have the unwanted word, and the kept ones.

    `unwanted` and `kept` are (queries, photos); `kept` the share of the kept words of a query
    that a photo has.
    """
    top = found <= TOP
    return float(unwanted[top].mean()), float(kept[top].mean())


def report(
    title: str,
    photos: Photos,
    queries: tuple[Vectors, Vectors],
    meant: tuple[NDArray[np.bool_], NDArray[np.float64]],
    weights: Sequence[float],
) -> None:
    print(f"\n{len(queries[0])} {title}\n")
    print("| negation | have the word | have the others |\n|---|--:|--:|")
    for name, weight, negation in settings(weights):
        found = ranks(photos, asked(*queries, weight, negation))
        has, keeps = shares(found, *meant)
        print(f"| {name} | {100 * has:.1f} % | {100 * keeps:.1f} % |")


def single_words(photos: Photos, encoder: Encoder, weights: Sequence[float]) -> None:
    """Print what captions minus one of their words, and words minus others, find."""
    has = {word: photos.mentions(word) for word in WORDS}
    rows = dict(zip(WORDS, encoder.encode_texts(WORDS), strict=True))
    cases = [
        (place, word, [other for other in WORDS if other in found and other != word])
        for place, caption in enumerate(photos.captions)
        for found in [set(words(caption))]
        for word in WORDS
        if word in found
    ]
    cases = [case for case in cases if case[2]]
    report(
        "captions minus one of their words",
        photos,
        (
            photos.caption_rows[[place for place, _, _ in cases]],
            np.stack([rows[word] for _, word, _ in cases]),
        ),
        (
            np.stack([has[word] for _, word, _ in cases]),
            np.stack([np.mean([has[kept] for kept in others], axis=0) for _, _, others in cases]),
        ),
        weights,
    )
    pairs = [(one, other) for one in WORDS for other in WORDS if one != other]
    report(
        "words minus another word",
        photos,
        (np.stack([rows[one] for one, _ in pairs]), np.stack([rows[other] for _, other in pairs])),
        (
            np.stack([has[other] for _, other in pairs]),
            np.stack([has[one].astype(np.float64) for one, _ in pairs]),
        ),
        weights,
    )


def main() -> None:
    """Encode the photos, ask, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--weights", default="0.25,0.5,1")
    given = parser.parse_args()
    weights = [float(word) for word in given.weights.split(",")]
    encoder = load_encoder(given.model)
    photos = read(given.data, encoder)
    print(f"{encoder.space.name}: {len(photos.rows)} photos, {len(photos.captions)} captions")
    sentences(photos, weights, np.random.default_rng(0))
    single_words(photos, encoder, weights)


if __name__ == "__main__":
    main()
