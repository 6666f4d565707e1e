"""Which pictures a terminal can show: by what it says of itself, else by asking it."""

import os
import select
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, TextIO

_ASK_ATTRIBUTES: Final = b"\x1b[c"
_SIXEL_ATTRIBUTE: Final = "4"
_ANSWER_SECONDS: Final = 0.25
_LONGEST_ANSWER: Final = 256
_USUAL_CELL: Final = (10, 20)
_KITTY_PROGRAMS: Final = frozenset({"ghostty"})
_ITERM2_PROGRAMS: Final = frozenset({"iTerm.app", "WezTerm", "mintty"})
_MULTIPLEXERS: Final = ("TMUX", "STY")


class Drawing(StrEnum):
    """A way to draw pictures between the lines of a terminal.

    KITTY: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>; ITERM2:
    <https://iterm2.com/documentation-images.html>; SIXEL: DEC's, VT330/VT340 Programmer
    Reference Manual, volume 2.
    """

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"


def drawing_of(stream: TextIO, environment: Mapping[str, str]) -> Drawing | None:
    """Return how pictures are drawn on a stream, None when it is no terminal that can.

    Terminals with a protocol of their own are known by their environment. Others, and what runs
    inside a multiplexer, are asked for their attributes, which takes them a moment.
    """
    if not stream.isatty() or environment.get("TERM", "dumb") == "dumb":
        return None
    if not any(environment.get(name) for name in _MULTIPLEXERS):
        named = _by_name(environment)
        if named is not None:
            return named
    return Drawing.SIXEL if _SIXEL_ATTRIBUTE in _attributes() else None


def _by_name(environment: Mapping[str, str]) -> Drawing | None:
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("KITTY_WINDOW_ID") or "kitty" in environment["TERM"]:
        return Drawing.KITTY
    if program in _KITTY_PROGRAMS:
        return Drawing.KITTY
    return Drawing.ITERM2 if program in _ITERM2_PROGRAMS else None


def _attributes() -> set[str]:
    """Return the primary device attributes of the terminal that the process belongs to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return set()
    try:
        return attributes_in(_answer(terminal))
    finally:
        os.close(terminal)


def attributes_in(answer: bytes) -> set[str]:
    """Return the attributes in an answer such as `ESC [ ? 62 ; 4 ; 22 c`; else none."""
    _, found, rest = answer.partition(b"\x1b[?")
    values, ended, _ = rest.partition(b"c")
    return set(values.decode("ascii", "replace").split(";")) if found and ended else set()


def _answer(terminal: int) -> bytes:
    """Ask with the echo off, so that the answer is not shown; give the terminal back as it was."""
    import termios
    import tty

    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        return b""
    answer = b""
    try:
        tty.setcbreak(terminal)
        os.write(terminal, _ASK_ATTRIBUTES)
        while not answer.endswith(b"c") and len(answer) < _LONGEST_ANSWER:
            ready, _, _ = select.select([terminal], [], [], _ANSWER_SECONDS)
            got = os.read(terminal, 64) if ready else b""
            if not got:
                break
            answer += got
    except OSError:
        return b""
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
    return answer


def cell_size(stream: TextIO) -> tuple[int, int]:
    """Return (width, height) of a character in pixels; the usual ones where nobody says."""
    if sys.platform == "win32":
        return _USUAL_CELL
    import fcntl
    import termios

    with suppress(OSError, ValueError):
        window = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", window)
        if min(rows, columns, width, height) > 0:
            return max(1, width // columns), max(1, height // rows)
    return _USUAL_CELL
