"""Which pictures a terminal can show: by its environment, or by asking one made of two pipes."""

import io
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest

from mmsearch.commands.terminal import Drawing, attributes_in, cell_size, drawing_of

PATIENCE = 120  # seconds, which only a failure waits for


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "drawing"),
    [
        ({"TERM": "xterm-kitty"}, Drawing.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Drawing.KITTY),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, Drawing.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Drawing.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Drawing.ITERM2),
    ],
)
def test_a_terminal_with_a_protocol_is_known_by_name(
    environment: Mapping[str, str], drawing: Drawing
) -> None:
    assert drawing_of(_Terminal(), environment) is drawing


def test_a_pipe_and_a_dumb_terminal_draw_nothing() -> None:
    assert drawing_of(io.StringIO(), {"TERM": "xterm-kitty"}) is None
    assert drawing_of(_Terminal(), {"TERM": "dumb", "KITTY_WINDOW_ID": "1"}) is None
    assert drawing_of(_Terminal(), {"KITTY_WINDOW_ID": "1"}) is None


@pytest.mark.parametrize(
    ("answer", "attributes"),
    [
        (b"\x1b[?62;4;22c", {"62", "4", "22"}),
        (b"noise\x1b[?1;2c", {"1", "2"}),
        (b"\x1b[?64;14", set()),
        (b"", set()),
    ],
)
def test_the_answer_of_a_terminal_is_read(answer: bytes, attributes: set[str]) -> None:
    assert attributes_in(answer) == attributes


_ASK = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # makes it the terminal of the process
from mmsearch.commands import terminal
terminal._ANSWER_SECONDS = float(sys.argv[1])
print(repr(terminal.drawing_of(sys.stdout, os.environ)))
"""


def _asked(answer: bytes, **environment: str) -> bytes:
    """Return what a process prints whose terminal gives that answer to the question."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _ASK, str(PATIENCE if answer else 0.1)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "TERM_PROGRAM": "", **environment},
    )
    os.close(theirs)
    printed = b""

    def read() -> None:
        nonlocal printed
        while True:
            try:
                got = os.read(ours, 1024)
            except OSError:
                return
            if not got:
                return
            printed += got
            if b"\x1b[c" in got:
                os.write(ours, answer)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(ours)
    return printed


def test_a_terminal_that_says_that_it_has_sixels_draws_them() -> None:
    printed = _asked(b"\x1b[?62;4;6;22c")
    assert b"<Drawing.SIXEL: 'sixel'>" in printed
    assert b"62;4" not in printed  # the answer is not echoed


def test_a_terminal_without_sixels_and_one_that_does_not_answer_draw_nothing() -> None:
    assert b"None" in _asked(b"\x1b[?62;22c")
    assert b"None" in _asked(b"")


def test_inside_a_multiplexer_the_terminal_is_asked_whatever_its_name() -> None:
    assert b"None" in _asked(b"\x1b[?1;2c", TERM_PROGRAM="WezTerm", TMUX="/tmp/x,1,0")


def test_cells_have_a_usual_size_where_nobody_says() -> None:
    with open(os.devnull, encoding="ascii") as nothing:  # noqa: PTH123 - a stream, no file
        assert cell_size(nothing) == (10, 20)
