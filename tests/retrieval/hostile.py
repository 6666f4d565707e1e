"""Picture files as a hostile or broken disk holds them, made in memory.

`sound()` are odd but whole: each with the 16 x 16 pixels that must come out. `broken()` and
`bombs()` are not: each with the words that its reason must hold. The four quarters of `DRAWN` are
red, green, blue and white, so that a wrong turn, channel or palette shows.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from mmsearch.core import Pixels

SIDE: Final = 16
CUTS: Final = 20
LOSSY: Final = 6
TURNED: Final = {1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "gwrb", 7: "wgbr"}
TURNED[8] = "brwg"
_COLOURS: Final = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "w": (255, 255, 255)}


@dataclass(frozen=True, slots=True)
class Sound:
    """A file that must be read: its bytes, its pixels, and how far a channel may be off."""

    data: bytes
    pixels: Pixels
    tolerance: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that must be refused: its bytes and a pattern of the reason."""

    data: bytes
    reason: str


def quarters(order: str) -> Image.Image:
    """Draw four colours: top left, top right, bottom left, bottom right."""
    picture = Image.new("RGB", (SIDE, SIDE))
    half = SIDE // 2
    for n, letter in enumerate(order):
        picture.paste(_COLOURS[letter], (n % 2 * half, n // 2 * half, half + n % 2 * half, SIDE))
    return picture


DRAWN: Final = quarters("rgbw")
TRUTH: Final = np.array(DRAWN)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image = DRAWN, **options: Any) -> bytes:
    """Return a JPEG that is nearly lossless."""
    return encoded(image, "JPEG", quality=98, **({"subsampling": 0} | options))


def noise(side: int = 64) -> Image.Image:
    """Draw what compresses badly, so that a file has a middle."""
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


def segment(marker: int, body: bytes) -> bytes:
    """Return one segment of a JPEG header."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, *, data: bytes, depth: int = 8, extra: bytes = b"", kind: int = 2
) -> bytes:
    """Return a PNG of compressed `data`, with `extra` chunks before it."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def many_frames(count: int) -> bytes:
    """Return a GIF whose frames, all but the first, are grey."""
    first = encoded(DRAWN.convert("P", palette=Image.Palette.ADAPTIVE), "GIF")
    later = encoded(Image.new("L", (SIDE, SIDE), 128), "GIF")
    start = later.index(b",\0\0\0\0")
    return first[:-1] + later[start:-1] * count + b";"


def icon(data: bytes) -> bytes:
    """Return an ICO that says it is small and holds a PNG."""
    entry = struct.pack("<BBBBHHII", SIDE, SIDE, 0, 0, 1, 32, len(data), 22)
    return b"\0\0\1\0\1\0" + entry + data


def sound() -> dict[str, Sound]:
    """Return everything that is odd but whole, by file name."""
    return {**_modes(), **_turned(), **_with_odd_parts()}


def _modes() -> dict[str, Sound]:
    grey = np.array(DRAWN.convert("L"))
    grey_rgb = np.repeat(grey[..., None], 3, axis=2)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    deep_big = Image.frombytes(
        "I;16B", deep.size, (grey.astype(">u2") * 257).astype(">u2").tobytes()
    )
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in TRUTH.astype(np.uint16) * 257)
    palette = DRAWN.quantize(4)
    # Blue, at the bottom left, becomes transparent, and what is transparent is white.
    pale = np.array(quarters("rgww"))
    blue = palette.getpixel((0, SIDE - 1))
    clear = DRAWN.convert("RGBA")
    clear.paste((9, 9, 9, 0), (0, SIDE // 2, SIDE // 2, SIDE))
    veil = Image.merge("LA", [DRAWN.convert("L"), clear.getchannel("A")])
    veiled = grey_rgb.copy()
    veiled[SIDE // 2 :, : SIDE // 2] = 255
    cmyk = DRAWN.convert("CMYK")
    return {
        "cmyk-adobe-inverted.jpg": Sound(jpeg(cmyk), TRUTH, LOSSY),
        "cmyk.tif": Sound(encoded(cmyk, "TIFF"), TRUTH),
        "grey.jpg": Sound(jpeg(DRAWN.convert("L")), grey_rgb, LOSSY),
        "grey.png": Sound(encoded(DRAWN.convert("L"), "PNG"), grey_rgb),
        "grey16.png": Sound(encoded(deep, "PNG"), grey_rgb),
        "grey16-little.tif": Sound(encoded(deep, "TIFF"), grey_rgb),
        "grey16-big.tif": Sound(encoded(deep_big, "TIFF"), grey_rgb),
        "rgb16.png": Sound(png(SIDE, SIDE, data=zlib.compress(rows), depth=16), TRUTH),
        "lab.tif": Sound(
            encoded(Image.new("LAB", (SIDE, SIDE), (255, 128, 128)), "TIFF"),
            np.full_like(TRUTH, 255),
            2,
        ),
        "palette.png": Sound(encoded(palette, "PNG"), TRUTH),
        "palette.gif": Sound(encoded(palette, "GIF"), TRUTH),
        "palette-transparent.png": Sound(encoded(palette, "PNG", transparency=blue), pale),
        "palette-transparent.gif": Sound(encoded(palette, "GIF", transparency=blue), pale),
        "rgba.png": Sound(encoded(clear, "PNG"), pale),
        "rgba.webp": Sound(encoded(clear, "WEBP", lossless=True), pale),
        "grey-alpha.png": Sound(encoded(veil, "PNG"), veiled),
    }


def _turned() -> dict[str, Sound]:
    files = {}
    for orientation, order in TURNED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = quarters(order)
        files[f"turned{orientation}.jpg"] = Sound(jpeg(picture, exif=exif), TRUTH, LOSSY)
        files[f"turned{orientation}.png"] = Sound(encoded(picture, "PNG", exif=exif), TRUTH)
    return files


def _with_odd_parts() -> dict[str, Sound]:
    whole, lossless = jpeg(), encoded(DRAWN, "PNG")
    frames = [Image.new("RGB", (SIDE, SIDE), "grey")] * 2
    animated = {"save_all": True, "append_images": frames}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tiff = bytearray(encoded(DRAWN, "TIFF"))
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (tags,) = struct.unpack_from("<H", tiff, directory)
    struct.pack_into("<I", tiff, directory + 2 + 12 * tags, directory)  # the next is itself
    thumbnail = segment(0xE1, b"Exif\0\0" + jpeg(Image.new("RGB", (8, 8), "grey")))
    return {
        "progressive.jpg": Sound(jpeg(progressive=True), TRUTH, LOSSY),
        "trailing-rubbish.jpg": Sound(whole + b"\0rubbish\xff" * 99, TRUTH, LOSSY),
        "second-picture-behind.jpg": Sound(whole + jpeg(noise()), TRUTH, LOSSY),
        "exif-garbage.jpg": Sound(jpeg(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), TRUTH, LOSSY),
        "exif-cut.jpg": Sound(jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\1"), TRUTH, LOSSY),
        "exif-is-a-jpeg.jpg": Sound(whole[:2] + thumbnail + whole[2:], TRUTH, LOSSY),
        "profile-garbage.jpg": Sound(jpeg(icc_profile=b"no profile"), TRUTH, LOSSY),
        "profile-cut.png": Sound(encoded(DRAWN, "PNG", icc_profile=profile[:150]), TRUTH),
        "profile-zeros.tif": Sound(encoded(DRAWN, "TIFF", icc_profile=bytes(400)), TRUTH),
        "photoshop-garbage.jpg": Sound(
            whole[:2] + segment(0xED, b"Photoshop 3.0\x008BIM\xff") + whole[2:], TRUTH, LOSSY
        ),
        "without-its-end.png": Sound(lossless[:-12], TRUTH),
        "behind-a-wrong-name.jpg": Sound(encoded(DRAWN, "PNG", compress_level=1), TRUTH),
        "animated.webp": Sound(encoded(DRAWN, "WEBP", lossless=True, **animated), TRUTH),
        "animated.png": Sound(encoded(DRAWN, "PNG", **animated), TRUTH),
        "ten-thousand-frames.gif": Sound(many_frames(10_000), TRUTH),
        "surplus-of-pixels.png": Sound(
            png(SIDE, SIDE, data=zlib.compress(_rows() + bytes(120_000_000))), TRUTH
        ),
        "directory-loop.tif": Sound(bytes(tiff), TRUTH),
    }


def _rows() -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in TRUTH)


def broken() -> dict[str, Broken]:
    """Return what must be refused, by file name; `bombs` are more of it."""
    return {**_no_pictures(), **_damaged(), **_cut()}


def _no_pictures() -> dict[str, Broken]:
    other = "not a picture"
    return {
        "empty.jpg": Broken(b"", "^empty file$"),
        "diary.jpg": Broken(b"Dear diary, today I took a photo.", other),
        "drawing.jpg": Broken(b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', other),
        "page.jpg": Broken(b"<!doctype html><title>404 Not Found</title>", other),
        "script.png": Broken(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", other),
        "zeros.png": Broken(bytes(4096), other),
        "sound.webp": Broken(b"RIFF\x24\0\0\0WAVEfmt " + bytes(20), other),
    }


def bombs() -> dict[str, Broken]:
    """Return small files that would fill the memory."""
    too_many, too_much = "is more than the limit", "Decompressed data too large"
    screen = bytearray(encoded(DRAWN, "GIF"))
    struct.pack_into("<HH", screen, 6, 65_535, 65_535)
    huge = png(50_000, 50_000, data=zlib.compress(b"\0"))
    much = zlib.compress(bytes(120_000_000), 9)
    files = {
        "bomb.png": Broken(huge, f"50000 x 50000 pixels {too_many}"),
        "screen.gif": Broken(bytes(screen), f"65535 x 65535 pixels {too_many}"),
        "bomb.ico": Broken(icon(huge), "2500000000 pixels"),
        "endless.pgm": Broken(b"P5 4000000000 4000000000 255\n", too_many),
    }
    for name, start in {"zTXt": b"a\0\0", "iTXt": b"a\0\1\0\0\0", "iCCP": b"a\0\0"}.items():
        extra = chunk(name.encode(), start + much)
        data = png(SIDE, SIDE, data=zlib.compress(_rows()), extra=extra)
        files[f"{name}.png"] = Broken(data, too_much)
    return files


def _damaged() -> dict[str, Broken]:
    damaged = "^damaged "
    whole, tiff = jpeg(), encoded(DRAWN, "TIFF")
    (directory,) = struct.unpack_from("<I", tiff, 4)
    many_tags = bytearray(tiff)
    struct.pack_into("<H", many_tags, directory, 65_535)
    outside = struct.pack("<I", 2**32 - 1).join([tiff[:4], tiff[8:]])
    frames = [Image.new("RGB", (SIDE, SIDE), "grey")]
    animated = encoded(DRAWN, "WEBP", save_all=True, append_images=frames)
    remarks = segment(0xFE, b"") * 20_000
    head = animated[12 : animated.index(b"ANMF")]
    frameless = b"RIFF" + struct.pack("<I", len(head) + 4) + b"WEBP" + head
    return {
        "no-frames.webp": Broken(frameless, damaged),
        "no-pixels.png": Broken(png(0, 0, data=zlib.compress(b"")), damaged),
        "few-pixels.png": Broken(png(50, 50, data=zlib.compress(b"\0")), damaged),
        "wrong-sum.png": Broken(encoded(DRAWN, "PNG").replace(b"IDAT", b"IDAU"), damaged),
        "directory-outside.tif": Broken(outside, damaged),
        "directory-garbage.tif": Broken(bytes(many_tags[: directory + 40]), damaged),
        "header-without-end.jpg": Broken(whole[:2] + remarks + whole[2:], "header has no end"),
        "two-bytes.jpg": Broken(whole[:3], damaged),
    }


def _cut() -> dict[str, Broken]:
    """Cut each format at offsets from its first byte to its last.

    A JPEG is whole with its end marker: without it a late scan may be missing. A PNG and a GIF
    are whole with the last of their pixels, whatever should come after.
    """
    picture = noise()
    whole = {
        "baseline.jpg": jpeg(picture),
        "progressive.jpg": jpeg(picture, progressive=True),
        "pixels.png": encoded(picture, "PNG")[:-20],
        "first-frame.gif": encoded(picture.quantize(255), "GIF")[:-9],
        "lossy.webp": encoded(picture, "WEBP"),
        "packed.tif": encoded(picture, "TIFF", compression="tiff_lzw"),
    }
    files = {}
    for name, data in whole.items():
        for offset in np.linspace(1, len(data) - 1, CUTS, dtype=int).tolist():
            files[f"cut-at-{offset:05}-{name}"] = Broken(data[:offset], "damaged|not a picture")
    for kind in ("baseline", "progressive"):
        data = whole[f"{kind}.jpg"]
        files[f"without-end-{kind}.jpg"] = Broken(data[:-2], "truncated")
    return files
