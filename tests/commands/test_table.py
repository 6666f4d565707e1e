"""Answers with thumbnails, as they stand on a screen."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.retrieval.drawing import RED, draw

from mmsearch.commands.results import Answer
from mmsearch.commands.table import COLUMNS, ROWS, Screen, table
from mmsearch.commands.terminal import Drawing
from mmsearch.core import Hit, Item, Modality
from mmsearch.retrieval.details import Details
from mmsearch.retrieval.ordering import Group


@dataclass
class _Emulator:
    """Enough of a terminal to see where text and pictures stand."""

    lines: dict[int, str] = field(default_factory=dict)
    pictures: list[tuple[int, int, str]] = field(default_factory=list)
    row: int = 0
    column: int = 0
    saved: tuple[int, int] = (0, 0)

    def write(self, content: str) -> None:
        pattern = (
            r"(\x1b7)|(\x1b8)|\x1b\[(\d+)([AC])|\x1b\[\d*m|(\n)|"
            r"\x1b_G(a=T[^;]*);[^\x1b]*\x1b\\|\x1b_G[^\x1b]*\x1b\\|([^\x1b\n]+)"
        )
        for save, restore, count, move, end, picture, text in re.findall(pattern, content):
            if save:
                self.saved = self.row, self.column
            elif restore:
                self.row, self.column = self.saved
            elif move:
                self._move(move, int(count))
            elif end:
                self.row, self.column = self.row + 1, 0
            elif picture:
                self.pictures.append((self.row, self.column, picture))
            elif text:
                self._text(text)

    def _move(self, direction: str, count: int) -> None:
        if direction == "A":
            self.row -= count
        else:
            self.column += count

    def _text(self, text: str) -> None:
        line = self.lines.get(self.row, "").ljust(self.column)
        self.lines[self.row] = line[: self.column] + text
        self.column += len(text)


def _shown(answer: Answer, width: int = 60) -> _Emulator:
    emulator = _Emulator()
    for part in table(answer, Screen(Drawing.KITTY, width, (10, 20))):
        emulator.write(part.decode())
    return emulator


def _image(number: int, path: Path, *, weak: bool = False) -> Hit:
    item = Item(number, Modality.IMAGE, None, str(path), None, "00" * 32, 1, 1)
    return Hit(number, 0.5, item, weak)


def test_each_picture_stands_beside_what_is_known_of_it(tmp_path: Path) -> None:
    hits = [
        _image(1, draw(tmp_path / "wide.png", RED, (400, 100))),
        _image(2, draw(tmp_path / "high.png", RED, (30, 400)), weak=True),
    ]
    details = {1: Details(labels=("beach", "2024"), captions=("the sea", "again"))}
    seen = _shown(Answer(hits, details))
    left = " " * (COLUMNS + 2)
    assert seen.lines[0] == f"{left}1.  0.500"
    assert seen.lines[1] == f"{left}wide.png"
    assert seen.lines[2].strip() == str(tmp_path)[: 60 - COLUMNS - 3].strip()
    assert seen.lines[4] == f"{left}[beach]  [2024]  the sea"
    assert seen.lines[ROWS] == f"{left}2.  0.500?"
    assert [(row, column) for row, column, _ in seen.pictures] == [(0, 0), (ROWS, 0)]
    sizes = [re.findall(r"c=(\d+),r=(\d+)", keys)[0] for _, _, keys in seen.pictures]
    assert sizes == [("14", "2"), ("1", "5")]  # 140 x 35 and 8 x 100 pixels
    assert (seen.row, seen.column) == (2 * ROWS, 0)


def test_lines_are_cut_at_the_edge_of_the_screen_and_steer_nothing(tmp_path: Path) -> None:
    name = "long " * 30 + "\x1b[2J.png"
    seen = _shown(Answer([_image(1, draw(tmp_path / name, RED))]), width=50)
    assert max(map(len, seen.lines.values())) < 50
    wide = Item(2, Modality.TEXT, None, None, "犬" * 100, "00" * 32, 1, 0)
    assert _shown(Answer([Hit(1, 0.5, wide)]), width=50).lines[1].count("犬") == 16


def test_what_cannot_be_shown_says_why_and_sentences_have_no_picture(tmp_path: Path) -> None:
    text = Item(2, Modality.TEXT, "/notes.txt", None, "a dog on grass", "00" * 32, 1, 0)
    seen = _shown(Answer([_image(1, tmp_path / "gone.png"), Hit(2, 0.4, text)]))
    assert "cannot be shown: no such file" in seen.lines[4].lower()
    assert seen.lines[ROWS + 1].strip() == "a dog on grass"
    assert seen.lines[ROWS + 2].strip() == "/notes.txt"
    assert seen.pictures == []


def test_groups_have_their_names_above_them(tmp_path: Path) -> None:
    hit = _image(1, draw(tmp_path / "a.png", RED))
    seen = _shown(Answer([hit], groups=[Group("2024-06-05", (hit,))]))
    assert seen.lines[0] == "2024-06-05"
    assert seen.pictures[0][:2] == (1, 0)
