"""What the adaptive cut-off keeps and drops, on captioned photos and on questions about nothing.

    MMSEARCH_TEST_DATA=FOLDER python benchmarks/cutoff.py --model MODEL [--seed 1]

The dev photos and captions of `flickr8k` become a library, the photos of `unlabelled` another;
both are asked through mmsearch's own index, ten answers a question. Measured is which answers lie
above the chance level that the library has found without knowing them:

- true matches: a caption's own photo, where it is among the caption's ten answers, and all pairs,
  wherever the photo stands; a photo's own captions, and other captions of a caption's photo
- questions about nothing, by family (`nonsense.py`): how many of their answers are dropped
- other answers to captions, and captions asked of photos that they do not belong to

Half of the photos with their captions, and other questions about nothing (seed 0), were looked at
while the method was chosen; the figures are of the rest.
"""

import argparse
import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from measuring import WORK, Facts, keep, machine, say, table
from nonsense import families
from numpy.typing import NDArray
from PIL import Image

from mmsearch.core import Encoder, Ids, Modality, Pixels, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.background import DEPTH, Backgrounds
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.scenes.drawing import draw_scene
from mmsearch.retrieval.scenes.world import Split, sample_scenes, split_combinations

_LEAST_KNOWN: Final = 4
"""How often a word occurs in the captions for training, to be one that a salad is made of."""
_CURVE: Final = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
"""By how much the level is moved for the curve of the trade."""
_CHOSEN: Final = 0  # seed of the halves of the photos: to choose with, and to measure with
_SCENES: Final = 100
_CROPPED: Final = 5  # of so many photos one is cut and turned

Scores: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Captions:
    """Photos and their captions; `owner` (n,) is the place of each caption's photo."""

    photos: Sequence[Path]
    texts: Sequence[str]
    owner: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Asked:
    """A library, what searches it, and its chance levels."""

    catalog: Catalog
    indexes: IndexStore
    encoder: Encoder
    backgrounds: Backgrounds

    def answers(self, questions: Vectors, modality: Modality) -> tuple[Ids, Scores]:
        """Return (ids, cosines), (n, 10) each, of the best answers to (n, dim) questions."""
        found = self.indexes.search(self.encoder.space, modality, questions, DEPTH)
        return np.stack([row.ids for row in found]), np.stack([row.scores for row in found])

    def scores(self, questions: Vectors, modality: Modality) -> Scores:
        """Return the cosines of the best answers."""
        return self.answers(questions, modality)[1]

    def level(self, modality: Modality, kind: Modality) -> float:
        """Return the chance level of one kind of question."""
        level = self.backgrounds.threshold(modality, {kind})
        if level is None:
            raise RuntimeError("the library is empty")
        return level


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure the adaptive cut-off.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    data = Path(os.environ["MMSEARCH_TEST_DATA"])
    encoder = load_encoder(asked.model)
    work = WORK / "cutoff" / encoder.space.digest[:16]
    captions = read_captions(data / "flickr8k", "dev")
    dev = library(work / "dev", encoder, captions.photos, captions.texts)
    far = library(work / "unlabelled", encoder, sorted((data / "unlabelled/images").iterdir()))
    nonsense = {
        name: encoder.encode_texts(texts)
        for name, texts in families(known_words(data / "flickr8k"), asked.seed).items()
    }
    order = np.random.default_rng(_CHOSEN).permutation(len(captions.photos))
    half = order >= len(captions.photos) // 2
    vectors = encoder.encode_texts(captions.texts)
    facts: Facts = {"machine": machine(), "model": encoder.space.name}
    facts["sentences ask photos"] = of_photos(dev, captions, vectors, half, nonsense)
    facts["sentences ask other photos"] = of_other_photos(
        far, vectors[half[captions.owner]], nonsense
    )
    facts["sentences ask sentences"] = of_sentences(dev, captions, vectors, half, nonsense)
    facts["photos ask"] = by_photos(dev, captions, half, asked.seed)
    keep(f"cutoff-{encoder.space.name}", facts)
    for name, found in facts.items():
        if name not in {"machine", "model"}:
            say(
                f"\n{name}\n"
                + table(["", ""], [[key, shown(value)] for key, value in found.items()])
            )


