"""`mmsearch models`."""

import json
import socket
from pathlib import Path

import pytest
from tests.commands.conftest import Command
from tests.retrieval.onnx_models import make_model
from tests.retrieval.ready_pairs import DIM, photo_server

from mmsearch.retrieval import models


@pytest.fixture(autouse=True)
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the model `mini` alone."""
    folder = tmp_path / "bundled"
    make_model(folder / "mini", name="mini")
    monkeypatch.setattr(models, "BUNDLED", folder)
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_models_are_listed_with_what_they_are(
    run: Command, bundled: Path, model: Path, tmp_path: Path
) -> None:
    assert run("models", "add", model, "--name", "mine").exit_code == 0
    mini, mine = run("models", "list").stdout.splitlines()
    assert mini == f"mini\t4\t0.0 MB\tdefault, bundled\t{bundled / 'mini'}"
    assert mine == f"mine\t4\t0.0 MB\t-\t{tmp_path / 'added' / 'mine'}"
    row, other = json.loads(run("models", "list", "--json").stdout)
    assert row.pop("bytes") > 1000
    assert row == {
        "name": "mini",
        "dim": 4,
        "default": True,
        "bundled": True,
        "int8": [],
        "source": None,
        "path": str(bundled / "mini"),
    }
    assert (other["name"], other["source"], other["default"]) == ("mine", str(model), False)


def test_a_damaged_model_does_not_hide_the_others(run: Command, tmp_path: Path) -> None:
    make_model(tmp_path / "added" / "broken")
    (tmp_path / "added" / "broken" / "text.onnx").unlink()
    done = run("models", "list")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1
    assert "lacks text.onnx" in done.stderr


def test_a_model_is_shown_with_its_licence_and_figures(run: Command, model: Path) -> None:
    shown = run("models", "show").stdout
    assert "name          mini" in shown
    assert "licence       for tests only" in shown
    assert "  rsum          600.0" in shown
    document = json.loads(run("models", "show", model, "--json").stdout)
    assert document["name"] == "colours"
    assert document["image"]["size"] == [6, 4]
    assert document["metrics"] == {"rsum": 600.0}


def test_an_unknown_model_is_an_input_error(run: Command) -> None:
    done = run("models", "show", "maxi")
    assert done.exit_code == 2
    assert "models here: mini" in done.stderr


def test_adding_prints_the_name_and_what_to_do_next(run: Command, tmp_path: Path) -> None:
    source = photo_server(tmp_path / "ViT-B-32__openai")
    done = run("models", "add", source)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "ViT-B-32__openai\n"
    lines = done.stderr.splitlines()
    assert lines[-1] == "next: mmsearch index PHOTOS --model ViT-B-32__openai"
    assert lines[-2].startswith(f"added ViT-B-32__openai: {DIM} dimensions, 0.0 MB, licence:")
    shown = run("models", "show", "ViT-B-32__openai").stdout
    assert f"spec          {source}" in shown
    assert "cleaning      ftfy, html, whitespace, lower" in shown
    assert "size          32 x 32" in shown


def test_an_added_model_indexes_and_answers(run: Command, tmp_path: Path, photos: Path) -> None:
    name = run("models", "add", photo_server(tmp_path / "pair"), "--default").stdout.strip()
    assert run("index", photos).exit_code == 0
    found = run("query", "red dog", "--paths")
    assert len(found.stdout.splitlines()) == 3
    assert json.loads(run("status", "--json").stdout)["model"] == name


def test_only_a_hub_is_asked_over_the_network(
    run: Command, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    name = run("models", "add", photo_server(tmp_path / "pair")).stdout.strip()
    for words in (
        ["models", "list"],
        ["models", "show", name],
        ["models", "default", name],
        ["index", photos],
        ["query", "red"],
        ["models", "remove", name, "--force"],
    ):
        done = run(*words)
        assert done.exit_code == 0, done.stderr


def test_a_model_of_the_same_name_is_replaced_only_when_asked(
    run: Command, model: Path, tmp_path: Path
) -> None:
    assert run("models", "add", model, "--name", "mine").exit_code == 0
    again = run("models", "add", photo_server(tmp_path / "pair"), "--name", "mine")
    assert again.exit_code == 2
    assert "there is a model mine already; give --name NAME, or --replace" in again.stderr
    done = run("models", "add", tmp_path / "pair", "--name", "mine", "--replace")
    assert done.exit_code == 0, done.stderr
    assert json.loads(run("models", "show", "mine", "--json").stdout)["dim"] == DIM


def test_the_bundled_model_is_neither_replaced_nor_removed(run: Command, model: Path) -> None:
    done = run("models", "add", model, "--name", "mini", "--replace")
    assert done.exit_code == 2
    assert "mini is the name of a model that came with mmsearch" in done.stderr
    done = run("models", "remove", "mini")
    assert done.exit_code == 2
    assert "cannot be removed" in done.stderr


def test_removing_says_what_it_frees(run: Command, model: Path, tmp_path: Path) -> None:
    run("models", "add", model, "--name", "mine", "--default")
    done = run("models", "remove", "mine")
    assert done.exit_code == 0
    assert "removed mine: 0.0 MB freed" in done.stderr
    assert "the default is now mini" in done.stderr
    assert [path.name for path in (tmp_path / "added").iterdir()] == [".lock"]
    assert run("models", "remove", "mine").exit_code == 2


def test_a_model_that_the_library_needs_is_not_removed_by_accident(
    run: Command, model: Path, photos: Path
) -> None:
    run("models", "add", model, "--name", "mine")
    assert run("index", photos, "--model", "mine").exit_code == 0
    refused = run("models", "remove", "mine")
    assert refused.exit_code == 2
    assert "was indexed with mine" in refused.stderr
    assert run("query", "red").exit_code == 0
    assert run("models", "remove", "mine", "--force").exit_code == 0
    gone = run("query", "red")
    assert gone.exit_code == 2
    assert "the library was indexed with this model" in gone.stderr


def test_the_default_is_chosen_and_told(
    run: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("models", "default").stdout == "mini\n"
    assert run("models", "add", model, "--name", "mine").exit_code == 0
    assert run("models", "default", "mine").stdout == "mine\n"
    assert run("models", "show").stdout.startswith("name          mine")
    monkeypatch.setenv("MMSEARCH_MODEL", "mini")
    told = run("models", "default")
    assert told.stdout == "mine\n"
    assert "MMSEARCH_MODEL is set to mini" in told.stderr
    assert run("models", "show").stdout.startswith("name          mini")
    unknown = run("models", "default", "maxi")
    assert unknown.exit_code == 2
    assert "models here: mini, mine" in unknown.stderr


def test_the_source_of_an_added_model_names_it(run: Command, photos: Path) -> None:
    done = run("index", photos, "--model", "hf:org/name")
    assert done.exit_code == 2
    assert "run: mmsearch models add hf:org/name" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder"),
        (["open_clip:ViT-B-32"], "names no architecture and tag"),
        (["hf:"], "names no repository"),
        (["."], "holds none of"),
        ([".", "--name", "../up"], "cannot be a model's name"),
        ([".", "--calibrate", "."], "with --int8 only"),
    ],
)
def test_a_source_that_is_none_is_one_clear_line(
    run: Command, inside: Path, words: list[str], message: str
) -> None:
    done = run("models", "add", *words)
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mmsearch: error")]
    assert message in line
    assert not done.stdout
