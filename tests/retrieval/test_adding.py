"""Any source becomes a model with a name, whole or not at all."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.hub_server import LARGE, Hub, serving
from tests.retrieval.onnx_models import make_model
from tests.retrieval.ready_pairs import DIM, Shape, photo_server, transformers_js

from mmsearch.errors import ConfigError, InputError, MissingExtraError, ModelError
from mmsearch.retrieval import adding, download, models
from mmsearch.retrieval.adding import AddOptions, add_model
from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.fetching import Watch
from mmsearch.retrieval.folder import read_model_folder, verify
from mmsearch.retrieval.managing import remove_model
from mmsearch.retrieval.models import installed_models, load_encoder, resolve_model

PLAIN = AddOptions()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the bundled model `mini` alone; returns where added models lie."""
    make_model(tmp_path / "bundled" / "mini", name="mini")
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("MMSEARCH_MODEL", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "added"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, empty at first."""
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def _names() -> list[str]:
    return [model.name for model in installed_models()]


def _left(machine: Path) -> list[str]:
    return sorted(path.name for path in machine.iterdir() if path.name != ".lock")


def test_a_model_folder_is_copied_under_its_new_name(tmp_path: Path, machine: Path) -> None:
    source = make_model(tmp_path / "source", name="colours")
    (tmp_path / "source" / "README.md").write_text("the card\n")
    added = add_model(str(tmp_path / "source"), AddOptions(name="mine"))
    assert added.path == machine / "mine"
    assert (added.name, added.space.digest) == ("mine", source.space.digest)
    assert added.metrics == source.metrics
    assert (machine / "mine" / "README.md").read_text() == "the card\n"
    verify(added)
    shutil.rmtree(tmp_path / "source")
    assert load_encoder("mine").encode_texts(["green"]).argmax() == 1


def test_a_training_run_means_its_exported_model(tmp_path: Path) -> None:
    make_model(tmp_path / "first" / "model")
    (tmp_path / "first" / "config.json").write_text("{}")
    assert add_model(str(tmp_path / "first"), PLAIN).name == "first"
    assert add_model(str(tmp_path / "first" / "model"), AddOptions(name="again")).name == "again"


def test_a_damaged_model_folder_is_not_added(tmp_path: Path, machine: Path) -> None:
    make_model(tmp_path / "source")
    content = bytearray((tmp_path / "source" / "image.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "source" / "image.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"image\.onnx differs"):
        add_model(str(tmp_path / "source"), PLAIN)
    assert _left(machine) == []


def test_a_ready_pair_gets_a_card_and_its_source(tmp_path: Path, machine: Path) -> None:
    source = photo_server(tmp_path / "pair")
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Pair\n")
    added = add_model(str(source), PLAIN)
    assert added.source["spec"] == str(source)
    assert added.licence == "apache-2.0"
    assert added.optimised["level"] == "extended"
    assert "mmsearch index PHOTOS --model pair" in (machine / "pair" / "README.md").read_text()
    assert OnnxEncoder(added).encode_texts(["a red dog"]).shape == (1, DIM)


def test_a_repository_is_fetched_added_and_known_by_its_source(
    hub: Hub, tmp_path: Path, machine: Path
) -> None:
    hub.repositories["org/pair"] = photo_server(tmp_path / "pair", Shape(beside=True))
    (tmp_path / "pair" / "pytorch_model.bin").write_bytes(bytes(LARGE))
    said: list[str] = []
    added = add_model("hf:org/pair", PLAIN, Watch(said.append))
    assert added.name == "pair"
    assert added.source["revision"] == hub.commit("org/pair")
    assert added.licence == "mit"
    assert resolve_model("hf:org/pair") == machine / "pair"
    assert any("fetching" in line and "org/pair" in line for line in said)
    assert not [path for path in hub.paths("resolve") if "pytorch_model" in path]
    assert [p for p in hub.paths("resolve") if "model.onnx_data" in p]
    downloads = tmp_path / "cache" / "mmsearch" / "downloads"
    assert not [path for path in downloads.rglob("*") if path.is_file()]
    with pytest.raises(ModelError, match="run: mmsearch models add hf:org/other"):
        resolve_model("hf:org/other")


def test_an_interrupted_download_is_gone_on_with_by_the_same_command(
    hub: Hub, tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["org/pair"] = photo_server(tmp_path / "pair")
    hub.cut, hub.cuts = 1500, 1
    monkeypatch.setattr(download, "TRIES", 0)  # the first break is the last
    with pytest.raises(ModelError, match="run the same command to go on"):
        add_model("hf:org/pair", PLAIN)
    assert _left(machine) == []
    asked = len(hub.asked)
    add_model("hf:org/pair", PLAIN)
    ranges = [headers.get("range") for kind, _, headers in hub.asked[asked:] if kind == "store"]
    assert ranges[0] == "bytes=1500-"
    assert "pair" in _names()


def test_a_repository_of_pickles_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["org/old"] = tmp_path / "old"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text("{}")
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"org/old holds only pickled weights"):
        add_model("hf:org/old", PLAIN)


def test_an_mmsearch_model_on_a_hub_is_one_too(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["me/colours"] = tmp_path / "colours"
    source = make_model(tmp_path / "colours")
    added = add_model("hf:me/colours", PLAIN)
    assert added.space.digest == source.space.digest


def test_without_a_network_the_error_names_the_local_way(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"cannot reach .* mmsearch models add FOLDER"):
            add_model("hf:org/pair", PLAIN)
        snapshot = tmp_path / "home" / "hub" / "models--org--pair" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("1")
        with pytest.raises(ModelError, match=rf"mmsearch models add {snapshot}") as caught:
            add_model("hf:org/pair", PLAIN)
    assert "\n" not in str(caught.value)
    assert _left(machine) == []


def test_a_source_on_this_machine_opens_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    make_model(tmp_path / "folder")
    add_model(str(tmp_path / "folder"), PLAIN)
    add_model(str(photo_server(tmp_path / "pair")), PLAIN)
    add_model(str(transformers_js(tmp_path / "js")), PLAIN)
    remove_model("pair")
    assert _names() == ["mini", "folder", "js"]


def test_a_missing_package_is_told_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(b"{}")
    hub.repositories["org/model"] = folder
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers .*pip install 'mmsearch\[train\]'"):
        add_model("hf:org/model", PLAIN)
    assert hub.paths("resolve") == []
    monkeypatch.setitem(sys.modules, "torch", None)
    for source in ("open_clip:ViT-B-32/openai", f"open_clip:ViT-B-32//{folder}/model.safetensors"):
        with pytest.raises(MissingExtraError, match="torch is not installed"):
            add_model(source, PLAIN)
    photo_server(folder / "onnx")
    shutil.move(folder / "onnx" / "visual", folder)
    shutil.move(folder / "onnx" / "textual", folder)
    (folder / "config.json").write_text('{"text_cfg": {}}')
    said: list[str] = []
    assert add_model("hf:org/model", PLAIN, Watch(said.append)).space.dim == DIM
    assert any("torch is not installed: taking an ONNX pair" in line for line in said)


def test_a_name_that_is_taken_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), PLAIN)
    monkeypatch.setattr(adding, "_make", lambda *_: pytest.fail("it began"))
    with pytest.raises(ModelError, match="there is a model one already"):
        add_model(str(tmp_path / "one"), PLAIN)
    with pytest.raises(ModelError, match="came with mmsearch"):
        add_model(str(tmp_path / "one"), AddOptions(name="mini", replace=True))


def test_a_model_that_cannot_be_made_leaves_the_one_it_would_replace(
    tmp_path: Path, machine: Path
) -> None:
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), PLAIN)
    source = photo_server(tmp_path / "pair")
    (source / "visual" / "model.onnx").write_bytes(b"rubbish")
    with pytest.raises(ModelError):
        add_model(str(source), AddOptions(name="one", replace=True))
    assert read_model_folder(machine / "one").space.dim == 4
    assert _left(machine) == ["one"]


@pytest.mark.parametrize("place", ["building", "finished"])
def test_a_kill_leaves_no_half_made_model(tmp_path: Path, machine: Path, place: str) -> None:
    make_model(tmp_path / "one")
    program = f"""
import os, signal
from pathlib import Path
from mmsearch.retrieval import adding, models
models.models_directory = lambda: Path({str(machine)!r})
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if {place!r} == "building": adding._finish = die
else: adding.put_in_place = die
adding.add_model({str(tmp_path / "one")!r}, adding.AddOptions())
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=120)
    assert done.returncode < 0
    assert _names() == ["mini"]
    add_model(str(tmp_path / "one"), PLAIN)
    assert _left(machine) == ["one"]


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "one")
    (tmp_path / "file").touch()
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "file" / "added")
    with pytest.raises(ModelError, match="cannot write to"):
        add_model(str(tmp_path / "one"), PLAIN)


