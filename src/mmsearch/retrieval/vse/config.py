"""Settings of a training run: validated when built, saved beside what they made."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from mmsearch.errors import ConfigError


class TextKind(StrEnum):
    """Recurrent network that reads a caption."""

    GRU = "gru"
    BIGRU = "bigru"
    LSTM = "lstm"


class Pooling(StrEnum):
    """How the states of a caption's words become one vector."""

    LAST = "last"
    MEAN = "mean"
    MAX = "max"


class VocabularyKind(StrEnum):
    """Unit of the vocabulary: whole words as in the paper, or byte-level BPE."""

    WORDS = "words"
    BPE = "bpe"


class FeatureNorm(StrEnum):
    """What is done to backbone features before the projection head."""

    L2 = "l2"
    STANDARDIZE = "standardize"
    POWER = "power"


class HeadKind(StrEnum):
    """Projection head of the image tower."""

    LINEAR = "linear"
    MLP = "mlp"


class Mining(StrEnum):
    """Which in-batch negatives the triplet loss looks at."""

    AUTO = "auto"
    SEMI_HARD = "semi-hard"
    HARDEST = "hardest"
    ALL = "all"


class Optimizer(StrEnum):
    """Update rule."""

    ADAM = "adam"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """Learning rate over the run."""

    STEP = "step"
    COSINE = "cosine"


class Precision(StrEnum):
    """Arithmetic of the towers; `auto` is bf16 on a GPU (fp16 on an old one), fp32 on a CPU."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


def _setting(default: Any, about: str, low: float = 0, high: float = float("inf")) -> Any:
    """Declare a setting: its default, what it does, and its range when it is a number."""
    return field(default=default, metadata={"help": about, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Every setting of a run; the defaults are the `default` preset.

    Each field carries its help, which is also the command's, and its range. Raises ConfigError
    when a value has the wrong type or is out of range.
    """

    preset: str = _setting("default", "Named recipe that the other settings start from.")
    licence: str = _setting("", "Licence of the weights, for the model card and model.json.")
    seed: int = _setting(0, "Seed of weights, order and dropout.")

    image_encoder: str = _setting("cnn", "cnn (from scratch) or timm:NAME (frozen backbone).")
    backbone_weights: str = _setting("", "safetensors file of the backbone, instead of the hub's.")
    image_size: int = _setting(128, "Side of the pictures in pixels, for cnn.", 16, 1024)
    cnn_width: int = _setting(32, "Channels at the stem of cnn.", 4, 512)
    finetune: bool = _setting(False, "Train the backbone too, batch-norm statistics frozen.")
    finetune_lr_scale: float = _setting(0.1, "Backbone's learning rate over the heads'.", 0, 10)
    augment: bool = _setting(False, "Cut and scale pictures at random (trained backbones).")
    flip: bool = _setting(
        False, "Mirror pictures (and every second view); wrong where captions say left."
    )
    image_head: HeadKind = _setting(HeadKind.LINEAR, "Projection of the image features.")
    feature_norm: FeatureNorm = _setting(
        FeatureNorm.POWER,
        "l2; standardize (by train statistics); power (square root, then standardize).",
    )
    feature_views: int = _setting(
        3, "Random cuts of each training picture to take features of (frozen backbones).", 0, 100
    )
    feature_dropout: float = _setting(0.3, "Dropout of image features.", 0, 0.95)
    embed_dim: int = _setting(1024, "Width of the joint space.", 2, 65_536)

    text_encoder: TextKind = _setting(TextKind.GRU, "Recurrent network over the words.")
    text_pooling: Pooling = _setting(Pooling.MEAN, "How word states become one vector.")
    text_skip: bool = _setting(True, "Add the projected mean of the word embeddings.")
    vocabulary: VocabularyKind = _setting(VocabularyKind.WORDS, "Words as the paper, or BPE.")
    vocabulary_size: int = _setting(30_000, "Most entries of the vocabulary.", 8, 1_000_000)
    min_count: int = _setting(2, "How often a word must stand in train.", 1)
    max_length: int = _setting(64, "Most tokens of a caption, start and end included.", 4, 4096)
    word_dim: int = _setting(300, "Width of the word embeddings.", 1, 65_536)
    hidden_dim: int = _setting(512, "Width of the recurrent state.", 1, 65_536)
    word_dropout: float = _setting(0.2, "Share of words read as unknown in training.", 0, 0.95)
    dropout: float = _setting(0.3, "Dropout of word embeddings and of the pooled state.", 0, 0.95)

    margin: float = _setting(0.2, "Margin of the triplet loss, in cosine.", 0, 2)
    mining: Mining = _setting(Mining.AUTO, "Negatives that the triplet loss looks at.")
    mining_gap: float = _setting(
        0.0, "auto turns to the hardest at this mean(positive) - mean(hardest).", -2, 2
    )
    plateau_epochs: float = _setting(0.5, "Epochs at 2 x margin that count as a collapse.")
    contrastive: float = _setting(0.5, "Share of InfoNCE in the loss; the rest is triplet.", 0, 1)
    temperature: float = _setting(0.07, "Temperature of InfoNCE.", 1e-3, 10)

    epochs: int = _setting(12, "Passes over all captions.", 1)
    batch_size: int = _setting(128, "Image-caption pairs a step.", 2)
    captions_per_image: int = _setting(1, "Captions of an image that share a batch.", 1)
    optimizer: Optimizer = _setting(Optimizer.ADAMW, "Update rule.")
    adam_eps: float = _setting(1e-8, "Epsilon of Adam's denominator.", 0, 1)
    lr: float = _setting(1e-3, "Learning rate of the heads.", 1e-9, 100)
    weight_decay: float = _setting(0.01, "Decay of weight matrices.", 0, 10)
    schedule: Schedule = _setting(Schedule.COSINE, "Learning rate over the run.")
    lr_step: int = _setting(15, "Epochs between divisions by ten (step schedule).", 1)
    warmup_steps: int = _setting(100, "Steps over which the learning rate rises.")
    grad_clip: float = _setting(1.0, "Largest norm of the gradient of the mean loss; 0 is off.")
    ema: float = _setting(0.0, "Decay of the moving average of weights; 0 is off.", 0, 0.99999)
    patience: int = _setting(0, "Stop after so many epochs without a better rsum; 0 is off.")
    val_fraction: float = _setting(
        0.1, "Share of images held out where no dev split is.", 0.001, 0.9
    )
    precision: Precision = _setting(
        Precision.AUTO, "auto is bf16 on a GPU (fp16 where it lacks bf16), fp32 on a CPU."
    )
    threads: int = _setting(0, "CPU threads; 0 takes all cores this process may use.", 0, 1024)

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(one.name, getattr(self, one.name), one.metadata["low"], one.metadata["high"])
        if self.image_encoder != "cnn" and not self.image_encoder.startswith("timm:"):
            raise ConfigError(
                f"unknown image encoder {self.image_encoder!r}; use 'cnn' or 'timm:NAME'"
            )

    @property
    def end_to_end(self) -> bool:
        """Whether gradients reach the backbone."""
        return self.finetune or self.image_encoder == "cnn"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


