"""What networks are given: pictures as normalised pixels, and samples to try a network with."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Pixels, Preprocessing

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return (x / 255 - mean) / std of (n, h, w, 3) uint8 as (n, 3, h, w) float32."""
    mean = np.array(preprocessing.mean, dtype=np.float32)
    std = np.array(preprocessing.std, dtype=np.float32)
    scale, shift = 1 / (255 * std), -mean / std
    result = np.empty((len(pixels), 3, *pixels.shape[1:3]), dtype=np.float32)
    for channel in range(3):
        np.multiply(pixels[..., channel], scale[channel], out=result[:, channel])
        result[:, channel] += shift[channel]
    return result


def network_input(images: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return pictures of any size as (n, 3, h, w) float32, resized where need be."""
    if any(image.shape[:2] != preprocessing.size for image in images):
        from mmsearch.retrieval.resizing import resize

        images = [resize(image, preprocessing) for image in images]
    return normalise(np.stack(images), preprocessing)


def sample_pixels(preprocessing: Preprocessing, count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return noise of the network's size, (count, h, w, 3) uint8."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, *preprocessing.size, 3), dtype=np.uint8)


def sample_sentences(count: int, words: int, *, seed: int = 0) -> list[str]:
    """Return sentences of so many letters that stand alone: about as many tokens."""
    draw = np.random.default_rng(seed)
    return [" ".join(row) for row in draw.choice(list(_LETTERS), (count, words))]
