"""Doubles that a reader can predict."""

from collections.abc import Sequence

import numpy as np

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize, Space, Vectors

WORDS = ("red", "green", "blue", "white", "black", "yellow", "cyan", "magenta")


class FakeEncoder:
    """Eight dimensions: red, green, blue, white, black, yellow, cyan, magenta.

    A picture is encoded by its mean colour, a sentence by the colour words it holds: a picture
    all red and the sentence "a red sky" are the same vector. `images_seen` and `texts_seen`
    count what was encoded.
    """

    def __init__(self, name: str = "fake", size: int = 8) -> None:
        self.space = Space(name, len(WORDS), name.encode().hex().ljust(64, "0")[:64])
        half = (0.5, 0.5, 0.5)
        self.preprocessing = Preprocessing(
            (size, size), Resize.SQUASH, Interpolation.BILINEAR, half, half
        )
        self.images_seen = 0
        self.texts_seen = 0

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Weigh the eight corners of the colour cube by the picture's mean colour."""
        self.images_seen += len(images)
        return unit_rows([_corners(image.reshape(-1, 3).mean(axis=0) / 255) for image in images])

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Count the colour words; a sentence without any points everywhere."""
        self.texts_seen += len(texts)
        counts = [[float(text.lower().split().count(word)) for word in WORDS] for text in texts]
        return unit_rows([row if any(row) else [1.0] * len(WORDS) for row in counts])


def unit_rows(rows: Sequence[Sequence[float]]) -> Vectors:
    """Return float32 rows of length one."""
    matrix = np.array(rows, dtype=np.float32).reshape(len(rows), -1)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float32)


def _corners(mean: Sequence[float]) -> list[float]:
    """Return the trilinear weights of one colour, r, g and b in [0, 1], in the order of WORDS."""
    r, g, b = (float(channel) for channel in mean)
    return [
        r * (1 - g) * (1 - b),
        (1 - r) * g * (1 - b),
        (1 - r) * (1 - g) * b,
        r * g * b,
        (1 - r) * (1 - g) * (1 - b),
        r * g * (1 - b),
        (1 - r) * g * b,
        r * (1 - g) * b,
    ]
