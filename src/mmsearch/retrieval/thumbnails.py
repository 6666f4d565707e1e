"""Small pictures of large files, for pages and terminals."""

import base64
import io
import os
from typing import Final

from PIL import Image

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize
from mmsearch.errors import DecodeError
from mmsearch.retrieval.colour import orientation
from mmsearch.retrieval.decode import decode_bytes, read_bytes, shown
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.formats import embedded_picture, identify, quiet_pillow

SIDE: Final = 240
_QUALITY: Final = 82


def small(path: AnyPath, width: int, height: int) -> Pixels:
    """Return an upright picture that fits `width` x `height` pixels, never enlarged.

    (h, w, 3) uint8. Raises DecodeError.
    """
    try:
        suffix = os.path.splitext(os.fsdecode(path))[1]  # noqa: PTH122 - a path may be bytes
        return _fitted(read_bytes(path), suffix, (width, height))
    except DecodeError as error:
        raise DecodeError(error.reason, shown(path)) from error


def data_uri(path: AnyPath) -> str:
    """Return a picture as a JPEG data URI that fits 240 x 240 pixels. Raises DecodeError."""
    stream = io.BytesIO()
    image = Image.fromarray(small(path, SIDE, SIDE))
    image.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _fitted(data: bytes, suffix: str, box: tuple[int, int]) -> Pixels:
    """Decode a picture at the size of its thumbnail, which its header tells."""
    picture = embedded_picture(data, suffix)
    rest = suffix if picture is data else ""  # a RAW photo's preview is an ordinary picture
    try:
        with quiet_pillow(), identify(picture, rest) as image:
            width, height = image.size
            if orientation(image) >= 5:
                width, height = height, width
    except (OSError, ValueError, RuntimeError) as error:
        raise DecodeError("damaged picture") from error
    scale = min(1.0, box[0] / width, box[1] / height)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    none, unit = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    smaller = Preprocessing(size, Resize.SQUASH, Interpolation.LANCZOS, none, unit)
    return decode_bytes(picture, smaller, suffix=rest)
