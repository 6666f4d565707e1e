import io
import os
import random
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.retrieval.drawing import RED, draw

from mmsearch.core import Cut, Interpolation, Pixels, Preprocessing, Resize
from mmsearch.errors import DecodeError, InputError
from mmsearch.retrieval.decode import (
    Limits,
    decode,
    decode_bytes,
    read_bytes,
    read_image,
    shown,
)
from mmsearch.retrieval.resizing import crop_box, resize

TINY = Limits(pixels=10_000, bytes=100_000)


def prepare(
    height: int = 8,
    width: int = 8,
    how: Resize = Resize.SQUASH,
    interpolation: Interpolation = Interpolation.BILINEAR,
) -> Preprocessing:
    return Preprocessing((height, width), how, interpolation, (0.5,) * 3, (0.5,) * 3)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int = 60, height: int = 40) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    wave = 127 + 120 * np.sin(x / 9) * np.cos(y / 7)
    return Image.fromarray(np.stack([x, y, wave], axis=-1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """Return a valid PNG that claims to be large and holds one byte of pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(b"\0")),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("PCX", {}),
        ("SGI", {}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_common_format_is_read(kind: str, options: dict[str, Any]) -> None:
    picture = gradient(40, 30)
    pixels = decode_bytes(encoded(picture, kind, **options), None)
    assert pixels.shape == (30, 40, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.asarray(picture).astype(int)).mean() < 2


def test_tga_is_told_by_its_suffix(tmp_path: Path) -> None:
    assert read_image(draw(tmp_path / "a.tga")).shape == (8, 12, 3)


def test_the_format_is_told_by_content_and_not_by_the_name(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert tuple(read_image(path)[0, 0]) == RED


def test_cmyk_becomes_rgb() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(decode_bytes(data, None)[8, 8].astype(int) - RED).max() < 8


def test_sixteen_bit_grey_is_scaled_to_eight_bits() -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    pixels = decode_bytes(encoded(Image.fromarray(values), "PNG"), None)
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_integers_beyond_sixteen_bits_are_stretched() -> None:
    values = np.array([[-100, 0, 100]], dtype=np.int32)
    pixels = decode_bytes(encoded(Image.fromarray(values), "TIFF"), None)
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_floats_between_zero_and_one_are_shades_and_nan_is_black() -> None:
    values = np.array([[0.0, 0.2, 1.0, np.nan]], dtype=np.float32)
    pixels = decode_bytes(encoded(Image.fromarray(values), "TIFF"), None)
    assert pixels[0, :, 0].tolist() == [0, 51, 255, 0]


def test_a_constant_float_picture_is_no_division_by_zero() -> None:
    values = np.full((2, 2), 7.0, dtype=np.float32)
    assert decode_bytes(encoded(Image.fromarray(values), "TIFF"), None).shape == (2, 2, 3)


def test_grey_and_black_and_white_become_rgb() -> None:
    assert decode_bytes(encoded(Image.new("L", (2, 2), 77), "PNG"), None)[0, 0].tolist() == [77] * 3
    assert decode_bytes(encoded(Image.new("1", (2, 2), 1), "PNG"), None)[0, 0].tolist() == [255] * 3


def test_a_palette_is_looked_up() -> None:
    picture = Image.new("P", (2, 2), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    assert decode_bytes(encoded(picture, "PNG"), None)[0, 0].tolist() == [10, 20, 30]


def test_transparency_is_laid_over_white() -> None:
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    half.putpixel((1, 0), (255, 0, 0, 255))
    half.putpixel((0, 1), (0, 0, 0, 51))
    pixels = decode_bytes(encoded(half, "PNG"), None)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [255, 0, 0]
    assert pixels[1, 0].tolist() == [204, 204, 204]


@pytest.mark.parametrize("mode", ["P", "L", "LA", "RGB"])
def test_every_kind_of_transparency_is_laid_over_white(mode: str) -> None:
    options: dict[str, Any] = {"P": {"transparency": 0}, "L": {"transparency": 0}}.get(mode, {})
    picture = Image.new(mode, (2, 2), 0)
    if mode == "P":
        picture.putpalette([0, 0, 0])
    if mode == "RGB":
        options = {"transparency": (0, 0, 0)}
    assert decode_bytes(encoded(picture, "PNG", **options), None)[0, 0].tolist() == [255] * 3


# What a camera stores (top left, top right, bottom left, bottom right) when upright is r g / b w.
STORED = {
    1: "rgbw",
    2: "grwb",
    3: "wbgr",
    4: "bwrg",
    5: "rbgw",
    6: "gwrb",
    7: "wgbr",
    8: "brwg",
}
COLOURS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "w": (255, 255, 255)}


def quadrants(order: str, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (2 * width, 2 * height))
    for n, letter in enumerate(order):
        at = (n % 2 * width, n // 2 * height)
        picture.paste(Image.new("RGB", (width, height), COLOURS[letter]), at)
    return picture


def letters(pixels: Pixels) -> str:
    height, width = pixels.shape[:2]
    found = ""
    for y in (height // 4, 3 * height // 4):
        for x in (width // 4, 3 * width // 4):
            pixel = tuple(255 if channel > 127 else 0 for channel in pixels[y, x])
            found += next(letter for letter, colour in COLOURS.items() if colour == pixel)
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    wide = (32, 16) if orientation < 5 else (16, 32)
    data = encoded(quadrants(STORED[orientation], *wide), kind, exif=exif)
    assert letters(decode_bytes(data, None)) == "rgbw"
    assert decode_bytes(data, None).shape == (32, 64, 3)
    assert letters(decode_bytes(data, prepare())) == "rgbw"


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert letters(decode_bytes(encoded(quadrants("rgbw", 8, 8), "JPEG", exif=exif), None)) == (
        "rgbw"
    )


def test_broken_exif_does_not_lose_the_picture() -> None:
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert decode_bytes(data, None).shape == (40, 60, 3)


def test_a_large_jpeg_is_turned_right_although_it_is_decoded_small() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(quadrants("gwrb", 300, 400), "JPEG", exif=exif)
    assert letters(decode_bytes(data, prepare(16, 24))) == "rgbw"


@pytest.mark.parametrize("how", list(Resize))
def test_decoding_a_large_jpeg_small_hardly_changes_it(how: Resize) -> None:
    data = encoded(gradient(1600, 1200), "JPEG", quality=92)
    wanted = prepare(64, 64, how, Interpolation.BICUBIC)
    small = decode_bytes(data, wanted).astype(int)
    full = resize(decode_bytes(data, None), wanted).astype(int)
    assert np.abs(small - full).mean() < 1.5


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("turn", [1, 6])
def test_of_a_jpeg_decoded_small_a_crop_computes_what_it_keeps_and_nothing_else(
    interpolation: Interpolation, turn: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(noise(900, 700), "JPEG", quality=92, exif=exif)
    small = Image.open(io.BytesIO(data))
    small.draft(None, (112, 112))
    assert small.size == (225, 175)
    wanted = prepare(50, 50, Resize.CROP, interpolation)
    whole = resize(np.asarray(ImageOps.exif_transpose(small).convert("RGB")), wanted)
    differences = np.abs(decode_bytes(data, wanted).astype(int) - whole)
    assert differences.max() <= 1
    assert np.count_nonzero(differences) <= differences.size // 200


def _from_the_whole(data: bytes, wanted: Preprocessing) -> NDArray[np.int_]:
    """Return by how much decoding for an encoder differs from resizing what was decoded whole."""
    whole = resize(decode_bytes(data, None), wanted).astype(int)
    return np.asarray(np.abs(decode_bytes(data, wanted) - whole))


@pytest.mark.parametrize("how", list(Resize))
@pytest.mark.parametrize("size", [(130, 100), (100, 130), (126, 124)])
def test_a_jpeg_below_four_times_the_input_is_decoded_in_full(
    how: Resize, size: tuple[int, int]
) -> None:
    data = encoded(noise(*size), "JPEG")
    wanted = prepare(32, 32, how, Interpolation.BICUBIC)
    differences = _from_the_whole(data, wanted)
    assert differences.max() <= (how is Resize.CROP)
    assert np.count_nonzero(differences) <= differences.size // 200


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("size", [(360, 640), (333, 500), (300, 400), (480, 640)])
@pytest.mark.parametrize("side", [96, 224])
def test_a_crop_of_a_picture_higher_than_wide_is_exactly_that_of_the_whole(
    interpolation: Interpolation, size: tuple[int, int], side: int
) -> None:
    """Of the part alone Pillow begins with the other pass, and rounds other numbers."""
    data = encoded(noise(*size), "PNG")
    wanted = prepare(side, side, Resize.CROP, interpolation)
    assert not _from_the_whole(data, wanted).any()


@pytest.mark.parametrize("interpolation", list(Interpolation))
@pytest.mark.parametrize("size", [(640, 360), (500, 333), (640, 480), (200, 200)])
@pytest.mark.parametrize("side", [96, 224])
def test_a_crop_of_another_picture_is_nearly_that_of_the_whole(
    interpolation: Interpolation, size: tuple[int, int], side: int
) -> None:
    data = encoded(noise(*size), "PNG")
    wanted = prepare(side, side, Resize.CROP, interpolation)
    differences = _from_the_whole(data, wanted)
    assert differences.max() <= 2
    assert np.count_nonzero(differences) <= differences.size // 100


def test_squash_averages_both_ways() -> None:
    pixels = np.array([[[0] * 3, [100] * 3], [[100] * 3, [200] * 3]], dtype=np.uint8)
    assert resize(pixels, prepare(1, 1)).tolist() == [[[100, 100, 100]]]


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = np.asarray(noise(8, 8))
    assert resize(pixels, prepare(8, 8)) is pixels


@pytest.mark.parametrize(
    ("source", "target", "box"),
    [
        ((400, 200), (100, 100), (100, 0, 300, 200)),
        ((200, 400), (100, 100), (0, 100, 200, 300)),
        ((100, 100), (50, 50), (0, 0, 100, 100)),
        ((50, 50), (100, 50), (0, 12.5, 50, 37.5)),
        ((101, 100), (100, 100), (0, 0, 100, 100)),  # round(0.5) is 0
        ((103, 100), (100, 100), (2, 0, 102, 100)),  # round(1.5) is 2
    ],
)
def test_the_crop_is_the_centre_at_the_short_sides_scale(
    source: tuple[int, int], target: tuple[int, int], box: tuple[float, ...]
) -> None:
    found = crop_box(source, prepare(target[1], target[0], Resize.CROP))
    assert np.allclose(found, box, atol=0.51)
    assert all(value >= 0 for value in found)
    assert found[2] <= source[0]
    assert found[3] <= source[1]


@pytest.mark.parametrize("size", [(90, 50), (50, 91), (33, 33), (21, 200)])
@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_cropping_equals_resizing_the_whole_and_cutting_the_centre(
    size: tuple[int, int], interpolation: Interpolation
) -> None:
    picture = gradient(*size)
    short = min(size)
    width, height = (24 if side == short else int(24 * side / short) for side in size)
    left, top = round((width - 24) / 2), round((height - 24) / 2)
    whole = picture.resize((width, height), Image.Resampling[interpolation.name])
    expected = np.asarray(whole.crop((left, top, left + 24, top + 24))).astype(int)
    found = resize(np.asarray(picture), prepare(24, 24, Resize.CROP, interpolation))
    assert np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("size", [(90, 50), (50, 91), (33, 33), (20, 24)])
@pytest.mark.parametrize("cut", list(Cut))
def test_a_cut_may_be_taken_out_of_a_larger_picture(size: tuple[int, int], cut: Cut) -> None:
    wanted = replace(prepare(24, 24, Resize.CROP), short_side=29, cut=cut)
    picture = gradient(*size)
    short = min(size)
    width, height = (29 if side == short else int(29 * side / short) for side in size)
    gaps = (width - 24, height - 24)
    left, top = (round(gap / 2) if cut is Cut.ROUND else gap // 2 for gap in gaps)
    whole = picture.resize((width, height), Image.Resampling.BILINEAR)
    expected = np.asarray(whole.crop((left, top, left + 24, top + 24))).astype(int)
    found = decode_bytes(encoded(picture, "PNG"), wanted).astype(int)
    assert np.abs(found - expected).max() <= 2


def test_a_picture_of_the_inputs_size_is_still_cut_out_of_the_larger_one() -> None:
    wanted = replace(prepare(24, 24, Resize.CROP), short_side=48)
    whole = gradient(24, 24).resize((48, 48), Image.Resampling.BILINEAR)
    found = decode_bytes(encoded(gradient(24, 24), "PNG"), wanted).astype(int)
    assert np.abs(found - np.asarray(whole.crop((12, 12, 36, 36))).astype(int)).max() <= 2


def test_padding_keeps_the_whole_picture_in_the_middle_of_a_plain_ground() -> None:
    wanted = replace(prepare(20, 30, Resize.PAD), fill=9)
    found = resize(np.full((10, 40, 3), 200, dtype=np.uint8), wanted)
    assert found.shape == (20, 30, 3)
    assert (found[6:14] == 200).all()  # 30 x round(7.5) = 8, from (20 - 8) // 2
    assert (found[:6] == 9).all()
    assert (found[14:] == 9).all()


def test_a_thread_thin_picture_is_cropped_without_growing_huge() -> None:
    pixels = np.zeros((1, 60_000, 3), dtype=np.uint8)
    assert resize(pixels, prepare(224, 224, Resize.CROP)).shape == (224, 224, 3)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in (RED, (0, 0, 255))]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert decode_bytes(data, None)[4, 4].tolist() == list(RED)


def test_ten_thousand_frames_cost_no_more_than_one() -> None:
    data = encoded(Image.new("P", (64, 64), 3), "GIF")
    start = data.index(b",\0\0\0\0")
    many = data[:start] + data[start:-1] * 10_000 + b";"
    began = time.process_time()
    assert decode_bytes(many, None).shape == (64, 64, 3)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_picture_is_an_error(kind: str, share: float) -> None:
    data = encoded(noise(200, 150), kind)
    with pytest.raises(DecodeError) as caught:
        decode_bytes(data[: int(len(data) * share)], None)
    assert "\n" not in str(caught.value)


def test_a_jpeg_truncated_after_a_few_bytes_is_an_error() -> None:
    data = encoded(noise(), "JPEG")
    for length in range(1, 40):
        with pytest.raises(DecodeError):
            decode_bytes(data[:length], None)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "empty file"),
        ("text.jpg", b"Dear diary, today I took a photo.", "not a picture"),
        ("zeros.png", bytes(4096), "not a picture"),
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        ("bomb.png", png_header(50_000, 50_000), "50000 x 50000 pixels is more than the limit"),
        ("header.png", png_header(50, 50), "damaged picture"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_bad_file_is_a_one_line_error_with_its_name_and_reason(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=f"cannot read .*{name}: .*{reason}") as caught:
        decode(path, prepare())
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, InputError)
    assert reason in caught.value.reason
    assert name not in caught.value.reason


def test_a_bomb_is_refused_quickly_and_without_a_warning() -> None:
    began = time.process_time()
    for size in (20_000, 50_000, 2**31 - 1):
        with pytest.raises(DecodeError, match="limit"):
            decode_bytes(png_header(size, size), None)
    assert time.process_time() - began < 0.5


def test_limits_are_the_callers() -> None:
    with pytest.raises(DecodeError, match=r"200 x 100 pixels is more than the limit of 10,000"):
        decode_bytes(encoded(noise(200, 100), "PNG"), None, TINY)


def test_a_large_picture_within_the_limit_raises_no_warning() -> None:
    data = encoded(Image.new("1", (10_000, 9_500)), "PNG")  # Pillow warns from 89 megapixels
    assert decode_bytes(data, prepare()).shape == (8, 8, 3)


def test_a_file_above_the_byte_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(TINY.bytes + 1)
    with pytest.raises(DecodeError, match="100,001 bytes is more than the limit of 100,000"):
        read_bytes(path, TINY)


def test_places_that_are_no_files_are_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in [
        (tmp_path, "a folder"),
        (tmp_path / "pipe.jpg", "not a file"),
        (tmp_path / "absent.jpg", "no such file or directory"),
        (tmp_path / "nul\0.jpg", "not a valid file name"),
    ]:
        with pytest.raises(DecodeError) as caught:
            decode(path, None)
        assert caught.value.reason == reason


def test_paths_may_be_bytes_and_are_shown_on_one_line(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    data = encoded(noise(), "PNG")
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(data)
    assert read_image(path).shape == (40, 60, 3)
    assert shown(path).endswith(r"/caf\udce9\n.png")
    with pytest.raises(DecodeError, match=r"caf\\udce9\\n.gif: no such file"):
        decode(path[:-3] + b"gif", None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_flipped_bytes_give_a_picture_or_an_error_and_nothing_else(kind: str) -> None:
    chance = random.Random(7)
    data = encoded(noise(), kind)
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(chance.choice([1, 2, 8])):
            broken[chance.randrange(min(len(data), chance.choice([64, len(data)])))] ^= (
                1 << chance.randrange(8)
            )
        try:
            assert decode_bytes(bytes(broken), None, TINY).shape[2] == 3
        except DecodeError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_decoding_in_threads_leaves_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = encoded(noise(), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda _: decode_bytes(data, prepare()), range(200)):
            assert pixels.shape == (8, 8, 3)
    assert list(warnings.filters) == before
