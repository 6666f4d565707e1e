"""Pictures as the bytes that make a terminal draw them, at the cursor."""

import base64
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsearch.commands.terminal import Drawing
from mmsearch.core import Pixels

_CHUNK: Final = 4096
"""The most characters of one command of the Kitty protocol."""
_COLOURS: Final = 255
_BAND: Final = 6
"""Rows of pixels in one line of sixels."""


def drawn(pixels: Pixels, drawing: Drawing, cells: tuple[int, int]) -> bytes:
    """Return what draws a picture (h, w, 3) uint8 over (columns, rows) cells.

    A sixel picture has its own size and has to fit; the others are scaled by the terminal.
    """
    match drawing:
        case Drawing.KITTY:
            return _kitty(_png(pixels), cells)
        case Drawing.ITERM2:
            return _iterm2(_png(pixels), cells)
        case Drawing.SIXEL:
            return sixel(pixels)


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _kitty(png: bytes, cells: tuple[int, int]) -> bytes:
    """Return commands that transmit and place a PNG, ask for no answer, leave the cursor."""
    content = base64.b64encode(png)
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    head = f"a=T,f=100,q=2,C=1,c={cells[0]},r={cells[1]},".encode()
    return b"".join(
        b"\x1b_G%sm=%d;%s\x1b\\" % (head if place == 0 else b"", place < len(chunks) - 1, chunk)
        for place, chunk in enumerate(chunks)
    )


def _iterm2(png: bytes, cells: tuple[int, int]) -> bytes:
    sizes = f"width={cells[0]};height={cells[1]};preserveAspectRatio=1;size={len(png)}"
    return f"\x1b]1337;File=inline=1;{sizes}:".encode() + base64.b64encode(png) + b"\x07"


def sixel(pixels: Pixels) -> bytes:
    """Return a picture in at most 255 colours as sixels: six rows a line, run-length encoded."""
    image = Image.fromarray(pixels).quantize(_COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    indexes = np.asarray(image)
    height, width = indexes.shape
    palette = np.asarray(image.getpalette() or [], dtype=np.int64).reshape(-1, 3)
    used = np.unique(indexes)
    parts = [f'\x1bPq"1;1;{width};{height}']
    for colour in used.tolist():
        red, green, blue = (round(value * 100 / 255) for value in palette[colour].tolist())
        parts.append(f"#{colour};2;{red};{green};{blue}")
    parts += [_band(indexes[top : top + _BAND]) for top in range(0, height, _BAND)]
    return ("".join(parts) + "\x1b\\").encode("ascii")


def _band(rows: NDArray[np.uint8]) -> str:
    """Return up to six rows of colour numbers as one line of sixels, colour by colour."""
    bits = (1 << np.arange(len(rows)))[:, np.newaxis]
    lines = [
        f"#{colour}" + _runs(((rows == colour) * bits).sum(axis=0))
        for colour in np.unique(rows).tolist()
    ]
    return "$".join(lines) + "-"


def _runs(values: NDArray[np.int64]) -> str:
    """Return columns of six dots as characters; runs of more than three as `!count character`."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    lengths = np.diff(starts, append=len(values))
    parts = []
    for value, length in zip(values[starts].tolist(), lengths.tolist(), strict=True):
        character = chr(63 + value)
        parts.append(f"!{length}{character}" if length > 3 else character * length)
    return "".join(parts)
