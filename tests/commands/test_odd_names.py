"""Names that are awkward come back out right, from the installed program."""

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw

Program: TypeAlias = Callable[..., "subprocess.CompletedProcess[bytes]"]

LONG = b"x" * 251 + b".png"
# A question, the name of the picture that answers it, and the name as a line shows it.
NAMES = {
    "red": (b"two\nlines\r\t.png", rb"two\nlines\r\t.png"),
    "green": (b"caf\xe9 \xff\xfe.png", b"caf\xe9 \xff\xfe.png"),
    "blue": (LONG, LONG),
    "red green": (
        "photo\u202egnp.exe\u202c\u2066.png".encode(),
        rb"photo\u202egnp.exe\u202c\u2066.png",
    ),
    "green blue": ("\x1b[31m\x9b2J\u0085\u2028.png".encode(), rb"\x1b[31m\x9b2J\x85\u2028.png"),
    "red blue": ("<b>&amp;\"'日本 é.png".encode(), "<b>&amp;\"'日本 é.png".encode()),
}
COLOURS = {
    "red": RED,
    "green": GREEN,
    "blue": BLUE,
    "red green": (255, 255, 0),
    "green blue": (0, 255, 255),
    "red blue": (255, 0, 255),
}
QUESTIONS = sorted(NAMES)
BROKEN = [name[:-4] + b".jpg" for name, _ in NAMES.values()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A folder, itself oddly named, of a picture and a broken file for each name."""
    place = os.fsencode(tmp_path_factory.mktemp("odd")) + b"/\xe9\n\xe2\x80\xae"
    os.mkdir(place)  # noqa: PTH102 - bytes
    for question, (name, _) in NAMES.items():
        drawn = draw(tmp_path_factory.mktemp("drawn") / "a.png", COLOURS[question])
        os.rename(drawn, place + b"/" + name)  # noqa: PTH104 - bytes
    for name in BROKEN:
        with open(place + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(b"no picture")
    return place


@pytest.fixture(scope="module")
def program(folder: bytes, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The installed program, on a library of the folder that is oddly named as well."""
    library = os.fsencode(tmp_path_factory.mktemp("library")) + b"/\xe8\n\xe2\x80\xae"
    script = os.fsencode(Path(sys.executable).with_name("mmsearch"))

    def run(*arguments: str | bytes, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [script, *(os.fsencode(word) for word in arguments), b"--library", library]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120)

    done = run("index", folder, "--model", str(model), "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["new"], counts["failed"]) == (len(NAMES), len(BROKEN))
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    assert all(line.startswith(b"mmsearch: warning: ") for line in lines)
    assert not _controls(done.stderr)
    return run


def _controls(output: bytes) -> list[str]:
    """Return what would steer a terminal or turn the text, the line's own end and tab aside."""
    text = output.decode("utf-8", "surrogateescape")
    return re.findall(
        "[^\\S\n\t ]|[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text
    )


def _shown(folder: bytes) -> bytes:
    """Return the folder as a line shows it."""
    return folder.replace(b"\n", rb"\n").replace(b"\xe2\x80\xae", rb"\u202e")


def test_lines_are_one_a_picture_and_steer_no_terminal(program: Program, folder: bytes) -> None:
    done = program("query", "-", "-k", "1", stdin="\n".join(QUESTIONS).encode())
    lines = done.stdout.removesuffix(b"\n").split(b"\n")
    assert [line.split(b"\t")[1] for line in lines] == [
        _shown(folder) + b"/" + NAMES[question][1] for question in QUESTIONS
    ]
    assert not _controls(done.stdout)


def test_paths_are_the_bytes_of_the_file_system(program: Program, folder: bytes) -> None:
    asked = "\n".join(QUESTIONS).encode()
    expected = [folder + b"/" + NAMES[question][0] for question in QUESTIONS]
    nul = program("query", "-", "-k", "1", "-0", stdin=asked).stdout
    assert nul.split(b"\0")[:-1] == expected
    paths = program("query", "-", "-k", "1", "--paths", stdin=asked).stdout
    assert paths == b"".join(path + b"\n" for path in expected)
    assert all(os.path.exists(path) for path in nul.split(b"\0")[:-1])  # noqa: PTH110 - bytes


def test_json_gives_the_name_back(program: Program, folder: bytes) -> None:
    done = program("query", "-", "-k", "1", "--json", stdin="\n".join(QUESTIONS).encode())
    assert done.stdout.isascii()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [os.fsencode(answer["hits"][0]["path"]) for answer in answers] == [
        folder + b"/" + NAMES[question][0] for question in QUESTIONS
    ]


def test_failures_are_one_a_line_and_json_gives_the_name_back(
    program: Program, folder: bytes
) -> None:
    lines = program("failures").stdout.removesuffix(b"\n").split(b"\n")
    assert len(lines) == len(BROKEN)
    assert all(
        line.endswith(b"\tnot a picture, or a format that is not supported") for line in lines
    )
    assert not _controls(b"\n".join(lines))
    rows = json.loads(program("failures", "--json").stdout)
    assert {os.fsencode(row["path"]) for row in rows} == {folder + b"/" + name for name in BROKEN}


def test_status_names_library_and_folder_on_a_line_each(program: Program, folder: bytes) -> None:
    done = program("status")
    assert done.returncode == 0
    assert not _controls(done.stdout)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        b"library",
        b"items",
        b"model",
        b"failed",
        b"folder",
    ]
    assert done.stdout.splitlines()[-1].split(None, 1)[1] == _shown(folder)
    found = json.loads(program("status", "--json").stdout)
    assert [os.fsencode(root["path"]) for root in found["roots"]] == [folder]
    assert (found["images"], found["failed"]) == (len(NAMES), len(BROKEN))


def test_a_gallery_shows_every_name_as_text_and_links_to_its_bytes(
    program: Program, folder: bytes, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert program("query", "red", "--html", str(page)).returncode == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == len(NAMES)
    assert '<b>&amp;"' not in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", text)
    links = [html.unescape(link) for link in re.findall(r'href="([^"]*)"', text)]
    assert {unquote_to_bytes(link.removeprefix("file://")) for link in links} == {
        folder + b"/" + name for name, _ in NAMES.values()
    }


def test_an_odd_name_may_be_asked_with_and_complained_of(program: Program, folder: bytes) -> None:
    found = program("query", "--own", "--image", folder + b"/" + NAMES["red"][0], "-k", "1", "-0")
    assert found.stdout == folder + b"/" + NAMES["red"][0] + b"\0"
    for path in (folder + b"/" + BROKEN[0], folder + b"/absent\x1b\n.png"):
        done = program("query", "--image", path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert not _controls(done.stderr)
    script = Path(sys.executable).with_name("mmsearch")
    library = folder + b"/\x1b[31m\nno library"
    done = subprocess.run(
        [script, "query", "red", "--library", library], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not _controls(done.stderr)
    gone = program("index", folder + b"/absent\x1b\n\xe2\x80\xae")
    assert gone.returncode == 2
    assert len(gone.stderr.splitlines()) == 1
    assert not _controls(gone.stderr)