def test_pictures_to_calibrate_on_need_a_folder_and_a_purpose(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with --int8 only"):
        AddOptions(calibrate=tmp_path)
    with pytest.raises(ConfigError, match="no folder of pictures"):
        AddOptions(int8=True, calibrate=tmp_path / "none")


def test_a_folder_without_pictures_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    monkeypatch.setattr(adding, "_make", lambda *_: pytest.fail("it began"))
    options = AddOptions(int8=True, calibrate=tmp_path / "photos")
    with pytest.raises(InputError, match="holds no pictures"):
        add_model(str(photo_server(tmp_path / "pair")), options)


def test_8_bit_networks_are_tried_on_the_users_pictures(tmp_path: Path) -> None:
    for n, colour in enumerate([RED, GREEN, BLUE] * 4):
        draw(tmp_path / "photos" / f"{n}.png", colour)
    said: list[str] = []
    options = AddOptions(int8=True, calibrate=tmp_path / "photos")
    added = add_model(str(photo_server(tmp_path / "pair")), options, Watch(said.append))
    assert set(added.int8) == {"image", "text"}
    assert "trying 8-bit networks" in said
    verify(added)
    assert OnnxEncoder(added).encode_texts(["red"]).shape == (1, DIM)


def test_what_was_added_is_recorded_in_json(tmp_path: Path, machine: Path) -> None:
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), PLAIN)
    document = json.loads((machine / "one" / "model.json").read_text())
    assert document["source"]["spec"] == str(tmp_path / "one")
