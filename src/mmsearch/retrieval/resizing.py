"""The one resize of the project: pictures are brought to an encoder's input size."""

import numpy as np
from PIL import Image

from mmsearch.core import Cut, Interpolation, Pixels, Preprocessing, Resize

_FILTER = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}
_LONGEST = 4  # times the input's area: how much a crop computes to throw most of it away


def resize(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Bring (h, w, 3) uint8 pixels to the encoder's input size; those of that size stay.

    The filter is Pillow's antialiased, separable resampling: its support grows with the scale,
    and values are rounded to 8 bits between the two passes, whose order Pillow chooses. SQUASH
    scales both sides. CROP is torchvision's `Resize` + `CenterCrop`: one scale so that the
    picture just covers the input, the long side rounded down, the cut beginning at
    round((long - input) / 2), half to even (or rounded down: `cut`); of a picture many times as
    long as wide only the part that stays is computed, which can choose the other order. PAD is
    one scale so that the picture just fits, in the middle of a plain ground.
    """
    if pixels.shape[:2] == preprocessing.size:
        return pixels
    return np.array(resized(Image.fromarray(pixels), preprocessing))


def resized(image: Image.Image, preprocessing: Preprocessing, *, exact: bool = True) -> Image.Image:
    """Return an RGB picture in the encoder's input size; see `resize`.

    Unless it is to be `exact`, a crop computes only what it keeps. Of a photo wider than high few
    values in thousands differ then, by one, since Pillow keeps the borders of a part in single
    precision (of noise up to one in a hundred, by up to two). Of one higher than wide Pillow may
    begin with the other pass: a fifth to a quarter of the values differ, most by one, at sharp
    edges by up to six.
    """
    height, width = preprocessing.size
    size, filtered = (width, height), _FILTER[preprocessing.interpolation]
    match preprocessing.resize:
        case _ if image.size == size and preprocessing.short_side is None:
            return image
        case Resize.SQUASH:
            return image.resize(size, filtered)
        case Resize.CROP:
            return _cropped(image, preprocessing, filtered, exact=exact)
        case Resize.PAD:
            ratio = max(image.width / width, image.height / height)
            scaled = image.resize(
                (max(1, round(image.width / ratio)), max(1, round(image.height / ratio))), filtered
            )
            ground = Image.new("RGB", size, (preprocessing.fill,) * 3)
            ground.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
            return ground


def _cropped(
    image: Image.Image, preprocessing: Preprocessing, filtered: Image.Resampling, *, exact: bool
) -> Image.Image:
    """Scale and cut the centre out; the whole is scaled, so that pixels are torchvision's."""
    height, width = preprocessing.size
    scaled, (left, top) = _scaled_and_cut(image.size, preprocessing)
    if not exact or scaled[0] * scaled[1] > _LONGEST * width * height:
        box = crop_box(image.size, preprocessing)
        return image.resize((width, height), filtered, box=box)
    return image.resize(scaled, filtered).crop((left, top, left + width, top + height))


def crop_box(
    source: tuple[int, int], preprocessing: Preprocessing
) -> tuple[float, float, float, float]:
    """Return the part of `source` (width, height) that a crop keeps: left, top, right, bottom.

    In pixels of the source, between 0 and its size.
    """
    (source_width, source_height), (height, width) = source, preprocessing.size
    scaled, (left, top) = _scaled_and_cut(source, preprocessing)
    across, down = source_width / scaled[0], source_height / scaled[1]
    return (
        left * across,
        top * down,
        min((left + width) * across, source_width),
        min((top + height) * down, source_height),
    )


def _scaled_and_cut(
    source: tuple[int, int], preprocessing: Preprocessing
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size (width, height) that a crop scales to, and where it cuts: left, top."""
    source_width, source_height = source
    height, width = preprocessing.size
    short = preprocessing.short_side
    by_width = (
        width * source_height >= height * source_width
        if short is None
        else source_width <= source_height
    )
    if by_width:
        across_all = short or width
        scaled = (across_all, max(height, int(across_all * source_height / source_width)))
    else:
        down_all = short or height
        scaled = (max(width, int(down_all * source_width / source_height)), down_all)
    left, top = (
        round(gap / 2.0) if preprocessing.cut is Cut.ROUND else gap // 2
        for gap in (scaled[0] - width, scaled[1] - height)
    )
    return scaled, (left, top)
