"""Models of other libraries, from the hub or the disk to a model with a name."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
from tests.retrieval.convert import hf_models
from tests.retrieval.convert.open_clip_models import CONFIG, FAMILIES, WEIGHTS, publish
from tests.retrieval.hub_server import Hub, serving

from mmsearch.errors import ModelError
from mmsearch.retrieval import download, models
from mmsearch.retrieval.adding import AddOptions, add_model
from mmsearch.retrieval.convert.published import find_published
from mmsearch.retrieval.convert.samples import ODD_SENTENCES, drawn_samples
from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.fetching import TextSources, Watch
from mmsearch.retrieval.models import load_encoder, resolve_model
from mmsearch.retrieval.specs import HubRepository, OpenClipTag

PLAIN = AddOptions()
SIGLIP = "tiny-siglip-test"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without models."""
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "none")
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("MMSEARCH_MODEL", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, empty at first."""
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture with a tokenizer of its own, and a tag that open_clip says is published."""
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / f"{SIGLIP}.json").write_text(
        json.dumps({"embed_dim": 32, **FAMILIES["siglip"].model})
    )
    from open_clip import factory, pretrained

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS, configs])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    factory._rescan_model_configs()
    tags = {"webli": pretrained._slpcfg(hf_hub="org/weights/old_name.bin")}
    monkeypatch.setitem(pretrained._PRETRAINED, SIGLIP, tags)
    return f"open_clip:{SIGLIP}/webli"


def test_published_weights_of_open_clip_are_fetched_with_their_tokenizer(
    hub: Hub, tmp_path: Path, tag: str
) -> None:
    publish("siglip", tmp_path / "all")
    (tmp_path / "weights").mkdir()
    shutil.move(tmp_path / "all" / WEIGHTS, tmp_path / "weights" / "old_name.safetensors")
    (tmp_path / "weights" / "old_name.bin").write_bytes(b"a pickle")
    hub.repositories = {"org/weights": tmp_path / "weights", "nobody/siglip": tmp_path / "all"}
    said: list[str] = []
    added = add_model(tag, PLAIN, Watch(said.append))
    assert added.name == f"{SIGLIP}-webli"
    assert added.licence == "mit"
    assert added.source["revision"] == hub.commit("org/weights")
    assert resolve_model(tag) == tmp_path / "added" / added.name
    assert not [p for p in hub.paths("resolve") if p.endswith((".bin", CONFIG))]
    assert added.preprocessing is not None
    assert added.preprocessing.mean == (0.5, 0.5, 0.5)  # the tag's, not open_clip's default
    shutil.copyfile(tmp_path / "weights" / "old_name.safetensors", tmp_path / "all" / WEIGHTS)
    other = add_model(str(tmp_path / "all"), AddOptions(name="other"))
    sentences = list(ODD_SENTENCES)
    found = OnnxEncoder(added).encode_texts(sentences)
    assert found == pytest.approx(load_encoder("other").encode_texts(sentences), abs=1e-5)
    assert other.space.dim == added.space.dim == 32


