"""The error border, and what a command imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.retrieval.drawing import RED, draw
from tests.retrieval.onnx_models import make_model
from typer.testing import CliRunner

from mmsearch.cli import app
from mmsearch.commands.application import MODULES, build
from mmsearch.commands.border import EXIT_INTERRUPTED, exit_code

FORBIDDEN = """
    torch torchvision transformers open_clip timm sqlite_utils matplotlib tensorboard safetensors
    onnx PIL
"""
UNUSED_BY_A_QUERY = """
    typer click rich pydantic pandas huggingface_hub ftfy httpx platformdirs faiss numpy.random
"""
MODULES_OF_A_QUERY = 310  # in all, NumPy's, ONNX Runtime's and Python's own among them
MODULES_OF_OURS = 51
COUNTING = """
import atexit, sys
from mmsearch.cli import main
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv[0] = "mmsearch"
main()
"""
REPORTING = f"""
import atexit, sys
from mmsearch.cli import main
forbidden = {FORBIDDEN.split()}
atexit.register(lambda: print(*(set(forbidden) & set(sys.modules)), file=sys.stderr))
sys.argv[0] = "mmsearch"
main()
"""


def _run(*arguments: str | Path, program: str = REPORTING) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_help_names_every_command() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert all(name in done.stdout for name in MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_command_works_with_its_own_module_alone(name: str) -> None:
    done = CliRunner().invoke(build([MODULES[name]]), [name, "--help"])
    assert done.exit_code == 0, done.output


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("mmsearch 0.")


def test_without_a_command_the_help_is_shown() -> None:
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "query" in done.output
    assert "error" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["qery"], ["--colour"], ["query", "--colour"], ["models", "x"]]
)
def test_usage_errors_are_one_line_that_names_the_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mmsearch: error: ")
    assert line.endswith("--help")


def test_an_interrupt_is_code_130_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmsearch.retrieval.status.read_status", interrupted)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 130
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    library = tmp_path / "library"
    make_model(tmp_path / "model")
    draw(tmp_path / "photos" / "red.png", RED)
    index: list[str | Path] = [
        "index",
        tmp_path / "photos",
        "--model",
        tmp_path / "model",
        "--library",
        library,
    ]
    assert _run(*index).returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "mmsearch", "query", "red", "--library", str(library)]
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_text_query_imports_nothing_heavy_and_not_even_pillow(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    draw(tmp_path / "photos" / "red.png", RED)
    where: list[str | Path] = ["--library", tmp_path / "library"]
    _run("index", tmp_path / "photos", "--model", tmp_path / "model", *where)
    done = _run("query", "red", *where)
    assert done.returncode == 0
    assert done.stdout.startswith("1.000\t")
    assert done.stderr.strip() == ""


def test_a_text_query_imports_only_what_it_uses(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    draw(tmp_path / "photos" / "red.png", RED)
    where: list[str | Path] = ["--library", tmp_path / "library"]
    _run("index", tmp_path / "photos", "--model", tmp_path / "model", *where)
    done = _run("query", "red", *where, program=COUNTING)
    assert done.returncode == 0
    loaded = done.stderr.split()
    assert set(FORBIDDEN.split() + UNUSED_BY_A_QUERY.split()) & set(loaded) == set()
    assert len(loaded) <= MODULES_OF_A_QUERY
    ours = [name for name in loaded if name.startswith("mmsearch.")]
    assert len(ours) <= MODULES_OF_OURS


@pytest.mark.parametrize(
    "arguments", [["--help"], ["query", "--help"], ["train", "--help"], ["status", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert done.returncode == 0
    assert set(done.stderr.split()) <= {"PIL"}


def test_the_help_shows_defaults_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for words in (["index", "--help"], ["models", "show", "--help"]):
        shown = CliRunner().invoke(app, words)
        assert "[default: " in shown.stdout
        assert "else mini]" in shown.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("status", 0), ("index .", 0), ("query dog", 2)])
def test_a_closed_stream_is_no_error(tmp_path: Path, command: str, code: int, closed: str) -> None:
    draw(tmp_path / "red.png", RED)
    program = f'exec "$0" -m mmsearch {command} --library "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", program, sys.executable, str(tmp_path / "library")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_in_a_module_in_c_that_is_being_imported_is_an_interruption() -> None:
    def work() -> int:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    assert exit_code(work) == EXIT_INTERRUPTED