_HINTS = get_type_hints(TrainConfig)

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    # Faghri et al., BMVC 2018. The reference sums the loss over 128 pairs, here it is a mean:
    # clipping at norm 2 and Adam's epsilon are divided by 128 for the same steps. (With the usual
    # epsilon the vanishing gradients of the first epochs keep the space collapsed for longer.)
    "vsepp": {
        "feature_norm": FeatureNorm.L2,
        "feature_views": 0,
        "feature_dropout": 0.0,
        "text_pooling": Pooling.LAST,
        "text_skip": False,
        "hidden_dim": 1024,
        "min_count": 4,
        "word_dropout": 0.0,
        "dropout": 0.0,
        "mining": Mining.HARDEST,
        "plateau_epochs": 10.0,
        "contrastive": 0.0,
        "epochs": 30,
        "optimizer": Optimizer.ADAM,
        "lr": 2e-4,
        "weight_decay": 0.0,
        "schedule": Schedule.STEP,
        "warmup_steps": 0,
        "grad_clip": 2 / 128,
        "adam_eps": 1e-8 / 128,
    },
}
PRESETS = {**PRESETS, "vse0": {**PRESETS["vsepp"], "mining": Mining.ALL}}


def preset(name: object, **overrides: Any) -> TrainConfig:
    """Return the settings of a preset with some replaced.

    Raises ConfigError for an unknown preset or setting (naming the nearest), or a bad value.
    """
    if not isinstance(name, str):  # a config file may hold anything
        raise ConfigError(f"preset = {name!r} must be of type str")
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; {_nearest(name, PRESETS)}")
    return with_settings(TrainConfig(preset=name), {**PRESETS[name], **overrides})


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Return `config` with settings replaced; strings become the closed choices they name."""
    values = {}
    for key, value in settings.items():
        name = key.replace("-", "_")
        if name not in _HINTS:
            raise ConfigError(f"unknown setting {key!r}; {_nearest(name, _HINTS)}")
        values[name] = _convert(name, value)
    return replace(config, **values)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read settings from TOML or JSON.

    Raises ConfigError when the file cannot be read or is not one table of settings.
    """
    try:
        raw = path.read_bytes()
        table = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML or JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must hold one table of settings")
    return table


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are: {', '.join(sorted(known))}"


def _convert(name: str, value: Any) -> Any:
    hint = _HINTS[name]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise ConfigError(f"{name} = {value!r} is not one of: {', '.join(hint)}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _check(name: str, value: Any, low: float, high: float) -> None:
    hint = _HINTS[name]
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} = {value!r} must be of type {hint.__name__}")
    if isinstance(value, int | float) and not low <= value <= high:
        raise ConfigError(f"{name} = {value} is out of range; use {low:g} to {high:g}")
