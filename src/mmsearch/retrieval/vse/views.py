"""Random cuts of pictures whose features stand in for augmentation.

A frozen backbone sees each picture once, so its head can learn the six thousand feature vectors
of a small data set by heart. Features of a few random cuts beside the whole picture prevent that,
and cost their extraction only.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Pixels, Preprocessing, Resize
from mmsearch.retrieval.resizing import resize

SMALLEST = 0.7
"""Shortest side of a cut, as a share of the picture's."""


@dataclass(frozen=True, slots=True)
class View:
    """The n-th cut of every picture, n from 1; with `flip` every second one is mirrored."""

    number: int
    flip: bool

    @property
    def mirrored(self) -> bool:
        """Whether this view is mirrored."""
        return self.flip and self.number % 2 == 0


def cut(pixels: NDArray[np.uint8], view: View, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Cut each picture (b, h, w, 3) at random, scaled back to its size.

    Each side keeps 70 to 100 %. Where is drawn from the view's number and the picture's own
    content, so that a view of a picture is the same in every run.
    """
    return np.stack([_cut_one(picture, view, preprocessing) for picture in pixels])


def _cut_one(picture: Pixels, view: View, preprocessing: Preprocessing) -> Pixels:
    generator = np.random.default_rng([view.number, zlib.crc32(picture.tobytes())])
    height, width = picture.shape[:2]
    sides = generator.uniform(SMALLEST, 1.0, 2)
    rows, columns = (
        max(1, round(n * side)) for n, side in zip((height, width), sides, strict=True)
    )
    top = generator.integers(0, height - rows + 1)
    left = generator.integers(0, width - columns + 1)
    part = picture[top : top + rows, left : left + columns]
    if view.mirrored:
        part = part[:, ::-1]
    squash = Preprocessing(
        (height, width),
        Resize.SQUASH,
        preprocessing.interpolation,
        preprocessing.mean,
        preprocessing.std,
    )
    return resize(np.ascontiguousarray(part), squash)
