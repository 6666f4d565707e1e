"""A library on the disk, and a way to run commands on it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.onnx_models import make_model
from typer.testing import CliRunner, Result

from mmsearch.cli import app

Command: TypeAlias = Callable[..., Result]
Process: TypeAlias = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows red, green and blue."""
    folder = tmp_path_factory.mktemp("colours")
    make_model(folder)
    return folder


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's own library, models and measurements."""
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMSEARCH_MODEL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder that holds photos, sentences and library."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A red, a green and a blue picture."""
    folder = tmp_path / "photos"
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE}.items():
        draw(folder / f"{name}.png", colour)
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A file of three sentences."""
    file = tmp_path / "texts.txt"
    file.write_text("a red rose\na green field\nblue blue blue\n", encoding="utf-8")
    return file


@pytest.fixture
def run() -> Command:
    """Run a command in this process."""

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(word) for word in arguments], input=stdin)

    return run


@pytest.fixture
def process() -> Process:
    """Run a command in a process of its own."""

    def run(
        *arguments: str | bytes | Path, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "mmsearch", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120)

    return run


@pytest.fixture
def indexed(run: Command, photos: Path, texts: Path, model: Path) -> Path:
    """The library of the photos and the sentences."""
    done = run("index", photos, "--texts", texts, "--model", model)
    assert done.exit_code == 0, done.stderr
    return photos
