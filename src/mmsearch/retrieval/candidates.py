"""Whether what lies in a folder may be a picture, by its name or its first bytes."""

import os
import stat
from typing import Final

from mmsearch.retrieval.files import open_regular
from mmsearch.retrieval.formats import RAW_SUFFIXES, looks_like_picture

# fmt: off
SUFFIXES: Final = RAW_SUFFIXES | frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
_SNIFF: Final = 16  # bytes that tell a picture
_LONGEST_SUFFIX: Final = 6  # what is longer is a part of the name


def has_picture_suffix(path: bytes) -> bool:
    """Say whether a name ends like that of a picture."""
    return _suffix(path) in SUFFIXES


def _suffix(path: bytes) -> str:
    return os.fsdecode(os.path.splitext(path)[1]).lower()  # noqa: PTH122 - bytes


def is_picture(path: bytes) -> bool:
    """Say whether a file is to be read: by suffix, or by content where that is no real one."""
    suffix = _suffix(path)
    if suffix in SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit() and len(suffix) <= _LONGEST_SUFFIX:
        return False
    try:
        with open_regular(path) as file:
            return looks_like_picture(file.read(_SNIFF))
    except PermissionError:
        return False


def kind_of(mode: int) -> str:
    """Say what a file that is neither regular nor a folder is, by its mode."""
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
