"""A whole training run: data, towers, loop, checkpoints, exported model, report."""

import hashlib
import json
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer

from mmsearch.errors import ConfigError, DataError, InputError
from mmsearch.retrieval.captions import DataFormat
from mmsearch.retrieval.vse.backbone import Backbone, freeze_batch_norm, load_backbone
from mmsearch.retrieval.vse.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from mmsearch.retrieval.vse.config import TrainConfig, with_settings
from mmsearch.retrieval.vse.finish import Finished, finish
from mmsearch.retrieval.vse.model import JointModel, build_model
from mmsearch.retrieval.vse.prepare import Captions, InputLoader, Inputs, read_splits
from mmsearch.retrieval.vse.report import RunLog, append_metrics, read_metrics, versions
from mmsearch.retrieval.vse.threads import available_cores, keep_freed_memory
from mmsearch.retrieval.vse.trainer import Observer, Trainer
from mmsearch.retrieval.vse.vocabulary import learn_tokenizer

RUN_FORMAT = 1
SHOWN_PROBLEMS = 10


class RunObserver(Observer, Protocol):
    """Hears of a whole run: preparation, steps, epochs, export."""

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Hear of countable work outside the loop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """What to train on, where to write, how.

    `images` is a folder to look pictures up in; `init` a run whose best weights to start from;
    `cache` where features and pixels are kept between runs.
    """

    data: Path
    output: Path
    config: TrainConfig
    cache: Path
    layout: DataFormat | None = None
    images: Path | None = None
    init: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run: its folder, the model folder, and the best epoch's record."""

    run: Path
    model: Path
    best: Mapping[str, Any]


def start(job: TrainJob, observer: RunObserver) -> TrainResult:
    """Train a joint space into a new run folder, and export it.

    Raises InputError when the output exists, DataError when nothing can be trained on,
    ConfigError for settings that do not fit, KeyboardInterrupt after saving everything.
    """
    if job.output.exists() and not job.output.is_dir():
        raise InputError(f"{job.output} is a file; give a folder as --output")
    if job.config.finetune and job.config.image_encoder == "cnn" and job.init is None:
        raise ConfigError(
            "--finetune is a second stage: give the first run with --init RUN, or leave it out "
            "(cnn is always trained)"
        )
    if job.output.exists() and any(job.output.iterdir()):
        raise InputError(
            f"{job.output} is not empty; continue it with --resume {job.output}, "
            "or choose another --output"
        )
    return _run(job, observer, resume=False)


def resume(run: Path, observer: RunObserver) -> TrainResult:
    """Continue an interrupted run as if it had never stopped.

    Raises InputError when the folder is no run, DataError when the captions have changed since.
    """
    try:
        saved = json.loads((run / "config.json").read_text(encoding="utf-8"))
        written_as = saved["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run} is not a training run (no readable config.json)") from error
    if written_as != RUN_FORMAT:
        raise InputError(
            f"{run} was written by another version (run format {written_as}, "
            f"this is {RUN_FORMAT}); update mmsearch"
        )
    preset_name = saved["config"].get("preset", "default")
    config = with_settings(TrainConfig(preset=preset_name), saved["config"])
    job = TrainJob(
        data=Path(saved["data"]),
        output=run,
        config=config,
        cache=Path(saved["cache"]),
        layout=DataFormat(saved["layout"]) if saved["layout"] else None,
        images=Path(saved["images"]) if saved["images"] else None,
        init=Path(saved["init"]) if saved["init"] else None,
    )
    return _run(job, observer, resume=True)


def _run(job: TrainJob, observer: RunObserver, *, resume: bool) -> TrainResult:
    threads = job.config.threads or available_cores()
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(job.config.seed)
            return _prepare_and_train(job, observer, resume=resume)
    finally:
        torch.set_num_threads(before)


def _prepare_and_train(job: TrainJob, observer: RunObserver, *, resume: bool) -> TrainResult:
    captions = read_splits(job.data, job.config, layout=job.layout, images=job.images)
    tokenizer = _tokenizer(job, captions)
    backbone = _backbone(job.config)
    _write_config(job, captions, check=resume)
    tokenizer.save(str(job.output / "tokenizer.json"))
    loader = InputLoader(backbone, job.config, job.cache, observer.on_progress)
    inputs = loader.load(captions, tokenizer)
    _report_problems((*captions.problems, *inputs.problems), job.output, observer)
    for warning in (*captions.warnings, *inputs.warnings):
        observer.on_message(f"warning: {warning}")
    trainer = _trainer(job, inputs, tokenizer, backbone, observer)
    if resume and has_checkpoint(job.output / "last"):
        weights, state = load_checkpoint(job.output / "last")
        trainer.model.load_state_dict(weights)
        trainer.load_state_dict(state)
    _loop(job, trainer, observer)
    trainer.model.load_state_dict(load_weights(job.output / "best"))
    observer.on_message("exporting the best epoch")
    records = read_metrics(job.output / "metrics.jsonl")
    done = Finished(
        trainer=trainer,
        backbone=backbone,
        tokenizer=tokenizer,
        train_images=inputs.train_images,
        dev_images=inputs.dev_images,
        data_name=job.data.resolve().name,
        data_digest=_data_digest(captions),
    )
    finish(job.output, done, records)
    return TrainResult(job.output, job.output / "model", records[trainer.progress.best_epoch - 1])


def _report_problems(problems: Sequence[str], run: Path, observer: Observer) -> None:
    """Say the first few; write all of them to `left-out.txt`."""
    for problem in problems[:SHOWN_PROBLEMS]:
        observer.on_message(f"left out: {problem}")
    if problems:
        file = run / "left-out.txt"
        file.write_text("".join(f"{problem}\n" for problem in problems), encoding="utf-8")
    if len(problems) > SHOWN_PROBLEMS:
        more = len(problems) - SHOWN_PROBLEMS
        observer.on_message(f"left out: {more} more, all of them in {run / 'left-out.txt'}")