def of_photos(
    dev: Asked, captions: Captions, vectors: Vectors, half: Bools, nonsense: Mapping[str, Vectors]
) -> Facts:
    """Measure sentences that ask for the photos they belong to, and for nothing."""
    chosen = half[captions.owner]
    level = dev.level(Modality.IMAGE, Modality.TEXT)
    ids, scores = dev.answers(vectors[chosen], Modality.IMAGE)
    own = photo_ids(dev.catalog, captions.photos)[captions.owner[chosen]]
    true = ids == own[:, np.newaxis]
    pairs = np.sum(dev.catalog.vectors(dev.encoder.space, own) * vectors[chosen], axis=1)
    reached = {name: dev.scores(rows, Modality.IMAGE) for name, rows in nonsense.items()}
    facts: Facts = {
        "level": level,
        "captions": int(chosen.sum()),
        "R@10": float(true.any(axis=1).mean()),
        "true matches kept": above(scores[true], level),
        "all pairs kept": above(pairs, level),
        "other answers dropped": 1 - above(scores[~true], level),
        "questions with an answer left": above(scores.max(axis=1), level),
    }
    facts |= {f"dropped: {name}": 1 - above(got, level) for name, got in reached.items()}
    for moved in _CURVE:
        dropped = [f"{1 - above(got, level + moved):.2f}" for got in reached.values()]
        kept = above(scores[true], level + moved)
        facts[f"at {level + moved:.3f}"] = f"kept {kept:.3f}, dropped {' '.join(dropped)}"
    return facts


def of_other_photos(far: Asked, vectors: Vectors, nonsense: Mapping[str, Vectors]) -> Facts:
    """Measure what is dropped of a library that no caption was written for."""
    level = far.level(Modality.IMAGE, Modality.TEXT)
    scores = far.scores(vectors, Modality.IMAGE)
    facts: Facts = {
        "level": level,
        "captions of other photos: answers dropped": 1 - above(scores, level),
        "captions of other photos: nothing left": 1 - above(scores.max(axis=1), level),
    }
    for name, rows in nonsense.items():
        facts[f"dropped: {name}"] = 1 - above(far.scores(rows, Modality.IMAGE), level)
    return facts


def of_sentences(
    dev: Asked, captions: Captions, vectors: Vectors, half: Bools, nonsense: Mapping[str, Vectors]
) -> Facts:
    """Measure captions that ask for the other captions of their photo."""
    chosen = np.flatnonzero(half[captions.owner])
    level = dev.level(Modality.TEXT, Modality.TEXT)
    ids, scores = dev.answers(vectors[chosen], Modality.TEXT)
    owners, texts = owners_of_sentences(dev.catalog, captions)
    true = np.array(
        [
            [captions.owner[n] in owners[i] and texts[i] != captions.texts[n] for i in row]
            for n, row in zip(chosen.tolist(), ids.tolist(), strict=True)
        ]
    )
    facts: Facts = {"level": level, "true matches kept": above(scores[true], level)}
    for name, rows in nonsense.items():
        facts[f"dropped: {name}"] = 1 - above(dev.scores(rows, Modality.TEXT), level)
    return facts


