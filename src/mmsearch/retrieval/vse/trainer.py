"""The training loop: steps, validation, checkpoints. Prints nothing; tells an observer."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError
from mmsearch.retrieval.metrics import Metrics, metrics, ranks
from mmsearch.retrieval.vse.batches import Split, epoch_batches
from mmsearch.retrieval.vse.config import Optimizer, Precision, TrainConfig
from mmsearch.retrieval.vse.loss import (
    contrastive_loss,
    gap,
    same_image,
    similarities,
    triplet_loss,
)
from mmsearch.retrieval.vse.mining import MiningSchedule
from mmsearch.retrieval.vse.model import JointModel, embed_split
from mmsearch.retrieval.vse.schedule import learning_rate


class Observer(Protocol):
    """Hears of a run's progress."""

    def on_step(self, epoch: int, step: int, steps: int, loss: float, pairs: int) -> None:
        """Hear of one step on so many image-caption pairs; epoch and step are 1-based."""
        ...

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Hear of one validated epoch: the line that metrics.jsonl receives."""
        ...

    def on_message(self, message: str) -> None:
        """Hear a sentence worth showing."""
        ...


@dataclass(slots=True)
class Progress:
    """Where a run stands; everything that resuming needs besides tensors."""

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    pairs: int = 0
    best_rsum: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def start_epoch(self) -> None:
        """Forget the sums of the epoch before."""
        self.step_in_epoch, self.loss_sum, self.pairs = 0, 0.0, 0


@dataclass(slots=True)
class Trainer:
    """Trains `model` on `train`, validates on `dev` after every epoch.

    `save` is called with "last" after every epoch (and when interrupted) and with "best" when
    rsum rose. Weights that are validated and saved as best are the moving average when
    `config.ema` is set.
    """

    config: TrainConfig
    model: JointModel
    train: Split
    dev: Split
    observer: Observer
    save: Callable[[str, "Trainer"], None]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Progress = field(default_factory=Progress)
    stopping: bool = False
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    mining: MiningSchedule = field(init=False)
    shadow: list[Tensor] = field(init=False)
    steps_per_epoch: int = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        self.model.to(self.device)
        self.optimizer = _optimizer(self.model, config)
        # Small gradients vanish in fp16 unless scaled; elsewhere the scaler does nothing.
        half = self._amp_dtype() is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.steps_per_epoch = max(1, math.ceil(len(self.train.owner) / config.batch_size))
        if len(self.train.owner) % config.batch_size == 1 and self.steps_per_epoch > 1:
            self.steps_per_epoch -= 1
        self.mining = MiningSchedule(
            config.mining,
            margin=config.margin,
            threshold=config.mining_gap,
            patience=int(config.plateau_epochs * self.steps_per_epoch),
        )
        self.shadow = [p.detach().clone() for p in self.model.parameters()] if config.ema else []
        if self._amp_dtype() is torch.bfloat16 and self.device.type == "cpu":
            self.model.text.product_dtype = torch.bfloat16

    def run(self) -> None:
        """Train until the last epoch or early stopping.

        When `stopping` is set the step in hand is finished, everything is saved, and
        KeyboardInterrupt is raised: a step is never half done, so that resuming is exact.
        """
        while self.progress.epoch < self.config.epochs and not self._out_of_patience():
            self._run_epoch()
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stopping:
            self.save("last", self)
            raise KeyboardInterrupt

    def _out_of_patience(self) -> bool:
        waited = self.progress.epoch - self.progress.best_epoch
        return bool(self.config.patience) and waited >= self.config.patience

    def _run_epoch(self) -> None:
        progress, config = self.progress, self.config
        generator = np.random.default_rng([config.seed, progress.epoch])
        batches = epoch_batches(
            self.train.owner, config.batch_size, config.captions_per_image, generator
        )
        self.model.train()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            for rows in batches[progress.step_in_epoch :]:
                loss = self._step(rows)
                progress.step_in_epoch += 1
                progress.loss_sum += loss * len(rows)
                progress.pairs += len(rows)
                self.observer.on_step(
                    progress.epoch + 1, progress.step_in_epoch, len(batches), loss, len(rows)
                )
                if progress.step_in_epoch < len(batches):
                    self._stop_if_asked()
        finally:
            progress.seconds += time.perf_counter() - wall
            progress.cpu_seconds += time.process_time() - cpu
        self._finish_epoch()

    def _finish_epoch(self) -> None:
        progress = self.progress
        with self._averaged():
            found = self.validate()
            record = self._record(found)
            progress.epoch += 1
            if found.rsum > progress.best_rsum:
                progress.best_rsum, progress.best_epoch = found.rsum, progress.epoch
                self.save("best", self)
        progress.start_epoch()
        record["best_rsum"] = progress.best_rsum
        self.observer.on_epoch(record)
        self.save("last", self)

    def validate(self) -> Metrics:
        """Return R@K of the dev split. Raises ModelError when the vectors are not finite."""
        images, texts = embed_split(self.model, self.dev, device=self.device)
        return metrics(ranks(images, texts, self.dev.owner))

    def _step(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        config, progress = self.config, self.progress
        done = progress.epoch * self.steps_per_epoch + progress.step_in_epoch
        rate = learning_rate(config, done, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        scores, same = self._scores(rows)
        triplet = triplet_loss(scores, same, margin=config.margin, mining=self.mining.mode)
        loss = (1 - config.contrastive) * triplet
        if config.contrastive:
            loss = loss + config.contrastive * contrastive_loss(
                scores, same, temperature=config.temperature
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        if config.grad_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._average()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss became {value} in epoch {progress.epoch + 1}; lower --lr and start again"
            )
        message = self.mining.observe(float(gap(scores.detach(), same)), float(triplet.detach()))
        if message:
            self.observer.on_message(f"epoch {progress.epoch + 1}: {message}")
        return value

    def _scores(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Tensor, Tensor]:
        owner = self.train.owner[rows]
        unique, inverse = np.unique(owner, return_inverse=True)
        inputs = self.train.images.batch(unique, training=True).to(self.device)
        tokens, lengths = self.train.texts(rows)
        dtype = self._amp_dtype()
        with torch.autocast(
            self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
        ):
            images = self.model.embed_images(inputs)
            texts = self.model.embed_texts(tokens.to(self.device), lengths.to(self.device))
        images = images[torch.from_numpy(inverse).to(self.device)]
        ids = torch.from_numpy(owner).to(self.device)
        return similarities(images, texts), same_image(ids)

    def _amp_dtype(self) -> torch.dtype | None:
        wanted = self.config.precision
        if wanted is Precision.AUTO and self.device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}.get(wanted)

    def _average(self) -> None:
        if not self.shadow:
            return
        done = self.progress.epoch * self.steps_per_epoch + self.progress.step_in_epoch
        decay = min(self.config.ema, (1 + done) / (10 + done))
        parameters = [p.detach() for p in self.model.parameters()]
        torch._foreach_mul_(self.shadow, decay)
        torch._foreach_add_(self.shadow, parameters, alpha=1 - decay)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the moving average into the model for the length of the block."""
        if not self.shadow:
            yield
            return
        parameters = list(self.model.parameters())
        kept = [p.detach().clone() for p in parameters]
        _copy(self.shadow, parameters)
        try:
            yield
        finally:
            _copy(kept, parameters)

    def _record(self, found: Metrics) -> dict[str, Any]:
        progress = self.progress
        return {
            "epoch": progress.epoch + 1,
            "loss": progress.loss_sum / max(1, progress.pairs),
            "lr": self.optimizer.param_groups[0]["lr"],
            "mining": str(self.mining.mode),
            "gap": self.mining.state.gap,
            "seconds": round(progress.seconds, 2),
            "cpu_seconds": round(progress.cpu_seconds, 2),
            **found.as_dict(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs besides the weights: tensors and plain types."""
        return {
            "progress": asdict(self.progress),
            "optimizer": self.optimizer.state_dict(),
            "mining": self.mining.state_dict(),
            "shadow": self.shadow,
            "scaler": self.scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "gpu_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from `state_dict()`; the weights are loaded apart."""
        self.progress = Progress(**saved["progress"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.mining.load_state_dict(saved["mining"])
        self.shadow = [tensor.to(self.device) for tensor in saved["shadow"]]
        if saved.get("scaler"):
            self.scaler.load_state_dict(saved["scaler"])
        torch.set_rng_state(saved["torch_rng"])
        if saved.get("gpu_rng") is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(saved["gpu_rng"])


def _copy(source: list[Tensor], target: list[nn.Parameter]) -> None:
    with torch.no_grad():
        for new, parameter in zip(source, target, strict=True):
            parameter.copy_(new)


def _optimizer(model: JointModel, config: TrainConfig) -> torch.optim.Optimizer:
    """Group parameters: vectors (biases, norms) do not decay; a fine-tuned backbone is slower."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        tuned = name.startswith("backbone.") and config.finetune
        scale = config.finetune_lr_scale if tuned else 1.0
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    settings = [
        {"params": parameters, "lr": config.lr, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]
    if config.optimizer is Optimizer.ADAM:
        return torch.optim.Adam(settings, eps=config.adam_eps)
    return torch.optim.AdamW(settings, eps=config.adam_eps)
