"""How well labels that the model gives fit, with the thresholds that a library calibrates.

    MMSEARCH_TEST_DATA=FOLDER python benchmarks/zero_shot.py --model MODEL

The photos are the dev split of `flickr8k`; a label is true of a photo when two of its five captions
have the word, or its plural. That is strict: captions leave out much of what a photo shows.
Compared are the calibrated thresholds; the single cosine that is best for all labels, chosen with
the truth at hand, which nobody has, and the one that is best for the other set of labels; and the
n nearest photos of each label: by precision, recall and F1 over all labels and photos, and by how
many photos labels get that fit none.

The labels `SEEN` were looked at while the method was chosen; the figures are of the others.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from cutoff import Captions, library, photo_ids, read_captions
from measuring import WORK, Facts, keep, machine, say, table
from numpy.typing import NDArray

from mmsearch.core import Modality
from mmsearch.retrieval.empirical_null import label_threshold
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.vocabulary import unknown_words
from mmsearch.retrieval.zero_shot import PLACE, cosines

LABELS: Final = (
    "jacket hat sand ocean wave bicycle skier surfer player soccer tennis wall window road "
    "sidewalk lake mud stick toy camera dress uniform couple people stairs swing cliff park "
    "frisbee waterfall cyclist puppy leash tent hill"
)
SEEN: Final = (
    "dog man woman boy girl child baby water snow beach grass ball bike street mountain rock tree "
    "car horse football basketball skateboard pool bench fence boat snowboard helmet guitar "
    "motorcycle river field crowd building"
)
NONE: Final = (
    "parliament theorem invoices chemistry spreadsheet diabetes pension vaccine copyright algebra "
    "lecture satellite thermometer giraffe whale cactus cathedral bacteria dinosaur sushi "
    "xylophone lighthouse volcano penguin submarine elephant qwzzt plorfen mortgage jurisprudence"
)
SEEN_NONE: Final = (
    "invoice syzygy democracy polynomial xqzvt grammar epistemology inflation algorithm molecule "
    "password treaty electricity piano spaceship microscope pizza castle skeleton"
)
TEMPLATES: Final = (PLACE, "a photo of {}", "a {} in the picture", "there is a {}")
_PLURALS: Final = {
    "man": "men", "woman": "women", "child": "children", "baby": "babies", "people": "person",
    "bench": "benches", "beach": "beaches", "couple": "couples", "puppy": "puppies",
    "dress": "dresses", "toy": "toys", "stairs": "stair", "leash": "leashes",
}  # fmt: skip
_TRUE: Final = 2  # captions that have the word
_NEAREST: Final = (10, 20, 50, 100)

Scores: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure labels given by the model.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--seen", action="store_true", help="measure with the labels looked at")
    asked = parser.parse_args()
    encoder = load_encoder(asked.model)
    captions = read_captions(Path(os.environ["MMSEARCH_TEST_DATA"]) / "flickr8k", "dev")
    dev = library(
        WORK / "cutoff" / encoder.space.digest[:16] / "dev",
        encoder,
        captions.photos,
        captions.texts,
    )
    names, fitting_none = (SEEN, SEEN_NONE) if asked.seen else (LABELS, NONE)
    known = [name for name in names.split() if not unknown_words(encoder, name)]
    strange = [name for name in fitting_none.split() if unknown_words(encoder, name)]
    true = truth(captions, known)
    order = np.argsort(photo_ids(dev.catalog, captions.photos))
    chance = dev.level(Modality.IMAGE, Modality.TEXT)
    others = (LABELS if asked.seen else SEEN).split()
    true_others = truth(captions, others)[:, order]
    facts: Facts = {
        "machine": machine(),
        "model": encoder.space.name,
        "labels": len(known),
        "true pairs": int(true.sum()),
        "labels that fit none": len(fitting_none.split()),
        "of these with words that the model does not know, given to nothing": len(strange),
    }
    for template in TEMPLATES:

        def scores(labels: Sequence[str], template: str = template) -> Scores:
            prompts = encoder.encode_texts([template.replace(PLACE, label) for label in labels])
            return cosines(dev.catalog, encoder.space, prompts)[1]

        facts[template] = compared(
            scores(known),
            true[:, order],
            none=scores(fitting_none.split()),
            chance=chance,
            elsewhere=best_cosine(scores(others), true_others),
        )
    keep(f"zero-shot-{encoder.space.name}{'-seen' if asked.seen else ''}", facts)
    say(", ".join(f"{key}: {facts[key]}" for key in list(facts)[2:6]))
    for template in TEMPLATES:
        rows = [
            [way, *(f"{found[key]:.3f}" for key in ("precision", "recall", "F1")),
             f"{100 * found['fitting none']:.2f} %"]
            for way, found in facts[template].items()
        ]  # fmt: skip
        header = [template, "precision", "recall", "F1", "photos with a label that fits none"]
        say("\n" + table(header, rows))


def truth(captions: Captions, names: Sequence[str]) -> Bools:
    """Return (labels, photos): where at least two captions have the word."""
    counts = np.zeros((len(names), len(captions.photos)), dtype=np.int64)
    for place, name in enumerate(names):
        word = re.compile(rf"\b({name}|{_PLURALS.get(name, name + 's')})\b")
        for text, owner in zip(captions.texts, captions.owner.tolist(), strict=True):
            counts[place, owner] += word.search(text.lower()) is not None
    return counts >= _TRUE


def best_cosine(scores: Scores, true: Bools) -> float:
    """Return the cosine from which on labels are given with the best F1."""
    levels = [float(level) for level in np.quantile(scores, np.linspace(0.5, 0.999, 500))]
    return max(levels, key=lambda level: _figures(scores >= level, true)["F1"])


def compared(
    scores: Scores, true: Bools, *, none: Scores, chance: float, elsewhere: float
) -> Facts:
    """Return precision, recall and F1 of each way, and how often it gives what fits none.

    `scores` and `true` are (labels, photos), `none` the cosines of labels that fit none;
    `elsewhere` is the best cosine for other labels.
    """
    fixed = best_cosine(scores, true)
    ways: dict[str, Callable[[Scores], float]] = {
        "calibrated": lambda row: _or_infinity(label_threshold(row, chance)),
        "calibrated, without the chance level": lambda row: _or_infinity(
            label_threshold(row, None)
        ),
        f"best fixed cosine ({fixed:.3f})": lambda _: fixed,
        f"best fixed cosine of other labels ({elsewhere:.3f})": lambda _: elsewhere,
        "chance level alone": lambda _: float(np.nextafter(np.float32(chance), np.float32(1))),
    }
    for nearest in _NEAREST:
        ways[f"the {nearest} nearest"] = lambda row, n=nearest: float(np.sort(row)[-n])  # type: ignore[misc]
    return {
        way: {
            **_figures(_given(scores, level), true),
            "fitting none": float(_given(none, level).mean()),
        }
        for way, level in ways.items()
    }


def _given(scores: Scores, level: Callable[[Scores], float]) -> Bools:
    return np.stack([row >= level(row) for row in scores])


def _or_infinity(level: float | None) -> float:
    return np.inf if level is None else level


def _figures(given: Bools, true: Bools) -> dict[str, float]:
    right = float((given & true).sum())
    return {
        "precision": right / max(1, int(given.sum())),
        "recall": right / max(1, int(true.sum())),
        "F1": 2 * right / max(1, int(given.sum()) + int(true.sum())),
    }


if __name__ == "__main__":
    main()
