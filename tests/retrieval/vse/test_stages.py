"""A frozen backbone first, then the whole network: what each stage leaves alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tests.retrieval.vse.test_train import Quiet

from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.folder import read_model_folder
from mmsearch.retrieval.scenes import SceneOptions, write_scenes
from mmsearch.retrieval.vse.config import preset
from mmsearch.retrieval.vse.train import TrainJob, start

ARCHITECTURE = "test_resnet"
SIZE = 32
SMALL: dict[str, Any] = {
    "image_encoder": f"timm:{ARCHITECTURE}",
    "embed_dim": 16,
    "word_dim": 8,
    "hidden_dim": 12,
    "batch_size": 16,
    "min_count": 1,
    "epochs": 1,
    "threads": 1,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, and random backbone weights in a file that says how pictures are prepared."""
    folder = tmp_path_factory.mktemp("stages")
    write_scenes(folder / "data", SceneOptions(train=40, dev=10, test=10, size=SIZE, seed=0))
    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE, num_classes=0)
    metadata = {
        "architecture": ARCHITECTURE,
        "input_size": f"[3, {SIZE}, {SIZE}]",
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.5, 0.5, 0.5]",
        "resize": "squash",
        "interpolation": "bilinear",
    }
    save_file(network.state_dict(), folder / "weights.safetensors", metadata)
    return folder


def train(place: Path, name: str, init: Path | None = None, **settings: Any) -> Path:
    weights = str(place / "weights.safetensors")
    config = preset("default", **{**SMALL, "backbone_weights": weights, **settings})
    job = TrainJob(
        data=place / "data", output=place / name, config=config, cache=place / "cache", init=init
    )
    start(job, Quiet())
    return place / name


@pytest.fixture(scope="module")
def frozen(place: Path) -> Path:
    return train(place, "frozen")


def test_a_frozen_backbone_is_exported_whole_with_its_own_preparation(frozen: Path) -> None:
    folder = read_model_folder(frozen / "model")
    assert folder.preprocessing is not None
    assert folder.preprocessing.size == (SIZE, SIZE)
    assert folder.preprocessing.mean == (0.5, 0.5, 0.5)
    pixels = torch.zeros(40, 50, 3, dtype=torch.uint8).numpy()
    assert OnnxEncoder(folder).encode_images([pixels]).shape == (1, 16)


def test_a_frozen_run_keeps_statistics_of_train_with_the_model(frozen: Path) -> None:
    weights = load_file(frozen / "best" / "model.safetensors")
    assert not any(name.startswith("backbone.") for name in weights)
    assert weights["head.normalize.mean"].abs().sum() > 0


def test_fine_tuning_moves_the_backbone_slowly_and_not_its_statistics(
    place: Path, frozen: Path
) -> None:
    run = train(place, "tuned", init=frozen, finetune=True, lr=1e-2, warmup_steps=0)
    before = load_file(place / "weights.safetensors")
    after = {
        name.removeprefix("backbone.network."): tensor
        for name, tensor in load_file(run / "best" / "model.safetensors").items()
        if name.startswith("backbone.network.")
    }
    statistics = [name for name in after if "running_" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    moved = [name for name in after if "running_" not in name and "num_batches" not in name]
    assert any(not torch.equal(before[name], after[name]) for name in moved)
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["finetune_lr_scale"] == 0.1


def test_the_second_stage_goes_on_from_the_figures_of_the_first(place: Path, frozen: Path) -> None:
    run = train(place, "still", init=frozen, finetune=True, lr=1e-9, warmup_steps=0)
    rsums = [
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["rsum"]
        for folder in (frozen, run)
    ]
    assert rsums[0] == pytest.approx(rsums[1], abs=5)
