"""Any Pillow mode becomes upright sRGB.

Colour profiles are honoured for RGB and CMYK pictures; greyscale profiles are ignored. A
profile that is broken or does not fit the picture is ignored too.
"""

import struct
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILE_SPACE = {"RGB": b"RGB ", "CMYK": b"CMYK"}
_BROKEN_EXIF = (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error)


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 when it is absent or broken."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN_EXIF:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return the loaded picture in mode RGB, turned by its EXIF orientation.

    Transparency is laid over white. 16-bit grey is scaled to 8 bits; integers outside 0 to 65535
    and floats outside 0 to 1 have no known white and are stretched from minimum to maximum.
    """
    turn = orientation(image)
    rgb = _to_rgb(image)
    return rgb.transpose(_TRANSPOSE[turn]) if turn in _TRANSPOSE else rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _grey(image).convert("RGB")
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    image = _apply_profile(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _grey(image: Image.Image) -> Image.Image:
    """Bring 16- or 32-bit grey to 8 bits, the one value that means transparent to white."""
    values = np.asarray(image)
    grey = _eight_bits(values)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale (h, w) numbers to 0 to 255."""
    numbers = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    white = 1.0 if values.dtype.kind == "f" else 65535.0
    if low >= 0 and high <= white:
        low, high = 0.0, white
    scaled = (numbers - low) * (255.0 / (high - low or 1.0))
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _apply_profile(image: Image.Image, profile: object) -> Image.Image:
    if not isinstance(profile, bytes) or profile[16:20] != _PROFILE_SPACE.get(image.mode):
        return image
    transform = _to_srgb(profile, image.mode)
    if transform is None:
        return image
    try:
        return transform.apply(image)
    except (ImageCms.PyCMSError, ValueError, OSError):
        return image


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform into sRGB; None when the profile is sRGB already, or broken."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in (source.profile.profile_description or "").lower():
            return None
        return ImageCms.ImageCmsTransform(
            source, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), mode, "RGB"
        )
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError):
        return None
