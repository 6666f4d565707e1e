"""What is installed: the wheel's contents, and that it runs on its own."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCE = CHECKOUT / "src" / "mmsearch"
OPTIONAL = """
    torch torchvision timm open_clip transformers safetensors onnx onnxscript tensorboard
    matplotlib fastapi uvicorn pillow_heif rawpy watchfiles pyarrow pymilvus ray
    pytest hypothesis mypy ruff hatchling clip_benchmark
"""
WITHOUT_OPTIONAL = f"""
import sys
for name in {OPTIONAL.split()}:
    sys.modules[name] = None  # importing it now fails, as where it is not installed
from mmsearch.cli import main
sys.argv[0] = "mmsearch"
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the tools at hand, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_OPTIONAL, *arguments],
        env={**os.environ, "PYTHONPATH": str(site), "NO_COLOR": "1", "COLUMNS": "200"},
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_wheel_holds_every_module_and_the_type_marker(names: set[str]) -> None:
    modules = {f"mmsearch/{path.relative_to(SOURCE)}" for path in SOURCE.rglob("*.py")}
    assert modules <= names
    assert "mmsearch/py.typed" in names


def test_the_wheel_holds_the_bundled_model_with_its_licence(names: set[str]) -> None:
    mini = SOURCE / "models" / "mini"
    files = {f"mmsearch/models/mini/{path.name}" for path in mini.glob("[!.]*")}
    assert "mmsearch/models/mini/LICENSE" in files
    assert files <= names


def test_the_wheel_holds_the_licence(names: set[str]) -> None:
    (licence,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
    assert licence.startswith("mmsearch-")


def test_the_wheel_holds_no_tests_and_nothing_outside_the_package(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mmsearch"}
    assert not [name for name in names if "test" in Path(name).name or "__pycache__" in name]


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 14_000_000


def test_the_command_line_runs_from_the_wheel_without_extras_and_tools(unpacked: Path) -> None:
    shown = _run(unpacked, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "mmsearch" in shown.stdout
    assert not shown.stderr


def test_training_without_its_extra_says_what_to_install(unpacked: Path) -> None:
    shown = _run(unpacked, "train", ".", "--output", "run")
    assert shown.returncode == 2
    assert "pip install 'mmsearch[train]'" in shown.stderr


def test_the_console_script_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="mmsearch")
    assert script.value == "mmsearch.cli:main"
    command = Path(sys.executable).with_name("mmsearch")
    shown = subprocess.run([command, "--help"], capture_output=True, check=False, timeout=120)
    assert shown.returncode == 0
