"""The models of a machine change whole or not at all, and one process at a time."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from tests.retrieval.onnx_models import make_model

from mmsearch.errors import LibraryBusyError, ModelError
from mmsearch.retrieval import models
from mmsearch.retrieval.adding import AddOptions, add_model
from mmsearch.retrieval.folder import read_model_folder
from mmsearch.retrieval.managing import (
    changing_models,
    put_in_place,
    remove_model,
    set_default_model,
)
from mmsearch.retrieval.models import default_model, installed_models, resolve_model

PLAIN = AddOptions()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the bundled model `mini` alone; returns where added models lie."""
    make_model(tmp_path / "bundled" / "mini", name="mini")
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    monkeypatch.delenv("MMSEARCH_MODEL", raising=False)
    return tmp_path / "added"


def _names() -> list[str]:
    return [model.name for model in installed_models()]


def _left(machine: Path) -> list[str]:
    return sorted(path.name for path in machine.iterdir() if path.name != ".lock")


def test_what_a_killed_process_left_is_cleared_and_what_it_took_away_comes_back(
    tmp_path: Path, machine: Path
) -> None:
    make_model(machine / ".new.adding", name="half")
    make_model(machine / ".old.replaced", name="old")
    make_model(machine / ".both.replaced", name="older")
    make_model(machine / "both", name="newer")
    make_model(machine / ".gone.removed", name="gone")
    assert _names() == ["mini", "both"]
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), PLAIN)
    assert _left(machine) == ["both", "old", "one"]
    assert read_model_folder(machine / "both").name == "newer"


def test_a_model_that_cannot_be_replaced_stays(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(machine / "one", name="older")
    make_model(machine / ".one.adding", name="newer")
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == ".one.adding":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(machine / ".one.adding", machine / "one")
    assert read_model_folder(machine / "one").name == "older"


def test_two_processes_do_not_change_the_models_at_once(tmp_path: Path, machine: Path) -> None:
    make_model(tmp_path / "one")
    machine.mkdir()
    holder = os.open(machine / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    os.write(holder, b"4711\n")
    with pytest.raises(LibraryBusyError, match="process 4711 is changing the models"):
        add_model(str(tmp_path / "one"), PLAIN)
    os.close(holder)
    with changing_models() as directory:
        assert directory == machine
    assert add_model(str(tmp_path / "one"), PLAIN).name == "one"


def test_the_default_is_a_name_that_goes_with_its_model(tmp_path: Path, machine: Path) -> None:
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), AddOptions(default=True))
    assert default_model() == "one"
    assert resolve_model() == machine / "one"
    shutil.rmtree(machine / "one")
    with pytest.raises(ModelError, match="the default model 'one' is not installed any more"):
        resolve_model()
    set_default_model("mini")
    assert resolve_model() == tmp_path / "bundled" / "mini"
    with pytest.raises(ModelError, match="no model has the name 'one'"):
        remove_model("one")


def test_what_is_removed_is_gone_and_counted(tmp_path: Path, machine: Path) -> None:
    make_model(tmp_path / "one")
    add_model(str(tmp_path / "one"), AddOptions(default=True))
    size = sum(file.stat().st_size for file in (machine / "one").iterdir())
    assert remove_model("one") == size
    assert _left(machine) == []
    assert default_model() is None
    with pytest.raises(ModelError, match="mini came with mmsearch"):
        remove_model("mini")
