"""The end of a run: the best weights become a model folder, a model card and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mmsearch.errors import DecodeError
from mmsearch.retrieval.captions import CaptionedImage
from mmsearch.retrieval.decode import read_image
from mmsearch.retrieval.metrics import Metrics, Ranks, chance, metrics, ranks
from mmsearch.retrieval.vse.backbone import Backbone, weights_digest
from mmsearch.retrieval.vse.card import ModelCard, render_card
from mmsearch.retrieval.vse.curves import draw_curves
from mmsearch.retrieval.vse.export import Exported, ExportSpec, Samples, Towers, export_model
from mmsearch.retrieval.vse.image import ImageTower
from mmsearch.retrieval.vse.model import embed_split
from mmsearch.retrieval.vse.report import versions
from mmsearch.retrieval.vse.trainer import Trainer

APART = {"backbone_weights", "licence", "threads"}
"""Settings that are no part of the recipe: a place, a legal text, a machine."""
SAMPLES = 64
"""Pictures and sentences of the dev split on which the export is compared with torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A trained model and what it was made from; the trainer holds the best weights."""

    trainer: Trainer
    backbone: Backbone
    tokenizer: Tokenizer
    train_images: Sequence[CaptionedImage]
    dev_images: Sequence[CaptionedImage]
    data_name: str
    data_digest: str


def finish(run: Path, done: Finished, records: Sequence[Mapping[str, Any]]) -> Exported:
    """Write `model/`, `README.md` and `curves.png` into the run folder.

    Raises ModelError when the exported towers differ from torch.
    """
    found, by_chance = _measure(done.trainer)
    best = {**records[done.trainer.progress.best_epoch - 1], **found.as_dict()}
    facts = _facts(done, best)
    spec = ExportSpec(
        name=run.resolve().name,  # also where it is `.`
        length=done.trainer.config.max_length,
        licence=done.trainer.config.licence,
        source=facts["recipe"],
        data=facts["data"],
        metrics={"split": "dev", **found.as_dict(), "chance": by_chance.as_dict()},
    )
    towers = Towers(
        image=ImageTower(done.backbone, done.trainer.model.head),
        text=done.trainer.model.text,
        tokenizer=done.tokenizer,
        preprocessing=done.backbone.preprocessing,
    )
    exported = export_model(towers, spec, _samples(done.dev_images), run / "model")
    card = render_card(
        ModelCard(
            name=spec.name,
            dim=done.trainer.config.embed_dim,
            seed=done.trainer.config.seed,
            best=best,
            chance=by_chance,
            data=facts["data"],
            recipe=facts["recipe"],
            versions=versions(),
            agreement=exported.agreement,
            licence=done.trainer.config.licence,
        )
    )
    for file in (run / "README.md", run / "model" / "README.md"):
        file.write_text(card, encoding="utf-8")
    draw_curves(records, run / "curves.png", chance=by_chance)
    return exported


def _measure(trainer: Trainer) -> tuple[Metrics, Metrics]:
    """Return the figures of the weights that the trainer holds, and those of chance."""
    images, texts = embed_split(trainer.model, trainer.dev, device=trainer.device)
    found: Ranks = ranks(images, texts, trainer.dev.owner)
    return metrics(found), chance(found)


def _facts(done: Finished, best: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    config = done.trainer.config
    data = {
        "name": done.data_name,
        "digest": done.data_digest,
        "train_images": len(done.train_images),
        "train_captions": sum(len(image.captions) for image in done.train_images),
        "dev_images": len(done.dev_images),
        "dev_captions": sum(len(image.captions) for image in done.dev_images),
    }
    recipe = {
        "trained_by": "mmsearch train",
        "backbone": done.backbone.name,
        "backbone_weights": "trained from random initialisation"
        if config.image_encoder == "cnn"
        else f"sha256:{weights_digest(done.backbone)}",
        "epoch": best["epoch"],
        "training_seconds": best["seconds"],
        **{key: value for key, value in config.as_dict().items() if key not in APART},
    }
    return {"data": data, "recipe": recipe}


def _samples(images: Sequence[CaptionedImage]) -> Samples:
    """Read up to SAMPLES pictures, spread over the split, and take one caption of each."""
    pictures, sentences = [], []
    for image in images[:: max(1, len(images) // SAMPLES)][:SAMPLES]:
        try:
            pictures.append(read_image(image.path))
        except DecodeError:
            continue  # reported when the split was read
        sentences.append(image.captions[0])
    return Samples(pictures, sentences)
