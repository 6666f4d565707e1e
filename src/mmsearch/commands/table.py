"""Answers for people: a thumbnail beside what is known of each, in terminals that draw pictures.

Lines for the text are reserved first and the picture is drawn beside them, so that it does not
matter where a terminal leaves the cursor.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import set_cell_size

from mmsearch.commands.drawing import drawn
from mmsearch.commands.results import Answer, one_line, score_text
from mmsearch.commands.terminal import Drawing
from mmsearch.core import Hit
from mmsearch.errors import DecodeError
from mmsearch.retrieval.details import Details, facts, known
from mmsearch.retrieval.thumbnails import small

ROWS: Final = 5
COLUMNS: Final = 14
_GAP: Final = 2
_LEAST: Final = 24
"""A terminal with fewer columns for text gets them all the same."""
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Screen:
    """What is drawn on: how, its width in columns, a character's (width, height) in pixels."""

    drawing: Drawing
    width: int
    cell: tuple[int, int]
    colours: bool = True


def table(answer: Answer, screen: Screen) -> Iterator[bytes]:
    """Yield the answers as they are ready to be written, five lines each."""
    for name, hits in answer.parts():
        if name is not None:
            yield _encoded(_styled(one_line(name), _BOLD, screen) + "\n")
        for hit in hits:
            yield _entry(hit, known(answer.details, hit), screen)


def _entry(hit: Hit, details: Details, screen: Screen) -> bytes:
    """Return the lines of one answer with its picture at their left."""
    width = max(_LEAST, screen.width - COLUMNS - _GAP - 1)
    lines = [
        (set_cell_size(one_line(line), width).rstrip(), style)
        for line, style in _texts(hit, details)
    ]
    picture = b""
    if hit.item.path is not None:
        try:
            picture = _picture(hit.item.path, screen)
        except DecodeError as error:
            lines[-1] = (set_cell_size(f"cannot be shown: {error.reason}", width).rstrip(), _DIM)
    beside = "".join(
        f"\x1b[{COLUMNS + _GAP}C{_styled(line, style, screen)}\n" for line, style in lines
    )
    reserve = "\n" * ROWS + f"\x1b[{ROWS}A\x1b7"
    return _encoded(reserve) + picture + _encoded("\x1b8" + beside)


def _texts(hit: Hit, details: Details) -> Sequence[tuple[str, str]]:
    """Return five lines and how each is set."""
    item = hit.item
    head = f"{hit.rank}.  {score_text(hit)}"
    if item.path is None:
        texts = [(item.text or "", ""), (item.root or "", _DIM), ("", "")]
    else:
        folder, name = os.path.split(item.path)
        texts = [(name, ""), (folder, _DIM), ("  ".join(facts(details)), _DIM)]
    words = [*(f"[{label}]" for label in details.labels), *details.captions[:1]]
    return [(head, _BOLD), *texts, ("  ".join(words), "")]


def _picture(path: str, screen: Screen) -> bytes:
    """Return what draws the picture within its cells. Raises DecodeError."""
    width, height = screen.cell
    pixels = small(path, COLUMNS * width, ROWS * height)
    columns = min(COLUMNS, max(1, -(-pixels.shape[1] // width)))
    rows = min(ROWS, max(1, -(-pixels.shape[0] // height)))
    return drawn(pixels, screen.drawing, (columns, rows))


def _styled(text: str, style: str, screen: Screen) -> str:
    return f"{style}{text}{_PLAIN}" if style and text and screen.colours else text


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
