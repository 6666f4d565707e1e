"""The loop on features whose captions name them: it learns, it resumes exactly."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from mmsearch.errors import ModelError
from mmsearch.retrieval.vse.batches import FeatureSource, Split
from mmsearch.retrieval.vse.config import TrainConfig, preset
from mmsearch.retrieval.vse.model import JointModel, build_model, embed_split, evaluating
from mmsearch.retrieval.vse.trainer import Trainer

CLASSES = 12


def split(count: int, seed: int) -> Split:
    """Each image is one of twelve noisy prototypes; its two captions name the prototype."""
    generator = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).normal(size=(CLASSES, 8))
    kinds = np.arange(count) % CLASSES
    features = prototypes[kinds] + generator.normal(size=(count, 8)) * 0.1
    owner = np.repeat(np.arange(count), 2)
    tokens = np.stack([[1, 4 + kinds[image], 2] for image in owner])
    return Split(
        FeatureSource(torch.tensor(features, dtype=torch.float32)),
        tokens.astype(np.int64),
        np.full(len(owner), 3),
        owner,
    )


@dataclass
class Listener:
    records: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    on_each_step: Callable[[int, int], None] | None = None

    def on_step(self, epoch: int, step: int, steps: int, loss: float, pairs: int) -> None:
        if self.on_each_step:
            self.on_each_step(epoch, step)

    def on_epoch(self, record: dict[str, Any]) -> None:
        self.records.append({k: v for k, v in record.items() if "seconds" not in k})

    def on_message(self, message: str) -> None:
        self.messages.append(message)


@dataclass
class Checkpoints:
    """Keeps what a run folder would."""

    kept: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)

    def save(self, name: str, trainer: Trainer) -> None:
        self.kept[name] = copy.deepcopy((trainer.model.state_dict(), trainer.state_dict()))


SMALL = {
    "word_dim": 8,
    "hidden_dim": 8,
    "embed_dim": 8,
    "batch_size": 8,
    "epochs": 4,
    "lr": 0.01,
    "warmup_steps": 5,
    "seed": 3,
}


def new_model(config: TrainConfig) -> JointModel:
    torch.manual_seed(config.seed)
    return build_model(config, features=8, vocabulary_size=4 + CLASSES, backbone=None)


def trainer_of(config: TrainConfig, listener: Listener, checkpoints: Checkpoints) -> Trainer:
    return Trainer(
        config, new_model(config), split(60, 1), split(12, 2), listener, checkpoints.save
    )


def test_training_learns_what_the_captions_name() -> None:
    listener = Listener()
    trainer_of(preset("default", **{**SMALL, "epochs": 12}), listener, Checkpoints()).run()
    rsums = [record["rsum"] for record in listener.records]
    assert rsums[-1] > 550
    assert [record["epoch"] for record in listener.records] == list(range(1, 13))
    assert listener.records[-1]["best_rsum"] == max(rsums)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("stop_at", [(2, 5), (3, 15), (1, 1)])
def test_an_interrupted_run_equals_an_uninterrupted_one(
    stop_at: tuple[int, int], ema: float
) -> None:
    config = preset("default", **SMALL, ema=ema)
    whole, whole_kept = Listener(), Checkpoints()
    trainer_of(config, whole, whole_kept).run()

    first, kept = Listener(), Checkpoints()
    trainer = trainer_of(config, first, kept)

    def stop(epoch: int, step: int) -> None:
        trainer.stopping = (epoch, step) == stop_at

    first.on_each_step = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.run()

    second = Listener()
    again = trainer_of(config, second, kept)
    weights, state = kept.kept["last"]
    again.model.load_state_dict(weights)
    again.load_state_dict(state)
    again.run()

    assert first.records + second.records == whole.records
    for name, tensor in whole_kept.kept["last"][0].items():
        assert torch.equal(tensor, kept.kept["last"][0][name]), name


def test_the_best_epoch_is_kept_and_its_weights_give_its_figures() -> None:
    listener, kept = Listener(), Checkpoints()
    config = preset("default", **SMALL, ema=0.9)
    trainer = trainer_of(config, listener, kept)
    trainer.run()
    best = max(record["rsum"] for record in listener.records)
    trainer.model.load_state_dict(kept.kept["best"][0])
    assert trainer.validate().rsum == best == trainer.progress.best_rsum


def test_patience_stops_a_run_that_no_longer_gains() -> None:
    listener = Listener()
    config = preset("default", **{**SMALL, "epochs": 50, "lr": 1e-9}, patience=3)
    trainer_of(config, listener, Checkpoints()).run()
    best = max(listener.records, key=lambda record: record["rsum"])
    assert len(listener.records) <= best["epoch"] + 3 < 50


def test_a_loss_that_is_not_finite_ends_the_run_with_advice() -> None:
    trainer = trainer_of(preset("default", **SMALL), Listener(), Checkpoints())
    with torch.no_grad():
        trainer.model.head.projection.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="lower --lr"):
        trainer.run()


def test_a_collapsed_space_is_reported_and_left() -> None:
    """Every image the same: the hardest negative ties with the positive, 2 · margin for ever."""
    listener = Listener()
    config = preset("vsepp", **SMALL, plateau_epochs=0.5)
    flat = split(60, 1)
    flat = Split(FeatureSource(torch.ones(60, 8)), flat.tokens, flat.lengths, flat.owner)
    model = new_model(config)
    with torch.no_grad():
        model.text.embedding.weight.zero_()
    Trainer(config, model, flat, split(12, 2), listener, Checkpoints().save).run()
    assert any("collapsed" in message for message in listener.messages)


def test_validation_leaves_the_model_in_training_mode() -> None:
    trainer = trainer_of(preset("default", **SMALL), Listener(), Checkpoints())
    trainer.model.train()
    trainer.model.head.dropout.eval()
    trainer.validate()
    assert trainer.model.training
    assert trainer.model.text.training
    assert not trainer.model.head.dropout.training


def test_evaluating_turns_gradients_off() -> None:
    model = new_model(preset("default", **SMALL))
    with evaluating(model):
        assert not torch.is_grad_enabled()
        assert not model.training
    assert model.training


def test_embedding_a_split_keeps_the_order_of_captions() -> None:
    config = preset("default", **SMALL)
    model = new_model(config).eval()
    one = split(12, 2)
    lengths = one.lengths.copy()
    lengths[::2] = 2
    mixed = Split(one.images, one.tokens, lengths, one.owner)
    _, texts = embed_split(model, mixed, batch_size=5)
    with torch.inference_mode():
        for row in (0, 1, 7, 23):
            tokens, length = mixed.texts(np.array([row]))
            np.testing.assert_allclose(
                model.embed_texts(tokens, length)[0].numpy(), texts[row], atol=1e-6
            )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_products_stay_close_to_float32(precision: str) -> None:
    full, low = Listener(), Listener()
    trainer_of(preset("default", **SMALL), full, Checkpoints()).run()
    trainer_of(preset("default", **SMALL, precision=precision), low, Checkpoints()).run()
    assert low.records[0]["loss"] == pytest.approx(full.records[0]["loss"], rel=0.02)


def test_a_resumed_fp16_run_goes_on_with_the_scale_it_had() -> None:
    config = preset("default", **SMALL, precision="fp16")
    kept = Checkpoints()
    trainer = trainer_of(config, Listener(), kept)
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 1024.0})
    again = trainer_of(config, Listener(), kept)
    again.load_state_dict(trainer.state_dict())
    assert again.scaler.get_scale() == 1024.0
    assert not trainer_of(preset("default", **SMALL), Listener(), kept).scaler.is_enabled()
