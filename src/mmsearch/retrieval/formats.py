"""Which picture format a file holds, judged by its content, and the plugin that reads it.

Only raster formats that people keep pictures in are tried: Pillow's EPS reader would start
Ghostscript, and its scientific stubs decode nothing.
"""

import importlib.util
import logging
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageFile

from mmsearch.errors import DecodeError

# fmt: off
RAW_SUFFIXES: Final = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".kdc", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srw",
})
# fmt: on
NEEDS_EXTRA: Final = "needs the formats extra; run: pip install 'mmsearch[formats]'"
_PLUGIN_OF: Final = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "GIF": "Gif",
    "WEBP": "WebP",
    "TIFF": "Tiff",
    "BMP": "Bmp",
    "DIB": "Bmp",
    "PPM": "Ppm",
    "AVIF": "Avif",
    "JPEG2000": "Jpeg2K",
    "ICO": "Ico",
    "PSD": "Psd",
    "QOI": "Qoi",
    "PCX": "Pcx",
    "SGI": "Sgi",
    "TGA": "Tga",
}
_HEIF_BRANDS: Final = frozenset(
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]
)
_SIGNATURES: Final = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x0cjP  ",
)
_SNIFF: Final = 16

_JPEG_MARKER: Final = re.compile(rb"\xff[^\xff\0]")
_JPEG_BARE: Final = frozenset([0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)])  # have no length
_FIRST_SCAN: Final = 0xDA
_MOST_SEGMENTS: Final = 10_000
_LONGEST_HEADER: Final = 32 * 1024 * 1024
_LONGEST_GAP: Final = 64 * 1024


@cache
def _load_plugins() -> None:
    # Without a handler of its own, Pillow's log of damaged files would go to stderr.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for name in set(_PLUGIN_OF.values()):
        try:
            importlib.import_module(f"PIL.{name}ImagePlugin")
        except ImportError:  # an older Pillow, built without it
            continue


@cache
def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise DecodeError(f"HEIC picture: {NEEDS_EXTRA}") from error
    pillow_heif.register_heif_opener()


def plugin_arrived(reason: str) -> bool:
    """Say whether a failure was for want of a plugin that is installed by now."""
    plugin = "rawpy" if reason.startswith("RAW") else "pillow_heif"
    return reason.endswith(NEEDS_EXTRA) and importlib.util.find_spec(plugin) is not None


def looks_like_picture(prefix: bytes) -> bool:
    """Judge the first 16 bytes of a file whose name says nothing."""
    if prefix[:4] == b"RIFF":
        return prefix[8:12] == b"WEBP"
    if prefix[4:8] == b"ftyp":
        return prefix[8:12] in _HEIF_BRANDS | {b"avif", b"avis"}
    return prefix.startswith(_SIGNATURES)


def identify(data: bytes, suffix: str = "") -> ImageFile.ImageFile:
    """Open a picture lazily: its header is read, its pixels are not.

    Unlike `PIL.Image.open` it applies no pixel limit of its own; that is the caller's.
    `suffix` is asked for formats without a signature (TGA).
    Raises DecodeError when it is not a picture, is damaged, or needs a plugin.
    """
    _load_plugins()
    candidates = [name for name in _PLUGIN_OF if name != "TGA" or suffix.lower() == ".tga"]
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        _register_heif()
        candidates = ["HEIF"]
    for name in candidates:
        image = _try_format(name, data)
        if image is not None:
            return image
    raise DecodeError("not a picture, or a format that is not supported")


def _try_format(name: str, data: bytes) -> ImageFile.ImageFile | None:
    factory, accept = Image.OPEN.get(name, (None, None))
    if factory is None:
        return None
    accepted = accept(data[:_SNIFF]) if accept is not None else True
    if isinstance(accepted, str):
        raise DecodeError(f"{name} picture: this Pillow was built without it")
    if not accepted:
        return None
    if name == "JPEG":
        _check_jpeg_header(data)
    try:
        return factory(BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:
        raise DecodeError(f"damaged {name} picture") from error


def _check_jpeg_header(data: bytes) -> None:
    """Refuse a header, all that comes before the first scan, such as no camera writes.

    Pillow reads it in Python, and the time for its Exif segments grows with the square of their
    number: 130 MB of them take more than a minute.
    """
    at = 2
    gaps = 0
    for _ in range(_MOST_SEGMENTS):
        marker = _JPEG_MARKER.search(data, at)
        found = marker.start() if marker else len(data)
        gaps += found - at
        if found > _LONGEST_HEADER or gaps > _LONGEST_GAP:
            break
        if marker is None or data[found + 1] == _FIRST_SCAN:
            return
        at = found + 2
        if data[found + 1] not in _JPEG_BARE:
            at += int.from_bytes(data[at : at + 2])
    raise DecodeError("damaged JPEG picture (its header has no end)")


def embedded_picture(data: bytes, suffix: str) -> bytes:
    """Return the camera's own preview of a RAW photo; any other data as it is.

    A RAW photo without a JPEG preview is developed at half size. `suffix` decides, because most
    RAW formats are TIFF by content. Raises DecodeError without the formats extra.
    """
    if suffix.lower() not in RAW_SUFFIXES:
        return data
    try:
        import rawpy
    except ImportError as error:
        raise DecodeError(f"RAW photo: {NEEDS_EXTRA}") from error
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            try:
                preview = raw.extract_thumb()
                if preview.format == rawpy.ThumbFormat.JPEG:
                    return bytes(preview.data)
            except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
                pass
            developed = BytesIO()
            Image.fromarray(raw.postprocess(half_size=True)).save(developed, "BMP")
            return developed.getvalue()
    except rawpy.LibRawError as error:
        raise DecodeError(f"damaged RAW photo ({error})") from error


class _Quiet:
    """Silence Pillow's warnings while anything is being decoded, in any thread.

    `warnings.catch_warnings` swaps process-wide state, so that nested use from several threads
    would restore it wrongly; only the first entry saves and only the last exit restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._saved = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._depth += 1

    def exit(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self._saved.__exit__(None, None, None)


_QUIET = _Quiet()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files off the terminal; safe in threads."""
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.exit()
