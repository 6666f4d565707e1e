"""Folders of drawn JPEGs that take as long to decode as photos of their size."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from measuring import WORK, say
from numpy.typing import NDArray
from PIL import Image

_SCALES: Final = ((2, 70), (6, 50), (20, 35), (60, 22), (200, 13))
"""How many cells lie side by side, and how much they differ."""
NOISE: Final = 8
"""Standard deviation of a sensor's noise: of 12 megapixels, JPEGs of 3.5 MB."""
LITTLE_NOISE: Final = 4
"""As by daylight: JPEGs of 2.2 MB."""
_QUALITY: Final = 88
_DIFFERENT: Final = 12
_IN_A_FOLDER: Final = 1000
_NOTE: Final = "benchmark.json"


@dataclass(frozen=True, slots=True)
class Photos:
    """A folder of `count` pictures of `width` x `height`, and the mean bytes of a file."""

    folder: Path
    count: int
    width: int
    height: int
    bytes: int


def draw_photos(count: int, width: int, height: int, noise: int = NOISE) -> Photos:
    """Return a folder of so many pictures, made unless it is there.

    A dozen are drawn; the others differ from them in a few bytes after their end, so that to every
    tool they are files of their own.
    """
    kind = "" if noise == NOISE else f"-noise{noise}"
    folder = WORK / f"photos-{width}x{height}-{count}{kind}"
    note = folder / _NOTE
    if not note.exists():
        say(f"drawing {count:,} pictures of {width} x {height}")
        generator = np.random.default_rng(width)
        pool = [photo(generator, width, height, noise) for _ in range(min(count, _DIFFERENT))]
        for number in range(count):
            place = folder / f"roll {number // _IN_A_FOLDER:04}"
            place.mkdir(parents=True, exist_ok=True)
            content = pool[number % len(pool)] + f"#{number:08}".encode()
            (place / f"IMG_{number:08}.jpg").write_bytes(content)
        mean = sum(map(len, pool)) // len(pool)
        note.write_text(json.dumps({"bytes": mean}), encoding="utf-8")
    return Photos(folder, count, width, height, json.loads(note.read_text("utf-8"))["bytes"])


def photo(generator: np.random.Generator, width: int, height: int, noise: int = NOISE) -> bytes:
    """Return a JPEG with detail of every size, and a sensor's noise."""
    picture = np.full((height, width, 3), 128, dtype=np.float32)
    for cells, strength in _SCALES:
        rows = max(2, cells * height // width)
        picture += _smooth(generator.normal(0, strength, (rows, cells, 3)), width, height)
    picture += generator.normal(0, noise, (height, width, 1)).astype(np.float32)
    stream = io.BytesIO()
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _smooth(cells: NDArray[np.float64], width: int, height: int) -> NDArray[np.float32]:
    """Return (rows, columns, 3) numbers scaled up to (height, width, 3)."""
    bands = (Image.fromarray(cells[..., band].astype(np.float32)) for band in range(3))
    grown = (band.resize((width, height), Image.Resampling.BICUBIC) for band in bands)
    return np.stack([np.asarray(band) for band in grown], axis=-1)
