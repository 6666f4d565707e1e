"""What transformers itself makes of pictures and sentences, by its public classes alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from mmsearch.core import Vectors

SIZES = [(31, 90), (200, 31), (64, 64), (94, 72), (150, 101), (70, 64), (320, 240), (48, 200)]

ODD = [
    "",
    " ",
    "\t\n",
    "a photo of a cat",
    "A Photo, of: a_cat!?",
    "two dogs play with a ball in the snow near the old red house of the man " * 4,
    "x" * 500,
    "\U0001f600 \U0001f44d\U0001f3fd \u2764\ufe0f",
    "Привет, мир! Кошка",
    "一只猫坐在垫子上。猫が好きです",
    "ΚΑΛΗΜΕΡΑ ΣΑΣ",
    "<b>Tom &amp; Jerry</b> &#8364; 5",
    "control \x00\x01\x07 characters\x1c\x7f",
    "zero\u200bwidth no\u00a0break \u3000wide \ufeff",
    "e\u0301 é ﬁne ½ x² İstanbul Straße",
    "don't you're it's 3 o'clock -- 1234567890",
    "مرحبا قطة नमस्ते 고양이",
]


def draw_pictures(count: int = 16) -> list[Image.Image]:
    """Draw pictures of odd sizes: a coloured ground, a slope, shapes at random places."""
    rng = np.random.default_rng(7)
    pictures = []
    for n in range(count):
        width, height = SIZES[n % len(SIZES)]
        ground = np.empty((height, width, 3), dtype=np.uint8)
        ground[:] = rng.integers(0, 256, 3)
        ground[..., n % 3] = np.linspace(0, 255, width)
        picture = Image.fromarray(ground)
        pen = ImageDraw.Draw(picture)
        for _ in range(4):
            x, y = rng.integers(0, width), rng.integers(0, height)
            box = [x, y, x + rng.integers(5, width), y + rng.integers(5, height)]
            pen.ellipse(
                [int(value) for value in box], fill=tuple(map(int, rng.integers(0, 256, 3)))
            )
        pictures.append(picture)
    return pictures


class Transformers:
    """A model directory, loaded as its users do: default attention, default processors."""

    def __init__(self, directory: Path) -> None:
        import transformers as t

        self.model: Any = t.AutoModel.from_pretrained(directory, dtype=torch.float32).eval()
        self.processor: Any = t.AutoImageProcessor.from_pretrained(directory)
        self.pillow: Any = t.AutoImageProcessor.from_pretrained(directory, backend="pil")
        self.tokenizer: Any = t.AutoTokenizer.from_pretrained(directory)

    def images(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return unit rows, the pictures resized as tensors, which is the default."""
        return self._images(self.processor, pictures)

    def by_pillow(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Return unit rows, the pictures resized by Pillow."""
        return self._images(self.pillow, pictures)

    def texts(self, sentences: Sequence[str], *, length: int, padding: str | bool) -> Vectors:
        """Return unit rows of sentences in one batch."""
        tokens = self.tokenizer(
            list(sentences),
            padding=padding,
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        if self.model.config.model_type in {"clip", "metaclip_2", "aimv2", "siglip"}:
            tokens.pop("token_type_ids", None)
        with torch.inference_mode():
            return _rows(self.model.get_text_features(**tokens))

    def _images(self, processor: Any, pictures: Sequence[Image.Image]) -> Vectors:
        pixels = processor(images=list(pictures), return_tensors="pt")
        with torch.inference_mode():
            return _rows(self.model.get_image_features(**pixels))


def _rows(output: Any) -> Vectors:
    rows = torch.nn.functional.normalize(output.pooler_output, dim=-1)
    return np.asarray(rows.numpy(), dtype=np.float32)
