"""Pictures as bytes for terminals: what each protocol's reader would see."""

import base64
import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmsearch.commands.drawing import drawn, sixel
from mmsearch.commands.terminal import Drawing
from mmsearch.core import Pixels


def _picture(width: int, height: int) -> Pixels:
    """Return four quarters of plain colours."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, width // 2 :] = (255, 0, 0)
    pixels[height // 2 :, : width // 2] = (0, 255, 0)
    pixels[height // 2 :, width // 2 :] = (51, 102, 255)
    return pixels


def _read_sixel(content: bytes) -> NDArray[np.uint8]:
    """Return what a terminal would draw, (h, w, 3): an own reader of the DEC format."""
    found = re.fullmatch(rb'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\', content, re.DOTALL)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    canvas = np.zeros((-(-height // 6) * 6, width, 3), dtype=np.uint8)
    colours: dict[int, tuple[int, int, int]] = {}
    colour = column = top = 0
    for define, choose, count, repeated, single, control in re.findall(
        r"#(\d+;2;\d+;\d+;\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", found[3].decode("ascii")
    ):
        if define:
            number, _, *levels = map(int, define.split(";"))
            red, green, blue = (round(level * 255 / 100) for level in levels)
            colours[number] = (red, green, blue)
        elif choose:
            colour = int(choose)
        elif control:
            column, top = 0, top + 6 * (control == "-")
        else:
            bits = ord(repeated or single) - 63
            for _ in range(int(count or 1)):
                for row in range(6):
                    if bits >> row & 1:
                        canvas[top + row, column] = colours[colour]
                column += 1
            assert column <= width
    return canvas[:height]


@pytest.mark.parametrize(("width", "height"), [(40, 24), (1, 1), (7, 13), (300, 6)])
def test_sixels_draw_the_picture(width: int, height: int) -> None:
    pixels = _picture(width, height)
    assert np.abs(_read_sixel(sixel(pixels)).astype(int) - pixels).max() <= 2  # per cents


def test_sixels_of_a_photo_are_near_it() -> None:
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (60, 1))] * 3, axis=2)
    assert np.abs(_read_sixel(sixel(pixels)).astype(int) - pixels).mean() < 8


def test_equal_columns_are_written_once() -> None:
    assert b"!300" in sixel(np.zeros((6, 300, 3), dtype=np.uint8))


def test_kitty_gets_a_png_in_chunks_that_say_whether_more_follow() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
    commands = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", drawn(pixels, Drawing.KITTY, (9, 4)))
    assert len(commands) > 2
    assert all(len(content) <= 4096 for _, content in commands)
    assert commands[0][0] == b"a=T,f=100,q=2,C=1,c=9,r=4,m=1"
    assert [keys for keys, _ in commands[1:]] == [b"m=1"] * (len(commands) - 2) + [b"m=0"]
    image = Image.open(io.BytesIO(base64.b64decode(b"".join(part for _, part in commands))))
    assert np.array_equal(np.asarray(image), pixels)


def test_iterm2_gets_a_png_with_its_size() -> None:
    pixels = _picture(20, 10)
    found = re.fullmatch(
        rb"\x1b\]1337;File=inline=1;width=2;height=1;preserveAspectRatio=1;size=(\d+):(.*)\x07",
        drawn(pixels, Drawing.ITERM2, (2, 1)),
    )
    assert found is not None
    png = base64.b64decode(found[2])
    assert int(found[1]) == len(png)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