def test_a_file_of_weights_is_added_without_a_network(
    tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = publish("siglip", tmp_path / "all")  # its tokenizer lies beside the weights
    added = add_model(f"open_clip:{SIGLIP}//{folder / WEIGHTS}", PLAIN)
    assert added.name == f"{SIGLIP}-open_clip_model"
    whole = add_model(str(folder), AddOptions(name="whole"))
    assert added.space.digest == whole.space.digest
    with pytest.raises(ModelError, match="is a file; give its folder"):
        add_model(str(folder / WEIGHTS), PLAIN)


def test_where_weights_are_published_is_open_clips_to_say(tag: str) -> None:
    place = find_published(OpenClipTag(SIGLIP, "webli"))
    assert place.repository == HubRepository("org/weights")
    assert place.file == "old_name.safetensors"
    assert place.text == TextSources("nobody/siglip")
    place = find_published(OpenClipTag("ViT-B-32", "laion2b_s34b_b79k"))
    assert place.repository == HubRepository("laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    assert (place.file, place.text) == ("", TextSources())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("open_clip:ViT-B-23/openai", "did you mean ViT-B-32"),
        ("open_clip:ViT-B-32/openia", "did you mean openai"),
    ],
)
def test_unknown_weights_name_the_nearest(hub: Hub, source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        add_model(source, PLAIN)


def test_weights_that_are_published_as_pickles_alone_are_refused(
    hub: Hub, tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "old_name.bin").write_bytes(b"a pickle")
    hub.repositories = {"org/weights": tmp_path / "weights"}
    with pytest.raises(ModelError, match=r"org/weights holds only pickled weights"):
        add_model(tag, PLAIN)
    urls = {"webli": open_clip.pretrained._slpcfg(url="https://host.invalid/weights.pt")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, SIGLIP, urls)
    with pytest.raises(ModelError, match=rf"pickled file alone.*open_clip:{SIGLIP}//FILE"):
        add_model(tag, PLAIN)


def test_an_open_clip_repository_is_read_as_such(hub: Hub, tmp_path: Path) -> None:
    hub.repositories = {
        "org/open": publish("xlm-roberta", tmp_path / "open"),
        "nobody/text": tmp_path / "text",
    }
    (tmp_path / "text").mkdir()
    shutil.copyfile(tmp_path / "open" / "config.json", tmp_path / "text" / "config.json")
    (tmp_path / "text" / "tokenizer.json").write_text("not this one")
    added = add_model("hf:org/open", PLAIN)
    assert added.name == "open"
    assert [p for p in hub.paths("resolve") if "nobody" in p] == [
        f"/nobody/text/resolve/{hub.commit('nobody/text')}/config.json"
    ]
    assert added.source["library"] == "open_clip"
    agreement = added.metrics["agreement"]
    assert isinstance(agreement, dict)
    assert agreement["image"]["cosine"] > 0.9999


def test_a_repository_cannot_name_a_path_to_write_to(hub: Hub, tmp_path: Path) -> None:
    folder = publish("clip", tmp_path / "open")
    document = json.loads((folder / CONFIG).read_text())
    document["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "../../../up"
    (folder / CONFIG).write_text(json.dumps(document))
    hub.repositories = {"org/open": folder}
    with pytest.raises(ModelError, match="names no repository"):
        add_model("hf:org/open", PLAIN)


def test_a_transformers_repository_is_read_as_such(hub: Hub, tmp_path: Path) -> None:
    hub.repositories = {"org/clip": hf_models.clip(tmp_path / "clip")}
    added = add_model("hf:org/clip@main", PLAIN)
    assert added.source["spec"] == "hf:org/clip@main"
    rows = OnnxEncoder(added).encode_texts(["a cat", "two dogs"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("family", ["clip", "chinese_clip"])
def test_the_same_model_as_a_ready_pair_gives_the_same_vectors(tmp_path: Path, family: str) -> None:
    source = getattr(hf_models, family)(tmp_path / "source")
    converted = add_model(str(source), AddOptions(name="converted"))
    (tmp_path / "pair" / "onnx").mkdir(parents=True)
    for tower, name in (("image", "vision_model"), ("text", "text_model")):
        for file in converted.path.glob(f"{tower}.onnx*"):  # the graph names its file of weights
            new = f"{name}.onnx" if file.name == f"{tower}.onnx" else file.name
            shutil.copyfile(file, tmp_path / "pair" / "onnx" / new)
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, tmp_path / "pair" / name)
    shutil.copyfile(converted.tokenizer_path, tmp_path / "pair" / "tokenizer.json")
    pair = add_model(str(tmp_path / "pair"), PLAIN)
    assert pair.preprocessing == converted.preprocessing
    samples = drawn_samples()
    pictures = [np.asarray(picture) for picture in samples.pictures]
    one, other = OnnxEncoder(converted), OnnxEncoder(pair)
    assert other.encode_images(pictures) == pytest.approx(one.encode_images(pictures), abs=1e-5)
    sentences = list(samples.sentences)
    assert other.encode_texts(sentences) == pytest.approx(one.encode_texts(sentences), abs=1e-5)


def test_without_a_network_published_weights_name_the_local_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"models add open_clip:ViT-B-32//FILE\.safetensors"):
        add_model("open_clip:ViT-B-32/openai", PLAIN)
