"""The model card: what was learnt from what, how well, and what not to expect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmsearch.retrieval.metrics import Metrics
from mmsearch.retrieval.vse.agreement import Agreement

COLUMNS = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "medr": "MedR", "meanr": "MeanR"}
DIRECTIONS = {"i2t": "image to text", "t2i": "text to image"}

# What holds for every model that `mmsearch train` makes.
ALWAYS = (
    (
        "The development split chose the epoch, so its figures are a little too good. "
        "Those of a split never looked at are the fair ones."
    ),
    (
        "It knows the words and the kinds of pictures it was trained on. A word it never saw "
        "is read as unknown, and other kinds of pictures may land anywhere."
    ),
    (
        "What is unbalanced or unfair in the captions is learnt with the rest. "
        "Not for decisions about people."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What the card says.

    `best` is the record of the epoch kept, as in metrics.jsonl; `data` and `recipe` are shown
    as they are, in order; `limits` are sentences of this model, beside those of every model.
    """

    name: str
    dim: int
    seed: int
    best: Mapping[str, Any]
    chance: Metrics | None
    data: Mapping[str, object]
    recipe: Mapping[str, object]
    versions: Mapping[str, str]
    agreement: Agreement | None = None
    licence: str = ""
    limits: Sequence[str] = field(default_factory=tuple)


def render_card(card: ModelCard) -> str:
    """Return the card as Markdown."""
    parts = [
        f"# {card.name}",
        (
            f"A joint embedding space of pictures and sentences, {card.dim} dimensions, trained by "
            f"`mmsearch train` with seed {card.seed}."
        ),
        '```\nmmsearch index PHOTOS --model THIS_FOLDER\nmmsearch query "a sentence"\n```',
        "## Figures",
        _figures(card),
        "## Data",
        _table(card.data),
        "## Recipe",
        _table({**card.recipe, "seed": card.seed}),
        *_export(card.agreement),
        "## Limits",
        _limits(card),
        "## Licence",
        card.licence or "Not stated. The weights derive from the data and backbone named above.",
        "## Versions",
        _table(card.versions),
    ]
    return "\n\n".join(parts) + "\n"


def _figures(card: ModelCard) -> str:
    best = card.best
    lines = [
        (
            f"Development split, {best['images']} images, {best['captions']} captions, epoch "
            f"{best['epoch']}. Percent for R@K, ranks for MedR and MeanR."
        ),
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for key, name in DIRECTIONS.items():
        lines.append(_row(name, best[key]))
        if card.chance is not None:
            lines.append(_row(f"{name}, by chance", card.chance.as_dict()[key]))
    chance = "" if card.chance is None else f" (by chance {card.chance.rsum:.1f})"
    lines += ["", f"rsum **{best['rsum']:.1f}** of 600{chance}."]
    return "\n".join(lines)


def _row(name: str, direction: Any) -> str:
    return f"| {name} | " + " | ".join(f"{direction[key]:.1f}" for key in COLUMNS) + " |"


def _table(facts: Mapping[str, object]) -> str:
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _export(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return []
    lines = [
        (
            "The ONNX towers against torch, on pictures and captions of the development split, at "
            "the worst sample:"
        ),
        "",
    ]
    for name, tower in (("image", agreement.image), ("text", agreement.text)):
        if tower is not None:
            lines.append(
                f"- {name} tower, {tower.samples} samples: cosine {tower.cosine:.6f}, around the "
                f"mean {tower.centred_cosine:.6f}; alone or in a batch within {tower.alone:.0e}"
            )
    lines.append(f"- neighbours change places by at most {agreement.inversion:.0e}")
    return ["## Export", "\n".join(lines)]


def _limits(card: ModelCard) -> str:
    return "\n".join(f"- {limit}" for limit in (*ALWAYS, *card.limits))
