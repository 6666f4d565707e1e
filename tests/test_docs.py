"""The documentation cannot drift: what it shows exists, is current, and runs."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from mmsearch.cli import app
from mmsearch.retrieval.models import BUNDLED
from mmsearch.retrieval.scenes import SceneOptions, write_scenes

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md")])
COMMAND_LINE = re.compile(r"^(?:\$ )?mmsearch .+$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", CHECKOUT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()
COMMANDS: dict[str, Any] = dict(GENERATOR.commands(typer.main.get_command(app)))


def _shown_commands(page: Path) -> list[list[str]]:
    """Return every mmsearch command line in the page's fenced blocks, in words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [body for kind, body in FENCED.findall(text) if kind in ("", "console", "shell")]
    lines = [line for body in blocks for line in COMMAND_LINE.findall(body)]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


def _command_of(words: list[str]) -> tuple[str, list[str]]:
    for length in (3, 2):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    raise AssertionError(f"no such command: {shlex.join(words)}")


@pytest.mark.parametrize("page", list(GENERATOR.pages()), ids=lambda page: page.name)
def test_generated_documentation_is_current(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == GENERATOR.pages()[page], "run: make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_flag_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert command.help.strip().splitlines()[0].endswith((".", ":"))
    for param in command.params:
        assert getattr(param, "hidden", False) or param.help, f"{name}: {param.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_reference(name: str) -> None:
    assert f"## {name}\n" in (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_flags_in_the_documentation_exist(page: Path) -> None:
    for words in _shown_commands(page):
        name, rest = _command_of(words)
        known = {flag for param in COMMANDS[name].params for flag in param.opts} | {"--help"}
        known |= {flag for param in COMMANDS[name].params for flag in param.secondary_opts}
        flags = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert flags <= known, f"{page.name}: {shlex.join(words)}"


def test_the_readme_shows_commands() -> None:
    names = {_command_of(words)[0] for words in _shown_commands(CHECKOUT / "README.md")}
    assert {f"mmsearch {name}" for name in ("train", "evaluate", "index", "query")} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_has_the_recipes_that_the_readme_names() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    for recipe in re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{recipe}:", makefile, re.MULTILINE), recipe


@pytest.mark.xfail(
    not (BUNDLED / "mini" / "model.json").exists(), reason="mini is not trained yet", strict=True
)
def test_the_readme_snippet_prints_pictures_and_scores(tmp_path: Path) -> None:
    (snippet,) = (body for kind, body in FENCED.findall(README) if kind == "python")
    write_scenes(tmp_path / "photos", SceneOptions(train=8, dev=0, test=0))
    environment = {key: value for key, value in os.environ.items() if key != "MMSEARCH_MODEL"}
    shown = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) == 5
    scores = [float(line.split("\t")[0]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert all(Path(line.split("\t")[1]).is_file() for line in lines)
