"""Whole runs on drawn scenes: what a run folder holds, resuming, second stages, bad data."""

import json
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mmsearch.errors import ConfigError, DataError, InputError
from mmsearch.retrieval.decode import read_image
from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.folder import read_model_folder
from mmsearch.retrieval.scenes import SceneOptions, write_scenes
from mmsearch.retrieval.vse.backbone import load_backbone, save_backbone
from mmsearch.retrieval.vse.config import TrainConfig, preset
from mmsearch.retrieval.vse.train import TrainJob, resume, start

TINY: dict[str, Any] = {
    "image_encoder": "cnn",
    "image_size": 16,
    "cnn_width": 4,
    "embed_dim": 16,
    "word_dim": 8,
    "hidden_dim": 12,
    "batch_size": 16,
    "captions_per_image": 2,
    "epochs": 2,
    "min_count": 1,
    "augment": True,
    "threads": 1,
}


@dataclass
class Quiet:
    """Remembers what a run says; interrupts it at a step when asked."""

    interrupt_at: tuple[int, int] | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def on_step(self, epoch: int, step: int, steps: int, loss: float, pairs: int) -> None:
        if (epoch, step) == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)

    def on_epoch(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def on_message(self, message: str) -> None:
        self.messages.append(message)

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Nothing to show."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, SceneOptions(train=40, dev=12, test=12, size=24, seed=0))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def job(data: Path, output: Path, cache: Path, **settings: Any) -> TrainJob:
    config: TrainConfig = preset("default", **{**TINY, **settings})
    return TrainJob(data=data, output=output, config=config, cache=cache)


@pytest.fixture(scope="module")
def finished(scenes: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tiny"
    start(job(scenes, run, cache), Quiet())
    return run


def test_a_run_folder_holds_all_that_was_promised(finished: Path) -> None:
    config = json.loads((finished / "config.json").read_text())
    assert config["config"]["epochs"] == 2
    assert "torch" in config["versions"]
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert {"i2t", "t2i", "rsum", "loss", "lr", "mining"} <= json.loads(lines[0]).keys()
    assert list((finished / "events").glob("events.out.tfevents.*"))
    assert load_file(finished / "best" / "model.safetensors")
    assert load_file(finished / "last" / "model.safetensors")
    assert "R@1" in (finished / "README.md").read_text()
    with Image.open(finished / "curves.png") as curves:
        assert min(curves.size) > 300


def test_the_exported_model_says_what_it_is_and_encodes_without_torch(finished: Path) -> None:
    folder = read_model_folder(finished / "model")
    assert folder.name == "tiny"
    assert folder.space.dim == 16
    assert folder.metrics["images"] == 12
    encoder = OnnxEncoder(folder)
    texts = encoder.encode_texts(["a red circle", ""])
    assert texts.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)


def test_the_exported_model_gives_the_recall_that_training_saw(
    finished: Path, scenes: Path
) -> None:
    from mmsearch.retrieval.captions import load_captions
    from mmsearch.retrieval.metrics import metrics, ranks

    dev = load_captions(scenes).splits["dev"]
    encoder = OnnxEncoder(read_model_folder(finished / "model"))
    images = encoder.encode_images([read_image(image.path) for image in dev])
    texts = encoder.encode_texts([caption for image in dev for caption in image.captions])
    owner = np.repeat(np.arange(len(dev)), [len(image.captions) for image in dev])
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    best = max(record["rsum"] for record in records)
    assert metrics(ranks(images, texts, owner)).rsum == pytest.approx(best, abs=5)


def test_an_interrupted_run_resumed_equals_an_uninterrupted_one(
    finished: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "tiny"
    listener = Quiet(interrupt_at=(2, 3))
    with pytest.raises(KeyboardInterrupt):
        start(job(scenes, run, cache), listener)
    assert listener.messages[-1] == f"continue with: mmsearch train --resume {run}"
    assert not (run / "model").exists()
    resume(run, Quiet())
    assert _figures(run) == _figures(finished)
    for name in ("best", "last"):
        one = load_file(run / name / "model.safetensors")
        other = load_file(finished / name / "model.safetensors")
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    spaces = [read_model_folder(folder / "model").space for folder in (run, finished)]
    assert spaces[0].digest == spaces[1].digest


def _figures(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if not k.endswith("seconds")} for r in records]


def test_resuming_a_finished_run_exports_again_and_trains_nothing(
    finished: Path,
) -> None:
    listener = Quiet()
    result = resume(finished, listener)
    assert listener.records == []
    assert result.model.is_dir()


def test_a_run_is_resumed_from_another_folder_with_its_backbones_weights(
    scenes: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_backbone(load_backbone("cnn", size=16, width=4), tmp_path / "cnn.safetensors")
    monkeypatch.chdir(tmp_path)
    settings = {"backbone_weights": "cnn.safetensors", "epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        start(job(scenes, tmp_path / "run", cache, **settings), Quiet(interrupt_at=(1, 1)))
    monkeypatch.chdir(tmp_path.parent)
    assert resume(tmp_path / "run", Quiet()).model.is_dir()


def test_resuming_with_changed_captions_is_refused(
    scenes: Path, cache: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_scenes(data, SceneOptions(train=40, dev=12, test=12, size=24, seed=1))
    run = tmp_path / "run"
    start(job(data, run, cache, epochs=1), Quiet())
    captions = data / "captions_train.csv"
    captions.write_text(captions.read_text().replace("circle", "disc"))
    with pytest.raises(DataError, match="changed"):
        resume(run, Quiet())


def test_an_output_that_holds_files_is_not_overwritten(
    scenes: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="--resume"):
        start(job(scenes, tmp_path, cache), Quiet())
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize("config", [None, "[]", "{}", "{"])
def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match="not a training run"):
        resume(tmp_path, Quiet())


def test_bad_pictures_and_lines_are_reported_and_left_out(cache: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_scenes(data, SceneOptions(train=40, dev=12, test=12, size=24, seed=2))
    captions = data / "captions_train.csv"
    first = captions.read_text().splitlines()[1].split(",")[0]
    with captions.open("a") as stream:
        stream.write("absent.png,a picture that is not there\n")
    for folder in (data, data / "images"):
        if (folder / first).exists():
            (folder / first).write_bytes(b"not a picture")
    listener = Quiet()
    start(job(data, tmp_path / "run", cache, epochs=1), listener)
    said = "\n".join(listener.messages)
    assert "captions_train.csv:" in said
    assert "absent.png" in said
    assert Path(first).name in said
    assert len(listener.records) == 1


def test_what_stands_in_train_and_in_a_held_out_part_is_warned_of(
    cache: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write_scenes(data, SceneOptions(train=10, dev=0, test=0, size=24, captions=1))
    rows = [line.partition(",") for line in (data / "captions_train.csv").read_text().splitlines()]
    lines = []
    for image, _, _ in rows[1:]:
        copy = Path(image).with_stem(Path(image).stem + "_copy")
        shutil.copy(data / image, data / copy)
        lines += [f"{image},a scene", f"{copy},a scene"]
    (data / "captions_train.csv").write_text("\n".join(["image,caption", *lines]) + "\n")
    listener = Quiet(interrupt_at=(1, 1))
    with pytest.raises(KeyboardInterrupt):
        start(job(data, tmp_path / "run", cache, val_fraction=0.4), listener)
    said = "\n".join(listener.messages)
    assert "1 caption(s) stand in both train and dev on different images" in said
    assert "stand in both train and dev under different names" in said


def test_a_run_in_the_current_folder_is_named_after_it(
    scenes: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    start(job(scenes, Path(), cache, epochs=1), Quiet())
    assert read_model_folder(Path("model")).name == "here"


def test_epochs_of_a_killed_run_that_are_in_no_checkpoint_are_trained_again(
    scenes: Path, cache: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(job(scenes, run, cache), Quiet(interrupt_at=(2, 1)))
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 2, "rsum": 600.0}\n{"epoch": 3, "rs')
    resume(run, Quiet())
    figures = _figures(run)
    assert [record["epoch"] for record in figures] == [1, 2]
    assert "i2t" in figures[1]
    assert not list(run.glob(".*"))


def test_a_second_stage_starts_from_the_weights_of_the_first(
    finished: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    second = TrainJob(
        data=scenes,
        output=tmp_path / "second",
        config=preset("default", **{**TINY, "epochs": 1, "lr": 1e-9, "warmup_steps": 0}),
        cache=cache,
        init=finished,
    )
    start(second, Quiet())
    one = load_file(finished / "best" / "model.safetensors")
    other = load_file(tmp_path / "second" / "best" / "model.safetensors")
    torch.testing.assert_close(one["head.projection.weight"], other["head.projection.weight"])


def test_a_second_stage_of_other_sizes_is_a_clear_error(
    finished: Path, scenes: Path, cache: Path, tmp_path: Path
) -> None:
    wrong = TrainJob(
        data=scenes,
        output=tmp_path / "wrong",
        config=preset("default", **{**TINY, "embed_dim": 20}),
        cache=cache,
        init=finished,
    )
    with pytest.raises(ConfigError, match="other sizes"):
        start(wrong, Quiet())


def test_training_leaves_torchs_generator_and_threads_alone(
    scenes: Path, cache: Path, tmp_path: Path
) -> None:
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    start(job(scenes, tmp_path / "run", cache, epochs=1), Quiet())
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_many_problems_are_counted_and_kept_in_a_file(cache: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_scenes(data, SceneOptions(train=40, dev=12, test=12, size=24, seed=3))
    with (data / "captions_train.csv").open("a") as stream:
        stream.writelines(f"absent-{n}.png,nothing\n" for n in range(25))
    listener = Quiet()
    start(job(data, tmp_path / "run", cache, epochs=1), listener)
    said = [message for message in listener.messages if message.startswith("left out")]
    assert len(said) == 11
    assert "15 more" in said[-1]
    assert len((tmp_path / "run" / "left-out.txt").read_text().splitlines()) == 25


def test_an_output_that_is_a_file_is_refused(scenes: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        start(job(scenes, tmp_path / "run", cache), Quiet())


def test_fine_tuning_a_fresh_network_is_refused(scenes: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--init"):
        start(job(scenes, tmp_path / "run", cache, finetune=True), Quiet())
