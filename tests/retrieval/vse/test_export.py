"""Towers of torch as model folders."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize
from mmsearch.errors import InputError, ModelError
from mmsearch.retrieval.decode import read_image
from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.folder import read_model_folder, verify
from mmsearch.retrieval.vse import export as export_module
from mmsearch.retrieval.vse.backbone import load_backbone
from mmsearch.retrieval.vse.config import Pooling, TextKind, TrainConfig, VocabularyKind
from mmsearch.retrieval.vse.export import (
    ExportSpec,
    Samples,
    Towers,
    export_model,
    space_digest,
)
from mmsearch.retrieval.vse.image import ImageHead, ImageTower
from mmsearch.retrieval.vse.onnx_graph import write_graph
from mmsearch.retrieval.vse.text import TextTower
from mmsearch.retrieval.vse.vocabulary import learn_tokenizer

SENTENCES = [
    " ".join(["a", colour, shape, *["left of it"] * times])
    for colour in ("red", "green", "blue")
    for shape in ("square", "circle", "star")
    for times in range(5)
]
SPEC = ExportSpec(name="tiny", length=12, licence="CC0", metrics={"rsum": 1.5})


def config(**settings: Any) -> TrainConfig:
    sizes = {"embed_dim": 24, "hidden_dim": 16, "word_dim": 10, "cnn_width": 4, "min_count": 1}
    return TrainConfig(**{**sizes, **settings})


def pictures() -> list[Pixels]:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (40, 20, 24, 3), np.uint8)
    return [picture // (1 + number % 4) for number, picture in enumerate(noise)]


def towers(settings: TrainConfig, *, with_images: bool = True) -> Towers:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(SENTENCES, settings)
    text = TextTower(tokenizer.get_vocab_size(), settings)
    nn.init.normal_(text.embedding.weight)
    backbone = load_backbone("cnn", size=16, width=settings.cnn_width)
    image = ImageTower(backbone, ImageHead(backbone.dim, settings))
    return Towers(
        image=image if with_images else None,
        text=text,
        tokenizer=tokenizer,
        preprocessing=backbone.preprocessing if with_images else None,
    )


@pytest.fixture
def samples() -> Samples:
    return Samples(pictures(), SENTENCES)


def towers_of_every_kind() -> list[Any]:
    return [
        pytest.param(kind, pooling, skip, id=f"{kind}-{pooling}{'-skip' if skip else ''}")
        for kind in TextKind
        for pooling in Pooling
        for skip in (False, True)
    ]


@pytest.mark.parametrize(("kind", "pooling", "skip"), towers_of_every_kind())
def test_every_text_tower_agrees_with_torch(
    tmp_path: Path, kind: TextKind, pooling: Pooling, skip: bool
) -> None:
    settings = config(text_encoder=kind, text_pooling=pooling, text_skip=skip)
    exported = export_model(
        towers(settings, with_images=False), SPEC, Samples([], SENTENCES), tmp_path / "model"
    )
    text = exported.agreement.text
    assert text.samples == len(SENTENCES)
    assert min(text.cosine, text.centred_cosine) > 0.99999
    assert text.alone < 1e-6


def test_a_model_folder_is_whole_and_says_what_it_is(tmp_path: Path, samples: Samples) -> None:
    exported = export_model(towers(config()), SPEC, samples, tmp_path / "model")
    folder = read_model_folder(tmp_path / "model")
    verify(folder)
    assert folder == exported.folder
    assert folder.space.name == "tiny"
    assert folder.space.dim == 24
    assert folder.text.length == 12
    assert folder.licence == "CC0"
    assert folder.metrics == {"rsum": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_encoder_gives_the_vectors_of_torch(tmp_path: Path, samples: Samples) -> None:
    trained = towers(config())
    encoder = OnnxEncoder(export_model(trained, SPEC, samples, tmp_path / "model").folder)
    encoding = trained.tokenizer.encode("a red square")
    trained.text.eval()
    with torch.inference_mode():
        expected = trained.text(torch.tensor([encoding.ids]), torch.tensor([len(encoding.ids)]))
    assert np.allclose(encoder.encode_texts(["a red square"]), expected.numpy(), atol=1e-6)


def test_batch_and_length_are_free_and_the_width_is_stated(
    tmp_path: Path, samples: Samples
) -> None:
    export_model(towers(config()), SPEC, samples, tmp_path / "model")
    shapes = {}
    for name in ("image", "text"):
        session = onnxruntime.InferenceSession(
            str(tmp_path / "model" / f"{name}.onnx"), providers=["CPUExecutionProvider"]
        )
        shapes.update({node.name: node.shape for node in session.get_inputs()})
        assert [node.shape for node in session.get_outputs()] == [["batch", 24]]
    assert shapes == {
        "pixels": ["batch", 3, 16, 16],
        "tokens": ["batch", "length"],
        "lengths": ["batch"],
    }


def test_towers_in_training_are_exported_as_in_evaluation_and_left_training(
    tmp_path: Path, samples: Samples
) -> None:
    trained = towers(config(dropout=0.5, word_dropout=0.5))
    trained.text.train()
    exported = export_model(trained, SPEC, samples, tmp_path / "model")
    assert exported.agreement.text.cosine > 0.99999
    assert trained.text.training


def test_a_vocabulary_of_bytes_is_exported_too(tmp_path: Path) -> None:
    settings = config(vocabulary=VocabularyKind.BPE, vocabulary_size=300)
    samples = Samples([], [*SENTENCES, "ein Bär 🐻", "", "x" * 300])
    exported = export_model(towers(settings, with_images=False), SPEC, samples, tmp_path / "model")
    assert exported.agreement.text.centred_cosine > 0.9999


def test_the_space_is_that_of_the_weights_whatever_the_record(
    tmp_path: Path, samples: Samples
) -> None:
    trained = towers(config())
    first = export_model(trained, SPEC, samples, tmp_path / "a").folder
    other = ExportSpec(name="other", length=12)
    assert export_model(trained, other, samples, tmp_path / "b").folder.space.digest == (
        first.space.digest
    )


def test_weights_tokenizer_preprocessing_and_length_make_the_space() -> None:
    trained = towers(config())
    first = space_digest(trained, 12)
    assert first == space_digest(towers(config()), 12)
    assert first != space_digest(trained, 13)
    half = (0.5, 0.5, 0.5)
    crop = Preprocessing((16, 16), Resize.CROP, Interpolation.BILINEAR, half, half)
    for change in (
        {"preprocessing": crop},
        {"tokenizer": learn_tokenizer(SENTENCES[:5], config())},
        {"image": None},
        {"text": nn.Linear(1, 1)},
    ):
        parts = {name: getattr(trained, name) for name in ("image", "text", "tokenizer")}
        changed = Towers(**{"preprocessing": trained.preprocessing, **parts, **change})
        assert space_digest(changed, 12) != first


def test_a_graph_that_differs_is_an_error_and_the_model_before_stays(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = towers(config())
    before = export_model(trained, SPEC, samples, tmp_path / "model").folder
    real = write_graph

    def wrong(module: nn.Module, *rest: Any) -> None:
        torch.nn.init.normal_(next(module.parameters()))
        real(module, *rest)

    def exact(tower: Any, *rest: Any) -> NDArray[np.float32]:
        return np.eye(40, 24, dtype=np.float32)

    monkeypatch.setattr(export_module, "write_graph", wrong)
    monkeypatch.setattr(export_module, "_embed_images", exact)
    with pytest.raises(ModelError, match="image tower: cosine"):
        export_model(trained, SPEC, samples, tmp_path / "model")
    assert read_model_folder(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class Impossible(nn.Module):
    """A text tower with an operation that ONNX lacks."""

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        grid = tokens[:, :1, None] * lengths.view(-1, 1, 1).float()
        eigenvalues: Tensor = torch.linalg.eigvalsh(grid)
        return eigenvalues


def test_an_operation_without_onnx_is_a_one_line_error(tmp_path: Path) -> None:
    tokenizer = learn_tokenizer(SENTENCES, config())
    impossible = Towers(image=None, text=Impossible(), tokenizer=tokenizer, preprocessing=None)
    with pytest.raises(ModelError, match="cannot be written as ONNX") as caught:
        export_model(impossible, SPEC, Samples([], SENTENCES), tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_samples_nothing_is_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samples"):
        export_model(towers(config()), SPEC, Samples([], SENTENCES), tmp_path / "model")


@pytest.mark.shared_data
def test_real_photos_and_captions_agree(tmp_path: Path, shared_data: Path) -> None:
    with (shared_data / "flickr8k" / "captions_dev.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:200:5]
    photos = [read_image(shared_data / "flickr8k" / "images" / row["image"]) for row in rows]
    captions = [row["caption"] for row in rows]
    settings = config(text_encoder=TextKind.BIGRU)
    backbone = load_backbone(
        "timm:mobilenetv2_100", shared_data / "backbones" / "mobilenetv2_imagenet.safetensors"
    )
    tokenizer = learn_tokenizer(captions, settings)
    real = Towers(
        image=ImageTower(backbone, ImageHead(backbone.dim, settings)),
        text=TextTower(tokenizer.get_vocab_size(), settings),
        tokenizer=tokenizer,
        preprocessing=backbone.preprocessing,
    )
    spec = ExportSpec(name="real", length=32)
    found = export_model(real, spec, Samples(photos, captions), tmp_path / "model").agreement
    assert found.image is not None
    assert min(found.image.centred_cosine, found.text.centred_cosine) > 0.9999
    assert found.inversion <= 1e-5
