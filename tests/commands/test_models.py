"""`mmsearch models`."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Command
from tests.retrieval.onnx_models import make_model

from mmsearch.retrieval import models


@pytest.fixture(autouse=True)
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the model `mini` alone."""
    folder = tmp_path / "bundled"
    make_model(folder / "mini", name="mini")
    monkeypatch.setattr(models, "BUNDLED", folder)
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    return folder


def test_models_are_listed_with_their_dimensions(run: Command, bundled: Path) -> None:
    assert run("models", "list").stdout == f"mini\t4\t{bundled / 'mini'}\n"
    (row,) = json.loads(run("models", "list", "--json").stdout)
    assert row == {"name": "mini", "dim": 4, "path": str(bundled / "mini"), "bundled": True}


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