def by_photos(dev: Asked, captions: Captions, half: Bools, seed: int) -> Facts:
    """Measure photos that ask for their captions, cut ones for the whole, and drawn scenes."""
    encoder = dev.encoder
    numbers = photo_ids(dev.catalog, captions.photos)
    places = np.flatnonzero(half)
    rows = dev.catalog.vectors(encoder.space, numbers[places])
    ids, scores = dev.answers(rows, Modality.TEXT)
    owners, _ = owners_of_sentences(dev.catalog, captions)
    true = np.array(
        [
            [place in owners[i] for i in row]
            for place, row in zip(places.tolist(), ids.tolist(), strict=True)
        ]
    )
    cut = places[::_CROPPED]
    pixels = [decode(captions.photos[place], encoder.preprocessing) for place in cut]
    near, close = dev.answers(encoder.encode_images([turned(p) for p in pixels]), Modality.IMAGE)
    whole = near == numbers[cut][:, np.newaxis]
    drawn = encoder.encode_images(scenes(encoder.preprocessing.size[0], seed))
    texts, images = (dev.level(m, Modality.IMAGE) for m in (Modality.TEXT, Modality.IMAGE))
    return {
        "level for sentences": texts,
        "true captions kept": above(scores[true], texts),
        "scenes ask sentences: dropped": 1 - above(dev.scores(drawn, Modality.TEXT), texts),
        "level for photos": images,
        "cut and turned photos: whole one kept": above(close[whole], images),
        "scenes ask photos: dropped": 1 - above(dev.scores(drawn, Modality.IMAGE), images),
    }


def above(scores: Scores, level: float) -> float:
    """Return how many of the cosines are better than chance."""
    return float((scores > level).mean())


def photo_ids(catalog: Catalog, photos: Sequence[Path]) -> Ids:
    """Return the ids of photos, in their order."""
    rows = catalog.rows("SELECT path, id FROM items WHERE path IS NOT NULL")
    by_path = {os.fsdecode(path): number for path, number in rows}
    return np.array([by_path[str(photo)] for photo in photos], dtype=np.int64)


def owners_of_sentences(
    catalog: Catalog, captions: Captions
) -> tuple[Mapping[int, set[int]], Mapping[int, str]]:
    """Return, by id, whose caption a sentence is (several photos may share one), and its text."""
    owners: dict[str, set[int]] = {}
    for text, owner in zip(captions.texts, captions.owner.tolist(), strict=True):
        owners.setdefault(text, set()).add(owner)
    texts = dict(catalog.rows("SELECT id, text FROM items WHERE text IS NOT NULL"))
    return {number: owners[text] for number, text in texts.items()}, texts


def turned(pixels: Pixels) -> Pixels:
    """Return a picture without its borders, mirrored, in the same size."""
    height, width, _ = pixels.shape
    box = (width // 5, height // 5, width - width // 8, height - height // 6)
    cut = Image.fromarray(pixels).crop(box).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(cut.resize((width, height)))


def scenes(size: int, seed: int) -> list[Pixels]:
    """Return drawn scenes: pictures, and no photos."""
    generator = np.random.default_rng(seed)
    combinations = split_combinations(generator)[Split.TRAIN]
    drawn = sample_scenes(combinations, _SCENES, generator)
    return [np.asarray(draw_scene(scene, size, generator)) for scene in drawn]


def read_captions(folder: Path, split: str) -> Captions:
    """Read a split of Flickr8k."""
    with (folder / f"captions_{split}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    places = {name: place for place, name in enumerate(dict.fromkeys(r["image"] for r in rows))}
    photos = [(folder / "images" / name).resolve() for name in places]
    owner = np.array([places[row["image"]] for row in rows])
    return Captions(photos, [row["caption"].strip() for row in rows], owner)


def known_words(folder: Path) -> Mapping[str, int]:
    """Return the words that a model of these captions knows, with how often they occur."""
    texts = read_captions(folder, "train").texts
    words = Counter(word.strip(".,!?\"'").lower() for text in texts for word in text.split())
    return {word: n for word, n in words.items() if word.isalpha() and n >= _LEAST_KNOWN}


def library(
    directory: Path, encoder: Encoder, photos: Sequence[Path], texts: Sequence[str] = ()
) -> Asked:
    """Return a library of some photos and sentences, filled unless it is."""
    Catalog.open(directory, write=True).close()
    catalog = Catalog.open(directory)
    indexes = IndexStore(catalog, directory)
    if catalog.counts().items == 0:
        say(f"indexing {len(photos):,} photos and {len(texts):,} sentences")
        filling = Library(catalog, indexes, encoder)
        filling.add(photos)
        filling.add_texts(texts)
    return Asked(catalog, indexes, encoder, Backgrounds(catalog, indexes, encoder, encoder.space))


def shown(value: object) -> str:
    """Return a figure for people."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
