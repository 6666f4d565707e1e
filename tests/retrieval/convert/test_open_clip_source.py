"""Whole conversions: a model folder answers as open_clip does, for every family."""

import json
import shutil
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.retrieval.convert.open_clip_models import CONFIG, FAMILIES, WEIGHTS, publish
from tokenizers import Tokenizer

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.agreement import check_source
from mmsearch.retrieval.convert.open_clip_source import load_open_clip
from mmsearch.retrieval.convert.samples import ODD_SENTENCES, Samples
from mmsearch.retrieval.convert.source import Source, space_digest, write_source
from mmsearch.retrieval.folder import ModelFolder, read_model_folder
from mmsearch.retrieval.plain_sentences import plain_sentences
from mmsearch.retrieval.vse.onnx_graph import run_graph


@dataclass(frozen=True)
class Converted:
    """A model as published, as a source and as a model folder."""

    family: str
    directory: Path
    source: Source
    folder: ModelFolder


@pytest.fixture(scope="module", params=FAMILIES)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    return convert(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish("clip", tmp_path_factory.mktemp("clip") / "published")


def convert(family: str, path: Path) -> Converted:
    directory = publish(family, path / "published")
    source = load_open_clip("", None, directory)
    (path / "folder").mkdir()
    return Converted(family, directory, source, write_source(source, path / "folder"))


def test_a_folder_gives_the_vectors_of_open_clip(converted: Converted) -> None:
    figures = check_source(converted.source, converted.folder.path)
    for tower in ("image", "text"):
        assert figures[tower]["cosine"] >= 0.99999
        assert figures[tower]["centred_cosine"] >= 0.9999
    assert figures["inversion"] <= 1e-5


@pytest.mark.shared_data
def test_photos_get_the_vectors_of_open_clip(converted: Converted, shared_data: Path) -> None:
    files = sorted((shared_data / "flickr8k" / "images").glob("*.jpg"))[:50]
    pictures = [Image.open(file).convert("RGB") for file in files]
    sentences = [*ODD_SENTENCES, *plain_sentences(50 - len(ODD_SENTENCES))]
    assert len(pictures) == len(sentences) == 50
    figures = check_source(converted.source, converted.folder.path, Samples(pictures, sentences))
    assert figures["image"]["samples"] == figures["text"]["samples"] == 50
    assert min(figures[tower]["centred_cosine"] for tower in ("image", "text")) >= 0.9999


def test_a_text_tower_takes_what_it_says(converted: Converted) -> None:
    """Any batch; any length that cannot change the answer, else the full length only."""
    spec, tower = converted.source.text_spec, converted.source.text
    assert spec.fixed == FAMILIES[converted.family].fixed
    run = run_graph(converted.folder.text_path, threads=1)
    lengths = [spec.length] if spec.fixed else [2, 3, spec.length // 2, spec.length]
    for length, batch in zip(lengths * 4, (1, 2, 7, 33), strict=False):
        tokens = torch.randint(3, 60, (batch, length), generator=torch.Generator().manual_seed(7))
        tokens[:, -1] = int(converted.source.tokenizer.encode("").ids[-1])
        with torch.inference_mode():
            expected = tower(tokens).numpy()
        np.testing.assert_allclose(run(tokens=tokens.numpy()), expected, atol=2e-4)


def test_a_cut_row_is_the_same_as_a_full_one(converted: Converted) -> None:
    """What is trimmed to its sentence must equal what open_clip fills up to its full length."""
    source = converted.source
    if source.text_spec.fixed:
        pytest.skip("it is always filled up")
    sentences = ["", "a dog", "a cat sits on a mat in the sun and looks at the birds"]
    full = source.pipeline.texts(sentences)
    tokenizer = Tokenizer.from_str(source.tokenizer.to_str())
    tokenizer.enable_truncation(source.text_spec.length)
    for sentence, expected in zip(sentences, full, strict=True):
        ids = tokenizer.encode(sentence).ids
        with torch.inference_mode():
            row = source.text(torch.tensor([ids]))[0]
        cosine = torch.nn.functional.cosine_similarity(row, torch.from_numpy(expected), dim=0)
        assert cosine.item() == pytest.approx(1.0, abs=1e-5)


def test_weights_lie_beside_the_graphs(converted: Converted) -> None:
    folder = converted.folder.path
    graph, weights = folder / "image.onnx", folder / "image.onnx.data"
    assert weights.name in converted.folder.files
    parameters = sum(p.numel() * 4 for p in converted.source.image.parameters())
    assert weights.stat().st_size > 0.5 * parameters
    assert graph.stat().st_size < 400_000


def test_nothing_is_fetched(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    load_open_clip("", None, clip)
    with pytest.raises(ModelError, match=r"tokenizer of timm/ViT-B-16-SigLIP, which is not on"):
        load_open_clip("ViT-B-16-SigLIP", clip / WEIGHTS, None)


def test_an_architecture_and_a_file_are_enough(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    (tmp_path / "tiny-clip.json").write_text(
        json.dumps({"embed_dim": 32, **FAMILIES["clip"].model})
    )
    factory.add_model_config(tmp_path)
    source = load_open_clip("tiny-clip", clip / WEIGHTS, None)
    assert source.name == "tiny-clip"
    assert source.source["architecture"] == "tiny-clip"
    assert space_digest(source) == space_digest(load_open_clip("", None, clip))


def test_the_space_is_that_of_the_weights_whatever_their_file_is_called(
    clip: Path, tmp_path: Path
) -> None:
    other = tmp_path / "renamed"
    other.mkdir()
    shutil.copy(clip / CONFIG, other)
    shutil.copy(clip / WEIGHTS, other / "open_clip_pytorch_model.safetensors")
    first, second = (load_open_clip("", None, path) for path in (clip, other))
    assert first.name != second.name
    assert space_digest(first) == space_digest(second)


def test_other_weights_or_preprocessing_are_another_space(clip: Path, tmp_path: Path) -> None:
    source = load_open_clip("", None, clip)
    other = load_open_clip("", None, publish("clip", tmp_path / "other", seed=1))
    blurred = replace(source.preprocessing, mean=(0.5, 0.5, 0.5))
    shorter = replace(source.text_spec, length=32)
    digests = {
        space_digest(source),
        space_digest(other),
        space_digest(replace(source, preprocessing=blurred)),
        space_digest(replace(source, text_spec=shorter)),
    }
    assert len(digests) == 4


def test_half_precision_weights_are_read_as_single(clip: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(clip / CONFIG, half)
    tensors = {name: tensor.half() for name, tensor in load_file(clip / WEIGHTS).items()}
    save_file(tensors, half / WEIGHTS)
    source = load_open_clip("", None, half)
    assert all(p.dtype is torch.float32 for p in source.image.parameters())
    folder = write_source(source, _empty(tmp_path / "folder"))
    assert check_source(source, folder.path)["text"]["cosine"] >= 0.99999


def test_a_card_in_the_folder_gives_licence_and_data(clip: Path, tmp_path: Path) -> None:
    directory = tmp_path / "carded"
    shutil.copytree(clip, directory)
    card = "---\nlicense: mit\ndatasets:\n- pairs/one\n- 'pairs/two'\n---\n# A model\n"
    (directory / "README.md").write_text(card)
    source = load_open_clip("", None, directory)
    folder = write_source(source, _empty(tmp_path / "folder"))
    assert folder.licence == "mit"
    assert folder.data == {"datasets": "pairs/one, pairs/two"}
    assert folder.source["library"] == "open_clip"
    assert read_model_folder(folder.path) == folder


def test_weights_that_are_of_another_model_are_refused_with_the_first_tensor(
    clip: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "changed"
    shutil.copytree(clip, directory)
    tensors = load_file(directory / WEIGHTS)
    short = {**tensors, "text_projection": tensors["text_projection"][:, :16].contiguous()}
    for changed, reason in (
        (short, r"text_projection is \[32, 16\], where \[32, 32\] is wanted"),
        ({**tensors, "visual.extra": torch.zeros(2)}, r"visual\.extra is not known"),
        (
            {k: v for k, v in tensors.items() if k != "visual.proj"},
            r"they have no visual\.proj",
        ),
        ({"unrelated": torch.zeros(2)}, "they have no"),
    ):
        save_file(changed, directory / WEIGHTS)
        with pytest.raises(ModelError, match=reason) as caught:
            load_open_clip("", None, directory)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a whole safetensors file"),
        (b"\x80\x04pickled", "not a whole safetensors file"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "holds no tensors"),
    ],
)
def test_damaged_weights_are_refused(
    clip: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "damaged.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        load_open_clip("", file, clip)


def test_pickled_weights_are_never_read(clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"cposix\nsystem\n(S'touch /tmp/pwned'\ntR.")
    with pytest.raises(ModelError, match="pickled weights can run any code"):
        load_open_clip("", file, clip)


def test_absent_files_are_named(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"cannot read .*open_clip_config\.json"):
        load_open_clip("", None, tmp_path / "empty")
    shutil.copy(clip / CONFIG, tmp_path / "empty")
    with pytest.raises(ModelError, match=r"has no open_clip_model\.safetensors"):
        load_open_clip("", None, tmp_path / "empty")
    with pytest.raises(ModelError, match=r"cannot read .*absent\.safetensors: No such file"):
        load_open_clip("ViT-B-32", tmp_path / "absent.safetensors", None)
    with pytest.raises(ModelError, match="ViT-B-32 needs weights"):
        load_open_clip("ViT-B-32", None, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vision_cfg": {"timm_model_name": "hf-hub:a/b"}}, "which is not followed"),
        ({"vision_cfg": {"timm_model_name": "no_such_network"}}, "open_clip cannot build"),
        ({"vision_cfg": {"widht": 3}}, "open_clip cannot build"),
        ({"vision_cfg": None}, "must be JSON objects"),
        ({"text_cfg": {"pool_type": "none"}}, "pools by 'none' is not supported"),
        ({"text_cfg": {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}}, "'bpe_path'"),
        ({"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "random"}}}, "'reduction_mask'"),
        ({"text_cfg": {"tokenizer_kwargs": {"clean": "rub"}}}, "'clean=rub'"),
        (
            {"text_cfg": {"hf_tokenizer_name": "a/b", "tokenizer_mode": "clips"}},
            "mode 'clips' is not supported",
        ),
        (
            {
                "text_cfg": {
                    "hf_tokenizer_name": "a/b",
                    "tokenizer_kwargs": {"trust_remote_code": True},
                }
            },
            "'trust_remote_code'",
        ),
        ({"text_cfg": {"hf_tokenizer_name": "nobody/words"}}, "tokenizer of nobody/words"),
        ({"text_cfg": {"hf_model_name": "nobody/text"}}, "text tower of nobody/text"),
    ],
)
def test_what_a_configuration_may_not_ask_for_is_refused(
    clip: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    directory = tmp_path / "asking"
    shutil.copytree(clip, directory)
    document = json.loads((directory / CONFIG).read_text())
    for part, values in change.items():
        known = document["model_cfg"][part]
        document["model_cfg"][part] = None if values is None else known | values
    (directory / CONFIG).write_text(json.dumps(document))
    with pytest.raises(ModelError, match=reason) as caught:
        load_open_clip("", None, directory)
    assert "\n" not in str(caught.value)


def _empty(path: Path) -> Path:
    path.mkdir()
    return path