def _tokenizer(job: TrainJob, captions: Captions) -> Tokenizer:
    """Learn the vocabulary from train only, or take that of the run to start from."""
    if job.init is None:
        texts = [caption for image in captions.train for caption in image.captions]
        return learn_tokenizer(texts, job.config)
    file = job.init / "tokenizer.json"
    if not file.exists():
        raise InputError(f"{job.init} is not a training run (no tokenizer.json)")
    return Tokenizer.from_file(str(file))


def _backbone(config: TrainConfig) -> Backbone:
    weights = Path(config.backbone_weights) if config.backbone_weights else None
    backbone = load_backbone(
        config.image_encoder, weights, size=config.image_size, width=config.cnn_width
    )
    if config.finetune:
        freeze_batch_norm(backbone)
    return backbone


def _write_config(job: TrainJob, captions: Captions, *, check: bool) -> None:
    file = job.output / "config.json"
    digest = _data_digest(captions)
    if check:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if saved["data_digest"] != digest:
            raise DataError(
                f"the captions in {job.data} have changed since the run began; "
                "restore them, or start a new run"
            )
        return
    job.output.mkdir(parents=True, exist_ok=True)
    document = {
        "format": RUN_FORMAT,
        "data": str(job.data.absolute()),
        "layout": job.layout,
        "images": str(job.images.absolute()) if job.images else None,
        "init": str(job.init.absolute()) if job.init else None,
        "cache": str(job.cache.absolute()),
        "data_digest": digest,
        "versions": versions(),
        "config": _from_anywhere(job.config).as_dict(),
    }
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _from_anywhere(config: TrainConfig) -> TrainConfig:
    """Make the place of the backbone's weights absolute, for a run resumed from elsewhere."""
    weights = config.backbone_weights
    return replace(config, backbone_weights=str(Path(weights).absolute()) if weights else "")


def _data_digest(captions: Captions) -> str:
    digest = hashlib.sha256()
    for split in (captions.train, captions.dev):
        for image in split:
            line = json.dumps([image.path.name, *image.captions])
            digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _trainer(
    job: TrainJob, inputs: Inputs, tokenizer: Tokenizer, backbone: Backbone, observer: Observer
) -> Trainer:
    config = job.config
    model = build_model(
        config,
        features=backbone.dim,
        vocabulary_size=tokenizer.get_vocab_size(),
        backbone=backbone if config.end_to_end else None,
    )
    if inputs.train_features is not None:
        model.head.normalize.fit(inputs.train_features)
    if job.init is not None:
        _start_from(model, job.init)
    return Trainer(config, model, inputs.train, inputs.dev, observer, _saver(job), device=_device())


def _start_from(model: JointModel, run: Path) -> None:
    """Take the best weights of another run; its backbone may have been frozen, so absent."""
    try:
        result = model.load_state_dict(load_weights(run / "best"), strict=False)
    except RuntimeError as error:
        raise ConfigError(f"the towers of {run} have other sizes than these settings") from error
    missing = [key for key in result.missing_keys if not key.startswith("backbone.")]
    if missing or result.unexpected_keys:
        raise ConfigError(
            f"{run} was trained with other settings (first difference: "
            f"{(missing + result.unexpected_keys)[0]}); use the same towers"
        )


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _saver(job: TrainJob) -> Any:
    def save(name: str, trainer: Trainer) -> None:
        state = trainer.state_dict() if name == "last" else {"progress": {}}
        save_checkpoint(job.output / name, trainer.model.state_dict(), state)

    return save


class _Recorder:
    """Passes events on and writes metrics.jsonl and TensorBoard events."""

    def __init__(self, job: TrainJob, observer: Observer, log: RunLog) -> None:
        self.job, self.observer, self.log = job, observer, log

    def on_step(self, epoch: int, step: int, steps: int, loss: float, pairs: int) -> None:
        self.observer.on_step(epoch, step, steps, loss, pairs)

    def on_epoch(self, record: dict[str, Any]) -> None:
        append_metrics(self.job.output / "metrics.jsonl", record)
        self.log.add(record)
        self.observer.on_epoch(record)

    def on_message(self, message: str) -> None:
        self.observer.on_message(message)


def _loop(job: TrainJob, trainer: Trainer, observer: Observer) -> None:
    metrics_file = job.output / "metrics.jsonl"
    _forget_unsaved_epochs(metrics_file, trainer.progress.epoch)
    with RunLog(job.output / "events") as log, _stopping_on_interrupt(trainer):
        trainer.observer = _Recorder(job, observer, log)
        try:
            trainer.run()
        except KeyboardInterrupt:
            if has_checkpoint(job.output / "last"):
                observer.on_message(f"continue with: mmsearch train --resume {job.output}")
            raise


def _forget_unsaved_epochs(file: Path, epochs: int) -> None:
    """Drop lines of epochs that the last checkpoint does not know; they are trained again.

    A process killed at any moment leaves the file before or this one.
    """
    records = read_metrics(file)
    known = [record for record in records if record["epoch"] <= epochs]
    if len(known) == len(records):
        return
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(b"")
    for record in known:
        append_metrics(new, record)
    new.replace(file)


@contextmanager
def _stopping_on_interrupt(trainer: Trainer) -> Iterator[None]:
    """Let Ctrl-C finish the step in hand; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(signum: int, frame: object) -> None:  # noqa: ARG001 -- a signal handler's signature
        trainer.stopping = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
