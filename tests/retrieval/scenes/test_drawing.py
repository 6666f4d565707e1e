"""What is drawn is what the scene holds."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmsearch.retrieval.scenes import Colour, Object, Scene, Shape, Size
from mmsearch.retrieval.scenes.drawing import RGB, draw_scene


def _near(picture: Image.Image, colour: Colour) -> NDArray[np.bool_]:
    """Return which pixels are closer to this colour than to the others and the background."""
    pixels = np.asarray(picture, dtype=np.float64)
    palette = np.array([RGB[colour], *(RGB[other] for other in Colour), (230, 230, 230)])
    distances = np.abs(pixels[:, :, None, :] - palette).sum(axis=-1)
    nearest: NDArray[np.bool_] = distances[..., 0] <= distances[..., 1:].min(axis=-1)
    return nearest


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("colour", [Colour.RED, Colour.BLUE, Colour.BLACK])
def test_an_object_has_its_colour_where_it_stands(shape: Shape, colour: Colour) -> None:
    scene = Scene((Object(colour, shape, Size.LARGE, 0.3, 0.7),))
    drawn = _near(draw_scene(scene, 64, np.random.default_rng(1)), colour)
    rows, columns = np.nonzero(drawn)
    assert rows.mean() == pytest.approx(0.7 * 64, abs=3)
    assert columns.mean() == pytest.approx(0.3 * 64, abs=3)


def test_a_large_object_covers_more_than_a_small_one() -> None:
    small, large = (
        _near(
            draw_scene(
                Scene((Object(Colour.RED, Shape.CIRCLE, size, 0.5, 0.5),)),
                64,
                np.random.default_rng(2),
            ),
            Colour.RED,
        ).sum()
        for size in Size
    )
    assert large > 2 * small


def test_objects_of_a_pair_do_not_touch() -> None:
    left = Object(Colour.RED, Shape.SQUARE, Size.LARGE, 0.3, 0.5)
    right = Object(Colour.BLUE, Shape.SQUARE, Size.LARGE, 0.7, 0.5)
    for seed in range(10):
        picture = draw_scene(Scene((left, right)), 64, np.random.default_rng(seed))
        red = np.nonzero(_near(picture, Colour.RED))[1]
        blue = np.nonzero(_near(picture, Colour.BLUE))[1]
        assert red.max() < blue.min()
