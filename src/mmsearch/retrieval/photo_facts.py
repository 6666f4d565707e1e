"""The facts of a picture: what its file says of it, and its fingerprint.

They are read in the process that decodes it (`guarded_process.py`) and sent as bytes, which
`unpack` takes for what anybody might have written.
"""

import math
import struct
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from mmsearch.core import Photo
from mmsearch.retrieval.colour import orientation
from mmsearch.retrieval.exif import Exif, read_exif
from mmsearch.retrieval.formats import RAW_SUFFIXES

_ACROSS, _DOWN = 9, 8
_PICKED: Final = (24 * _ACROSS, 24 * _DOWN)
_FIXED: Final = struct.Struct("!IIqddQH")
_UNKNOWN: Final = -(1 << 63)  # of a time
_SIDEWAYS: Final = (5, 6)  # LibRaw's turns by 90 degrees
_EARLIEST, _LATEST = -(1 << 36), 1 << 38  # seconds; the years 1 to 9999 and more


class Facts:
    """Takes a look at a picture while it is decoded; `photo` is what was seen.

    `data` is the whole file, `suffix` what its name ends with.
    """

    def __init__(self, data: bytes, suffix: str) -> None:
        self.photo: Photo | None = None
        self._data = data
        self._raw = suffix.lower() in RAW_SUFFIXES

    def look(self, image: Image.Image, size: tuple[int, int], upright: Image.Image) -> None:
        """Note the facts; what is odd about them fails nothing."""
        width, height = size[::-1] if orientation(image) >= 5 else size
        if self._raw:
            width, height = _raw_size(self._data) or (width, height)
        exif = self._exif(image)
        self.photo = Photo(
            width,
            height,
            exif.taken,
            exif.camera,
            exif.latitude,
            exif.longitude,
            fingerprint(upright),
        )

    def _exif(self, image: Image.Image) -> Exif:
        """Read the Exif block; TIFF files, and most RAW photos, are one themselves."""
        beside = read_exif(_block(image))
        if not self._raw and image.format != "TIFF":
            return beside
        own = read_exif(self._data)
        return own if own != Exif() else beside


def _block(image: Image.Image) -> bytes:
    """Return the Exif block that stands in a file, empty when there is none."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return block
    text = image.info.get("Raw profile type exif")  # in a PNG, as ImageMagick used to write it
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""


def fingerprint(upright: Image.Image) -> int:
    """Return the 64-bit difference hash of an RGB picture, the top left bit highest.

    The picture is brought to 9 x 8 grey values; a bit says whether a value is less than the one
    to its right ("dHash", Neal Krawetz, 2013). Of more than 216 x 192 pixels some are picked: that
    costs a fortieth of decoding 640 x 480 pixels, and less of more. A filter that looks beyond
    the borders of a value changes 8 bits of a photo that is turned by two degrees and 4 when
    3 % are cut off; plain means change 10 and 6.
    """
    width, height = min(upright.width, _PICKED[0]), min(upright.height, _PICKED[1])
    picked = upright.resize((width, height), Image.Resampling.NEAREST).convert("L")
    small = picked.resize((_ACROSS, _DOWN), Image.Resampling.LANCZOS, reducing_gap=3.0)
    values = np.asarray(small)
    return int.from_bytes(np.packbits(values[:, :-1] < values[:, 1:]).tobytes())


def _raw_size(data: bytes) -> tuple[int, int] | None:
    """Return the upright size of a RAW photo, whose preview may be smaller."""
    try:
        import rawpy
    except ImportError:
        return None
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            sizes = raw.sizes
    except (rawpy.LibRawError, AttributeError):  # the latter of an older rawpy
        return None
    size = (int(sizes.width), int(sizes.height))
    return size[::-1] if sizes.flip in _SIDEWAYS else size


def pack(photo: Photo) -> bytes:
    """Return facts as bytes, of a length that their beginning tells."""
    camera = (photo.camera or "").encode()
    place = [math.nan if value is None else value for value in (photo.latitude, photo.longitude)]
    taken = _UNKNOWN if photo.taken is None else photo.taken
    fixed = (photo.width, photo.height, taken, *place, photo.fingerprint, len(camera))
    return _FIXED.pack(*fixed) + camera


def unpack(body: bytes | bytearray, at: int) -> tuple[Photo, int]:
    """Return the facts that begin at a place, and where they end.

    Raises ValueError or struct.error for what `pack` never gives.
    """
    width, height, time, latitude, longitude, bits, length = _FIXED.unpack_from(body, at)
    begin = at + _FIXED.size
    camera = bytes(body[begin : begin + length]).decode("utf-8")
    taken = None if time == _UNKNOWN else time
    known = not math.isnan(latitude)
    if (
        min(width, height) < 1
        or len(body) < begin + length
        or not camera.isprintable()
        or (taken is not None and not _EARLIEST < taken < _LATEST)
        or (known and not (abs(latitude) <= 90 and abs(longitude) <= 180))
        or known is math.isnan(longitude)
    ):
        raise ValueError("senseless facts")
    north, east = (latitude, longitude) if known else (None, None)
    return Photo(width, height, taken, camera or None, north, east, bits), begin + length
