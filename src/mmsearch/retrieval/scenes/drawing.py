"""Pictures of scenes: a pale uneven background, smooth edges, and jitter in everything."""

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmsearch.retrieval.scenes.world import Colour, Object, Scene, Shape, Size

RGB: Mapping[Colour, tuple[int, int, int]] = {
    Colour.RED: (214, 40, 40),
    Colour.ORANGE: (245, 130, 32),
    Colour.YELLOW: (240, 205, 40),
    Colour.GREEN: (46, 150, 60),
    Colour.CYAN: (50, 195, 205),
    Colour.BLUE: (40, 75, 205),
    Colour.PURPLE: (125, 50, 165),
    Colour.PINK: (245, 130, 180),
    Colour.BROWN: (120, 72, 35),
    Colour.BLACK: (28, 28, 32),
}
RADIUS: Mapping[Size, float] = {Size.SMALL: 0.13, Size.LARGE: 0.2}
"""Of the circle around an object, in widths of the picture."""

_SUPERSAMPLING = 4
_RING = 0.42  # width of a ring's band in radii


def draw_scene(scene: Scene, size: int, rng: Generator) -> Image.Image:
    """Draw a scene as a square RGB picture of `size` pixels."""
    picture = Image.fromarray(_background(size, rng))
    for item in scene.objects:
        colour = np.clip(np.array(RGB[item.colour]) + rng.integers(-12, 13, size=3), 0, 255)
        picture.paste(tuple(colour.tolist()), mask=_mask(item, size, rng))
    return picture


def _background(size: int, rng: Generator) -> NDArray[np.uint8]:
    tints = rng.uniform(205, 255, size=(2, 3))
    x, y = rng.uniform(-1, 1, size=2) / size
    ramp = np.add.outer(np.arange(size) * y, np.arange(size) * x)
    ramp = (ramp - ramp.min()) / max(np.ptp(ramp), 1e-6)
    noise = rng.normal(0, 2.5, size=(size, size, 1))
    shades = tints[0] + ramp[..., None] * (tints[1] - tints[0]) + noise
    pixels: NDArray[np.uint8] = np.clip(shades, 0, 255).astype(np.uint8)
    return pixels


def _mask(item: Object, size: int, rng: Generator) -> Image.Image:
    canvas = size * _SUPERSAMPLING
    mask = Image.new("L", (canvas, canvas))
    draw = ImageDraw.Draw(mask)
    radius = RADIUS[item.size] * canvas * rng.uniform(0.92, 1.08)
    centre = np.array([item.x, item.y]) * canvas
    if item.shape is Shape.RING:
        box = [*(centre - radius).tolist(), *(centre + radius).tolist()]
        draw.ellipse(box, outline=255, width=round(_RING * radius))
    else:
        points = centre + radius * OUTLINES[item.shape] @ _rotation(rng.uniform(-0.15, 0.15))
        draw.polygon([(x, y) for x, y in points.tolist()], fill=255)
    return mask.reduce(_SUPERSAMPLING)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _around(radii: NDArray[np.float64], start: float = -np.pi / 2) -> NDArray[np.float64]:
    """Return points at these radii, evenly around the centre, the first one at `start`."""
    angles = start + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def _cross() -> NDArray[np.float64]:
    long, short = 0.95, 0.32
    arm = [(short, -long), (short, -short), (long, -short)]
    turns = [_rotation(quarter * np.pi / 2) for quarter in range(4)]
    return np.concatenate([np.array(arm) @ turn.T for turn in turns])


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1) / 17


OUTLINES: Mapping[Shape, NDArray[np.float64]] = {
    Shape.CIRCLE: _around(np.ones(40)),
    Shape.SQUARE: _around(np.ones(4), start=np.pi / 4),
    Shape.TRIANGLE: _around(np.ones(3)),
    Shape.STAR: _around(np.tile([1.0, 0.42], 5)),
    Shape.CROSS: _cross(),
    Shape.DIAMOND: _around(np.array([1.0, 0.6, 1.0, 0.6])),
    Shape.HEART: _heart(),
}
"""Corners in the unit circle, y downwards; a ring is no polygon."""
