"""Files become pixels: `decode` and `read_image`."""

import os
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BufferedReader

import numpy as np
from PIL import Image, ImageFile

from mmsearch.core import Pixels, Preprocessing
from mmsearch.errors import DecodeError
from mmsearch.retrieval.colour import orientation, upright_rgb
from mmsearch.retrieval.files import AnyPath, open_regular
from mmsearch.retrieval.formats import embedded_picture, identify, quiet_pillow
from mmsearch.retrieval.resizing import resized

_DRAFT_MARGIN = 2
_WHOLE = 1 << 62
_LARGE = 64 * 1024 * 1024
_one_large_at_a_time = threading.Lock()

# What Pillow raises on damaged files. The first five were met by cutting and flipping bytes of
# every format; the others are those that Pillow's own code expects from its plugins.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    struct.error,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it is read: `pixels` (width times height), `bytes` of the file.

    A guarded process (`guard.py`) holds to two more: `memory` in bytes, and `seconds` of a
    processor's time for one picture, five times as many by the clock.
    """

    pixels: int = 256 * 1024 * 1024
    bytes: int = 512 * 1024 * 1024
    memory: int = 4 * 1024 * 1024 * 1024
    seconds: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass(slots=True)
class Watch:
    """What goes on while a picture is decoded.

    `large` is entered while one of more than 64 million pixels is. `loaded` is set when the
    picture is unpacked, by `time.thread_time`, before its colours and size are changed. `look`
    is shown the picture, its size before it was scaled, and it upright in RGB.
    """

    large: AbstractContextManager[object] = field(default_factory=lambda: _one_large_at_a_time)
    loaded: float = 0.0
    look: Callable[[Image.Image, tuple[int, int], Image.Image], None] | None = None


def read_image(path: AnyPath, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Read a picture in full size: (h, w, 3) uint8 upright sRGB.

    Raises DecodeError.
    """
    return decode(path, None, limits)


def decode(
    path: AnyPath, preprocessing: Preprocessing | None, limits: Limits = DEFAULT_LIMITS
) -> Pixels:
    """Read a picture and resize it for an encoder; None keeps its size.

    Returns (h, w, 3) uint8 upright sRGB. Transparency lies over white; of an animation, the
    first frame. A JPEG at least four times as large as the encoder's input is decoded at 1/2,
    1/4 or 1/8 (libjpeg's scaled DCT), never below twice the input, and then resized. When that
    or a picture at least as wide as high is cropped, only the part that stays is computed, whose
    values can differ from those of `resize` as `resized` says; of others they do not.
    Raises DecodeError.
    """
    name = shown(path)
    try:
        suffix = os.path.splitext(os.fsdecode(path))[1]  # noqa: PTH122 - a path may be bytes
        return decode_bytes(read_bytes(path, limits), preprocessing, limits, suffix=suffix)
    except DecodeError as error:
        raise DecodeError(error.reason, name) from error


def shown(path: AnyPath) -> str:
    """Return the path as one printable line; bytes that are not text become escapes."""
    text = os.fsdecode(path)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def read_bytes(path: AnyPath, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a regular file into memory, as long as it was when it was opened.

    The path may be bytes. Raises DecodeError: absent, forbidden, empty, larger than
    `limits.bytes`, not a file, a library's catalog.
    """
    with open_picture(path) as file:
        return read_open(file, limits)


def open_picture(path: AnyPath) -> BufferedReader:
    """Open a regular file. Raises DecodeError, from the OSError that says why."""
    try:
        return open_regular(path)
    except OSError as error:
        raise DecodeError(_system_reason(error)) from error
    except ValueError as error:
        raise DecodeError("not a valid file name") from error


def read_open(file: BufferedReader, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read what an open file held when this began. Raises DecodeError as `read_bytes` does."""
    try:
        size = os.fstat(file.fileno()).st_size
        if size > limits.bytes:
            raise DecodeError(f"{size:,} bytes is more than the limit of {limits.bytes:,}")
        data = file.read(size)
    except OSError as error:
        raise DecodeError(_system_reason(error)) from error
    if not data:
        raise DecodeError("empty file")
    return data


def _system_reason(error: OSError) -> str:
    return (error.strerror or "unreadable").lower()


def decode_bytes(
    data: bytes,
    preprocessing: Preprocessing | None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    suffix: str = "",
    watch: Watch | None = None,
) -> Pixels:
    """Decode a picture held in memory, as `decode` does; `suffix` tells RAW photos apart.

    Raises DecodeError.
    """
    with quiet_pillow():
        try:
            with identify(embedded_picture(data, suffix), suffix) as image:
                _check_size(image, limits)
                return _load(image, preprocessing, watch or Watch())
        except MemoryError as error:
            raise DecodeError("too large for this machine's memory") from error
        except _BROKEN as error:
            raise DecodeError(_one_line(error)) from error


def _check_size(image: Image.Image, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise DecodeError(
            f"{width} x {height} pixels is more than the limit of {limits.pixels:,} pixels"
        )


def _load(image: Image.Image, preprocessing: Preprocessing | None, watch: Watch) -> Pixels:
    width, height = image.size
    if width * height > _LARGE:
        with watch.large:
            return _pixels(image, preprocessing, watch)
    return _pixels(image, preprocessing, watch)


def _pixels(image: Image.Image, preprocessing: Preprocessing | None, watch: Watch) -> Pixels:
    size = image.size
    if preprocessing is not None and image.format in {"JPEG", "MPO"}:
        least = preprocessing.short_side or 0
        height, width = (_DRAFT_MARGIN * max(n, least) for n in preprocessing.size)
        image.draft(None, (height, width) if orientation(image) >= 5 else (width, height))
        if isinstance(image, ImageFile.ImageFile):
            image.decodermaxblock = _WHOLE  # it is in memory, and is passed on in one piece
    image.load()
    watch.loaded = time.thread_time()
    upright = upright_rgb(image)
    if watch.look is not None:
        watch.look(image, size, upright)
    if preprocessing is None:
        return np.array(upright)
    exact = image.size == size and upright.width < upright.height
    return np.array(resized(upright, preprocessing, exact=exact))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"damaged picture ({text or type(error).__name__})"[:200]
