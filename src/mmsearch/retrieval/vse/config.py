"""Settings of a training run: validated when built, saved beside what they made."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
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
    """Arithmetic of the towers; `auto` is bf16 on a GPU and fp32 on a CPU."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Every setting of a run. The defaults are the `default` preset.

    Sizes are in units (features, words, pixels), rates per step, `margin` in cosine.
    """

    preset: str = "default"
    seed: int = 0

    image_encoder: str = "cnn"
    backbone_weights: str | None = None
    image_size: int = 128
    cnn_width: int = 32
    finetune: bool = False
    finetune_lr_scale: float = 0.1
    augment: bool = False
    flip: bool = False
    image_head: HeadKind = HeadKind.LINEAR
    feature_norm: FeatureNorm = FeatureNorm.STANDARDIZE
    feature_dropout: float = 0.3
    embed_dim: int = 1024

    text_encoder: TextKind = TextKind.GRU
    text_pooling: Pooling = Pooling.MEAN
    text_skip: bool = True
    vocabulary: VocabularyKind = VocabularyKind.WORDS
    vocabulary_size: int = 30_000
    min_count: int = 2
    max_length: int = 64
    word_dim: int = 300
    hidden_dim: int = 512
    word_dropout: float = 0.2
    dropout: float = 0.3

    margin: float = 0.2
    mining: Mining = Mining.AUTO
    mining_gap: float = 0.0
    plateau_epochs: float = 0.5
    contrastive: float = 0.5
    temperature: float = 0.07

    epochs: int = 15
    batch_size: int = 128
    captions_per_image: int = 1
    optimizer: Optimizer = Optimizer.ADAMW
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = Schedule.COSINE
    lr_step: int = 15
    warmup_steps: int = 100
    grad_clip: float = 1.0
    ema: float = 0.0
    patience: int = 0
    val_fraction: float = 0.1
    precision: Precision = Precision.AUTO
    threads: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name))
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"{name} = {getattr(self, name)} is out of range; use {low} to {high}"
                )
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
_UNBOUNDED = float("inf")
_RANGES: dict[str, tuple[float, float]] = {
    "image_size": (16, 1024),
    "cnn_width": (4, 512),
    "finetune_lr_scale": (0, 10),
    "feature_dropout": (0, 0.95),
    "embed_dim": (2, 65_536),
    "vocabulary_size": (8, 1_000_000),
    "min_count": (1, _UNBOUNDED),
    "max_length": (4, 4096),
    "word_dim": (1, 65_536),
    "hidden_dim": (1, 65_536),
    "word_dropout": (0, 0.95),
    "dropout": (0, 0.95),
    "margin": (0, 2),
    "mining_gap": (-2, 2),
    "plateau_epochs": (0, _UNBOUNDED),
    "contrastive": (0, 1),
    "temperature": (1e-3, 10),
    "epochs": (1, 100_000),
    "batch_size": (2, 1_000_000),
    "captions_per_image": (1, 1000),
    "lr": (1e-9, 100),
    "weight_decay": (0, 10),
    "lr_step": (1, _UNBOUNDED),
    "warmup_steps": (0, _UNBOUNDED),
    "grad_clip": (0, _UNBOUNDED),
    "ema": (0, 0.99999),
    "patience": (0, _UNBOUNDED),
    "val_fraction": (0, 0.9),
    "threads": (0, 1024),
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    # Faghri et al., BMVC 2018. The reference clips the gradient of the loss summed over 128 pairs
    # at norm 2; the loss here is a mean over pairs, hence 2 / 128.
    "vsepp": {
        "feature_norm": FeatureNorm.L2,
        "feature_dropout": 0.0,
        "text_pooling": Pooling.LAST,
        "text_skip": False,
        "hidden_dim": 1024,
        "min_count": 4,
        "word_dropout": 0.0,
        "dropout": 0.0,
        "mining": Mining.HARDEST,
        "plateau_epochs": 5.0,
        "contrastive": 0.0,
        "epochs": 30,
        "optimizer": Optimizer.ADAM,
        "lr": 2e-4,
        "weight_decay": 0.0,
        "schedule": Schedule.STEP,
        "warmup_steps": 0,
        "grad_clip": 2 / 128,
    },
}
PRESETS = {**PRESETS, "vse0": {**PRESETS["vsepp"], "mining": Mining.ALL}}


def preset(name: str, **overrides: Any) -> TrainConfig:
    """Return the settings of a preset with some replaced.

    Raises ConfigError for an unknown preset or setting (naming the nearest), or a bad value.
    """
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


def _check_type(name: str, value: Any) -> None:
    hint = _HINTS[name]
    good = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    if not good:
        wanted = getattr(hint, "__name__", str(hint))
        raise ConfigError(f"{name} = {value!r} must be of type {wanted}")
