"""Backbones: from scratch, and of timm with weights of a file."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmsearch.core import Interpolation, Resize
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.vse.backbone import (
    freeze_batch_norm,
    load_backbone,
    save_backbone,
    weights_digest,
)
from mmsearch.retrieval.vse.cnn import SmallCNN

ARCHITECTURE = "test_byobnet"
METADATA = {
    "architecture": ARCHITECTURE,
    "timm_args": "{}",
    "input_size": "[3, 64, 48]",
    "mean": "[0.1, 0.2, 0.3]",
    "std": "[0.4, 0.5, 0.6]",
    "resize": "squash",
    "interpolation": "bicubic",
}


def tiny_weights(path: Path, metadata: dict[str, str] | None, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(ARCHITECTURE, num_classes=7).eval()
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    tensors.update(changes)
    save_file({key: value for key, value in tensors.items() if value is not None}, path, metadata)
    return network


def test_a_weights_file_decides_over_timm_how_pictures_are_prepared(tmp_path: Path) -> None:
    tiny_weights(tmp_path / "w.safetensors", METADATA)
    preprocessing = load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors").preprocessing
    assert preprocessing.size == (64, 48)
    assert preprocessing.mean == (0.1, 0.2, 0.3)
    assert preprocessing.std == (0.4, 0.5, 0.6)
    assert preprocessing.resize is Resize.SQUASH
    assert preprocessing.interpolation is Interpolation.BICUBIC


def test_a_weights_file_without_metadata_takes_the_defaults_of_timm(tmp_path: Path) -> None:
    network = tiny_weights(tmp_path / "w.safetensors", None)
    backbone = load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")
    assert backbone.preprocessing.mean == network.pretrained_cfg["mean"]  # type: ignore[union-attr,index,unused-ignore]
    assert backbone.preprocessing.resize is Resize.CROP


def test_the_feature_is_the_average_over_the_grid_of_the_last_stage(tmp_path: Path) -> None:
    network = tiny_weights(tmp_path / "w.safetensors", METADATA)
    backbone = load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")
    pixels = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        expected = network.forward_features(pixels).mean(dim=(2, 3))  # type: ignore[operator,unused-ignore]
        features = backbone(pixels)
    assert features.shape == (2, backbone.dim)
    assert torch.allclose(features, expected, atol=1e-5)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    network = tiny_weights(tmp_path / "w.safetensors", METADATA)
    halves = {key: value.half() for key, value in network.state_dict().items()}
    save_file(halves, tmp_path / "half.safetensors", METADATA)
    backbone = load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    tiny_weights(tmp_path / "w.safetensors", METADATA)
    with pytest.raises(ModelError, match=rf"'{ARCHITECTURE}', not of 'resnet18'"):
        load_backbone("timm:resnet18", tmp_path / "w.safetensors")


def test_keys_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    changes = {"stem.conv.weight": None, "extra": torch.zeros(1)}
    tiny_weights(tmp_path / "w.safetensors", METADATA, **changes)
    with pytest.raises(ModelError, match=r"lacks stem\.conv\.weight; has unknown extra"):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    tiny_weights(tmp_path / "w.safetensors", METADATA, **{"stem.conv.weight": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"stem\.conv\.weight \(2,\) for \(\d+, 3, 3, 3\)"):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")


@pytest.mark.parametrize("argument", ["checkpoint_path", "pretrained"])
def test_metadata_may_not_point_timm_at_a_pickle_or_the_network(
    tmp_path: Path, argument: str
) -> None:
    metadata = {**METADATA, "timm_args": json.dumps({argument: "evil.pt"})}
    tiny_weights(tmp_path / "w.safetensors", metadata)
    with pytest.raises(ModelError, match=argument):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", "0.5"),
        ("mean", "[1"),
        ("input_size", "[3, 64]"),
        ("resize", "stretch"),
        ("std", "[0, 1, 1]"),
        ("timm_args", "[]"),
        ("timm_args", '{"no_such_argument": 1}'),
    ],
)
def test_metadata_that_makes_no_sense_is_an_error(tmp_path: Path, key: str, value: str) -> None:
    tiny_weights(tmp_path / "w.safetensors", {**METADATA, key: value})
    with pytest.raises(ModelError, match=r"w\.safetensors"):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "w.safetensors")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "none.safetensors")


def test_a_pickled_checkpoint_is_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="pickled"):
        load_backbone(f"timm:{ARCHITECTURE}", tmp_path / "weights.pt")


def test_an_unknown_timm_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean timm:mobilenetv2_100"):
        load_backbone("timm:mobilenet2_100")


def test_an_unknown_kind_of_encoder_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'cnn' or 'timm:NAME'"):
        load_backbone("resnet18")


def test_without_a_network_the_error_names_the_local_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"--backbone-weights FILE\.safetensors"):
        load_backbone("timm:resnet18")


def test_the_small_network_pools_to_eight_times_its_width() -> None:
    backbone = load_backbone("cnn", size=64, width=8)
    assert backbone.dim == 64
    assert backbone(torch.zeros(2, 3, 64, 64)).shape == (2, 64)
    assert backbone.preprocessing.size == (64, 64)


def test_the_small_network_is_as_small_as_it_says() -> None:
    parameters = sum(parameter.numel() for parameter in SmallCNN(32).parameters())
    assert 1_500_000 <= parameters < 1_550_000


def test_the_small_network_learns_to_tell_two_colours_apart() -> None:
    torch.manual_seed(0)
    backbone = load_backbone("cnn", size=16, width=4).train()
    head = nn.Linear(backbone.dim, 1)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=1e-2)
    labels = torch.tensor([0.0, 1.0] * 8)
    pixels = torch.randn(16, 3, 16, 16) + labels[:, None, None, None]
    for _ in range(20):
        loss = nn.functional.binary_cross_entropy_with_logits(head(backbone(pixels))[:, 0], labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < 0.1


def test_a_saved_backbone_is_loaded_as_it_was(tmp_path: Path) -> None:
    saved = load_backbone("cnn", size=32, width=4)
    save_backbone(saved, tmp_path / "cnn.safetensors")
    loaded = load_backbone("cnn", tmp_path / "cnn.safetensors")
    assert loaded.preprocessing == saved.preprocessing
    assert weights_digest(loaded) == weights_digest(saved)


def test_a_saved_width_that_makes_no_sense_is_an_error(tmp_path: Path) -> None:
    backbone = load_backbone("cnn", size=32, width=4)
    backbone.arguments["width"] = "wide"
    save_backbone(backbone, tmp_path / "cnn.safetensors")
    with pytest.raises(ModelError, match="no usable width: 'wide'"):
        load_backbone("cnn", tmp_path / "cnn.safetensors")


def test_a_size_that_the_network_does_not_take_is_an_error(tmp_path: Path) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    metadata = {**METADATA, "architecture": "vit_tiny_patch16_224"}
    save_file(network.state_dict(), tmp_path / "vit.safetensors", metadata)
    with pytest.raises(ModelError, match="does not take pictures of 64 x 48"):
        load_backbone("timm:vit_tiny_patch16_224", tmp_path / "vit.safetensors")


def test_frozen_batch_norm_statistics_survive_training() -> None:
    module = nn.Sequential(load_backbone("cnn", size=16, width=4))
    module.train()
    freeze_batch_norm(module)
    before = weights_digest(module)
    module.train()
    module(torch.randn(4, 3, 16, 16))
    assert weights_digest(module) == before
    assert module[0].training


def test_the_digest_changes_with_a_weight_a_name_and_a_dtype() -> None:
    linear = nn.Linear(2, 2)
    first = weights_digest(linear)
    assert weights_digest(linear) == first
    assert weights_digest(nn.Sequential(linear)) != first
    assert weights_digest(nn.Linear(2, 2).bfloat16()) != first
    with torch.no_grad():
        linear.bias[0] += 1
    assert weights_digest(linear) != first


@pytest.mark.shared_data
def test_mobilenet_recognises_photos(shared_data: Path) -> None:
    weights = shared_data / "backbones" / "mobilenetv2_imagenet.safetensors"
    folder = shared_data / "imagenet1k_samples"
    with (folder / "labels.csv").open(newline="") as file:
        names = sorted(row["image"] for row in csv.DictReader(file))
    backbone = load_backbone("timm:mobilenetv2_100", weights)
    tensors = load_file(weights)
    weight, bias = (tensors[f"classifier.{part}"].float() for part in ("weight", "bias"))
    chosen = list(range(0, 1000, 10))
    right = 0
    with torch.inference_mode():
        for index in chosen:
            image = decode(folder / "images" / names[index], backbone.preprocessing)
            pixels = torch.from_numpy((image / 255 - 0.5) / 0.5).float().permute(2, 0, 1)[None]
            scores = backbone(pixels) @ weight.T + bias
            right += int(np.argmax(scores.numpy())) == index
    assert len(names) == 1000
    assert right >= 75
