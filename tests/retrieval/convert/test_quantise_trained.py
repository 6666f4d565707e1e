"""8-bit networks of trained weights: what a check on random ones cannot tell."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from mmsearch.core import Pixels, Preprocessing, Space, Vectors
from mmsearch.retrieval.convert.quantise import quantise_folder
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.feeding import network_input
from mmsearch.retrieval.folder import ModelDescription, TextSpec, write_model_folder
from mmsearch.retrieval.models import BUNDLED
from mmsearch.retrieval.scenes.drawing import draw_scene
from mmsearch.retrieval.scenes.words import caption_scene
from mmsearch.retrieval.scenes.world import Split, sample_scenes, split_combinations
from mmsearch.retrieval.tower import Setting, Tower
from mmsearch.retrieval.vse.backbone import Backbone, load_backbone
from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, write_graph

Pairs = list[tuple[Pixels, Sequence[str]]]


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times depend on what else the machine does, and a table of words takes next to none."""
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_SPEED", 0.0)


def _scenes(count: int) -> Pairs:
    """Draw scenes of combinations that no training picture shows, with their captions."""
    rng = np.random.default_rng(11)
    combinations = split_combinations(np.random.default_rng(0).spawn(4)[0])[Split.TEST]
    scenes = sample_scenes(combinations, count, rng)
    return [
        (np.asarray(draw_scene(scene, 128, rng).convert("RGB")), caption_scene(scene, 2, rng))
        for scene in scenes
    ]


@pytest.mark.skipif(not (BUNDLED / "mini").is_dir(), reason="the bundled model is not here")
def test_both_networks_of_the_bundled_model_pass(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED / "mini", tmp_path / "mini")
    pairs = _scenes(200)
    pictures, sentences = [p for p, _ in pairs[:80]], [c for _, both in pairs[:80] for c in both]
    facts: Any = quantise_folder(tmp_path / "mini", pictures, sentences, labelled=pairs)
    for tower in ("image", "text"):
        assert facts[tower]["kept"], facts[tower]
        assert facts[tower]["cosine"] >= 0.99
        assert facts[tower]["alone"] >= 0.999
        assert max(facts[tower]["lost"], facts[tower]["surely"]) <= 0.5


class _Unit(torch.nn.Module):
    """A backbone whose features are of length one and have no mean."""

    def __init__(self, backbone: Backbone, mean: NDArray[np.float32]) -> None:
        super().__init__()
        self.backbone = backbone
        self.mean = torch.nn.Buffer(torch.from_numpy(mean))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self.backbone(pixels) - self.mean, dim=1)


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_trained_convolutional_network_and_words_fitted_to_it_pass(
    tmp_path: Path, shared_data: Path
) -> None:
    """MobileNetV2 and a table of words: each word's vector is fitted by ridge regression."""
    backbone = load_backbone(
        "timm:mobilenetv2_100", shared_data / "backbones" / "mobilenetv2_imagenet.safetensors"
    )
    train = _photos(shared_data, "train", 240, backbone.preprocessing)
    dev = _photos(shared_data, "dev", 200, backbone.preprocessing)
    mean = np.zeros(backbone.dim, dtype=np.float32)
    image = tmp_path / "image.onnx"
    _write_image(backbone, mean, image)
    mean = _encode(image, train, backbone).mean(axis=0)
    _write_image(backbone, mean, image)
    vocabulary = _vocabulary(train)
    table = _fit(_encode(image, train, backbone), [both for _, both in train], vocabulary)
    _write_words(table, tmp_path / "text.onnx")
    _tokenizer(vocabulary).save(str(tmp_path / "tokenizer.json"))
    write_model_folder(
        tmp_path,
        ModelDescription(
            space=Space("photos", backbone.dim, "5" * 64),
            preprocessing=backbone.preprocessing,
            text=TextSpec(32),
        ),
    )
    pictures, sentences = [p for p, _ in train[:100]], [c for _, both in train for c in both]
    facts: Any = quantise_folder(tmp_path, pictures, sentences, labelled=dev)
    # Its weights were 8-bit ones before: 7 bits are too few, and the ladder goes on.
    for tower in ("image", "text"):
        assert facts[tower]["kept"], facts[tower]
    assert facts["image"]["recipe"] == "static minmax, weights of 8 bits"
    for tower in ("image", "text"):
        assert facts[tower]["cosine"] >= 0.99
        assert max(facts[tower]["lost"], facts[tower]["surely"]) <= 0.5
    plain = sum(file.stat().st_size for file in tmp_path.glob("image.onnx*"))
    assert facts["image"]["bytes"] < 0.35 * plain


def _photos(data: Path, split: str, count: int, preprocessing: Preprocessing) -> Pairs:
    captions: dict[str, list[str]] = {}
    with (data / "flickr8k" / f"captions_{split}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            captions.setdefault(row["image"], []).append(row["caption"])
    chosen = sorted(captions)[:count]
    folder = data / "flickr8k" / "images"
    return [(decode(folder / name, preprocessing), captions[name]) for name in chosen]


def _write_image(backbone: Backbone, mean: NDArray[np.float32], file: Path) -> None:
    example = torch.zeros(2, 3, *backbone.preprocessing.size)
    write_graph(_Unit(backbone.eval(), mean), [example], IMAGE_SIGNATURE, file)


def _encode(file: Path, pairs: Pairs, backbone: Backbone) -> Vectors:
    tower = Tower(file, backbone.dim, Setting(2))
    parts = [[picture for picture, _ in pairs[n : n + 20]] for n in range(0, len(pairs), 20)]
    feeds = [{"pixels": network_input(part, backbone.preprocessing)} for part in parts]
    return np.concatenate([tower.run(feed) for feed in feeds])


def _vocabulary(pairs: Pairs) -> dict[str, int]:
    counts = Counter(w for _, both in pairs for c in both for w in c.lower().split())
    return {"<pad>": 0, "<unk>": 1} | {w: n for n, (w, _) in enumerate(counts.most_common(400), 2)}


def _fit(
    images: Vectors, captions: Sequence[Sequence[str]], vocabulary: dict[str, int]
) -> NDArray[np.float32]:
    """Return a vector for each word, so that the sum of a caption's is near its picture's."""
    words = np.zeros((sum(map(len, captions)), len(vocabulary)), dtype=np.float32)
    for row, caption in zip(words, (c for both in captions for c in both), strict=True):
        for word in caption.lower().split():
            row[vocabulary.get(word, 1)] += 1
    wanted = np.repeat(images, [len(both) for both in captions], axis=0)
    table = np.linalg.solve(words.T @ words + 20 * np.eye(len(vocabulary)), words.T @ wanted)
    table[0] = 0
    return table.astype(np.float32)


def _write_words(table: NDArray[np.float32], file: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "tokens"], ["words"]),
            helper.make_node("ReduceSum", ["words", "axis"], ["embedding"], keepdims=0),
        ],
        "words",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", table.shape[1]])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(file))


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer
