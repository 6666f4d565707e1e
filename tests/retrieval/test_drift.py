"""Decoding a large JPEG at a fraction of its size hardly moves its vector."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsearch.core import Preprocessing
from mmsearch.retrieval.decode import decode_bytes
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.resizing import resize

MOST = 0.005


def as_jpeg(image: Image.Image, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    large = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    large.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def drawn(count: int) -> Iterator[Image.Image]:
    """Draw shapes with sharp edges over soft colours: harder on the DCT than photos are."""
    random = np.random.default_rng(0)
    for _ in range(count):
        soft = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        image = soft.resize((800, 600), Image.Resampling.BICUBIC)
        for _ in range(12):
            left, top = random.integers(0, 700), random.integers(0, 500)
            width, height = random.integers(20, 300, 2)
            colour = tuple(random.integers(0, 256, 3).tolist())
            image.paste(colour, (int(left), int(top), int(left + width), int(top + height)))
        yield image


def drifts(files: Sequence[bytes], preprocessing: Preprocessing) -> np.ndarray:
    """Return 1 - cosine between the two ways of decoding, by the bundled model."""
    encoder = load_encoder("mini")
    scaled = [decode_bytes(data, preprocessing) for data in files]
    whole = [resize(decode_bytes(data, None), preprocessing) for data in files]
    assert any((one != other).any() for one, other in zip(scaled, whole, strict=True))
    vectors = encoder.encode_images(scaled), encoder.encode_images(whole)
    return np.asarray(1 - np.sum(vectors[0] * vectors[1], axis=1))


def test_drawn_pictures_keep_their_vectors() -> None:
    files = [as_jpeg(image, (1600, 1200)) for image in drawn(8)]
    found = drifts(files, load_encoder("mini").preprocessing)
    assert found.mean() <= MOST
    assert found.max() <= 2 * MOST


@pytest.mark.shared_data
def test_photos_keep_their_vectors(shared_data: Path) -> None:
    files = []
    for path in sorted((shared_data / "gallery" / "images").iterdir())[:16]:
        with Image.open(path) as image:
            files.append(as_jpeg(image, (2000, 1500)))
    found = drifts(files, load_encoder("mini").preprocessing)
    assert found.mean() <= MOST
    assert found.max() <= 2 * MOST
