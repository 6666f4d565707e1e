"""Facts and fingerprints of pictures, through the process that decodes them."""

import io
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from tests.retrieval import hostile

from mmsearch.core import Cut, Interpolation, Photo, Pixels, Preprocessing, Resize
from mmsearch.retrieval import photo_facts
from mmsearch.retrieval.decode import Limits, Watch, decode_bytes
from mmsearch.retrieval.guard import Decoded, GuardedDecoder
from mmsearch.retrieval.guarded_messages import pack_answer, unpack_answer
from mmsearch.retrieval.photo_facts import Facts, fingerprint

HALF = (0.5, 0.5, 0.5)
SMALL = Preprocessing((32, 32), Resize.CROP, Interpolation.BICUBIC, HALF, HALF)
LARGE = Preprocessing(
    (96, 64), Resize.PAD, Interpolation.BILINEAR, HALF, HALF, cut=Cut.FLOOR, fill=127
)
NOON = 1_717_245_045  # 2024-06-01T12:30:45
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def decoder() -> Iterator[GuardedDecoder]:
    with GuardedDecoder(SMALL, Limits()) as decoder:
        yield decoder


def ask(decoder: GuardedDecoder, data: bytes, folder: Path, name: str = "a.jpg") -> Decoded:
    path = folder / name
    path.write_bytes(data)
    with path.open("rb") as file:
        return decoder.decode(file.fileno(), path.suffix)


def exif(orientation: int = 1) -> Image.Exif:
    """Return a block that says everything that is read."""
    made = Image.Exif()
    made[ExifTags.Base.Orientation] = orientation
    made[ExifTags.Base.Make] = "Canon"
    made[ExifTags.Base.Model] = "Canon EOS 5D"
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:06:01 12:30:45"
    made.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "N", 2: (48.0, 30.0, 36.0), 3: "E", 4: (11.0, 30.0, 0.0)}
    )
    return made


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw soft blots that no two seeds have in common."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def looked(data: bytes, preprocessing: Preprocessing | None, suffix: str = "") -> Photo:
    """Return the facts that are seen in this process."""
    facts = Facts(data, suffix)
    decode_bytes(data, preprocessing, suffix=suffix, watch=Watch(look=facts.look))
    assert facts.photo is not None
    return facts.photo


def distance(one: int, other: int) -> int:
    """Return in how many bits two fingerprints differ."""
    return (one ^ other).bit_count()


# Facts


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
def test_facts_are_read_from_every_format_that_has_them(
    decoder: GuardedDecoder, tmp_path: Path, kind: str
) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    found = ask(decoder, encoded(drawn(640, 480), kind, exif=exif().tobytes()), tmp_path)
    photo = found.photo
    assert photo is not None, found.reason
    assert (photo.width, photo.height, photo.taken) == (640, 480, NOON)
    assert photo.camera == "Canon EOS 5D"
    assert (photo.latitude, photo.longitude) == pytest.approx((48.51, 11.5))


def test_facts_are_read_from_heic(decoder: GuardedDecoder, tmp_path: Path) -> None:
    plugin = pytest.importorskip("pillow_heif")
    plugin.register_heif_opener()
    data = encoded(drawn(96, 64), "HEIF", exif=exif().tobytes())
    photo = ask(decoder, data, tmp_path, "a.heic").photo
    assert photo is not None
    assert (photo.width, photo.height, photo.taken, photo.camera) == (96, 64, NOON, "Canon EOS 5D")


def test_the_block_of_an_old_png_is_read() -> None:
    block = b"Exif\0\0" + exif().tobytes().removeprefix(b"Exif\0\0")
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    assert looked(encoded(drawn(20, 10), "PNG", pnginfo=info), None).taken == NOON
    broken = PngInfo()
    broken.add_text("Raw profile type exif", "\nexif\n 12\nno numbers\n")
    assert looked(encoded(drawn(20, 10), "PNG", pnginfo=broken), None).taken is None


def test_a_picture_without_facts_has_its_size_and_fingerprint(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    picture = drawn(50, 40)
    found = ask(decoder, encoded(picture, "BMP"), tmp_path, "a.bmp").photo
    assert found == Photo(50, 40, None, None, None, None, fingerprint(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(orientation: int) -> None:
    data = encoded(drawn(640, 480), "JPEG", exif=exif(orientation))
    expected = (640, 480) if orientation < 5 else (480, 640)
    for preprocessing in (None, SMALL, LARGE):
        photo = looked(data, preprocessing)
        assert (photo.width, photo.height) == expected


def test_the_size_is_that_of_the_file_when_it_is_decoded_smaller() -> None:
    data = encoded(drawn(2000, 1500), "JPEG")
    photo = looked(data, SMALL)
    assert (photo.width, photo.height) == (2000, 1500)


def test_facts_of_broken_pictures_are_not_told(decoder: GuardedDecoder, tmp_path: Path) -> None:
    found = ask(decoder, encoded(drawn(64, 64), "JPEG", exif=exif())[:-200], tmp_path)
    assert (found.pixels, found.photo) == (None, None)


# RAW photos, whose facts stand in the file itself and whose preview may be smaller


def raw_file(preview: bytes, flip: int) -> tuple[bytes, SimpleNamespace]:
    """Return a TIFF that says everything, and what stands in for rawpy."""
    raw = SimpleNamespace(
        sizes=SimpleNamespace(width=6000, height=4000, flip=flip),
        extract_thumb=lambda: SimpleNamespace(format="jpeg", data=preview),
    )
    opened: Callable[[object], Any] = lambda _: _Opened(raw)  # noqa: E731
    module = SimpleNamespace(
        imread=opened,
        ThumbFormat=SimpleNamespace(JPEG="jpeg"),
        LibRawError=RuntimeError,
        LibRawNoThumbnailError=KeyError,
        LibRawUnsupportedThumbnailError=IndexError,
    )
    return encoded(drawn(8, 8), "TIFF", exif=exif().tobytes()), module


class _Opened:
    """A RAW photo that is open."""

    def __init__(self, raw: SimpleNamespace) -> None:
        self._raw = raw

    def __enter__(self) -> SimpleNamespace:
        return self._raw

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("flip", "size"), [(0, (6000, 4000)), (3, (6000, 4000)), (6, (4000, 6000))]
)
def test_a_raw_photo_has_the_size_of_its_own_and_not_of_its_preview(
    monkeypatch: pytest.MonkeyPatch, flip: int, size: tuple[int, int]
) -> None:
    data, module = raw_file(encoded(drawn(160, 120), "JPEG"), flip)
    monkeypatch.setitem(sys.modules, "rawpy", module)
    photo = looked(data, SMALL, ".NEF")
    assert (photo.width, photo.height) == size
    assert (photo.taken, photo.camera) == (NOON, "Canon EOS 5D")


def test_a_raw_photo_that_is_no_tiff_has_the_facts_of_its_preview(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, module = raw_file(encoded(drawn(160, 120), "JPEG", exif=exif()), 0)
    monkeypatch.setitem(sys.modules, "rawpy", module)
    assert looked(b"FUJIFILMCCD-RAW", SMALL, ".raf").taken == NOON


# Hostile blocks


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0" + b"\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4),
        b"II*\0\x08\0\0\0\x02\0"
        + struct.pack("<HHII", 0x9003, 2, 0xFFFFFFFF, 8)
        + struct.pack("<HHII", 0x8825, 5, 0xFFFFFFFF, 8),
        os.urandom(0) + bytes(range(256)) * 200,
    ],
    ids=["empty", "no-place", "no-entries", "far-away", "cyclic", "huge", "rubbish"],
)
def test_a_hostile_block_fails_no_picture_that_decodes(
    decoder: GuardedDecoder, tmp_path: Path, block: bytes
) -> None:
    plain = encoded(drawn(64, 48), "JPEG")
    data = plain[:2] + hostile.segment(0xE1, b"Exif\0\0" + block) + plain[2:]
    before = decoder.processes()
    found = ask(decoder, data, tmp_path)
    assert found.pixels is not None, found.reason
    assert found.photo is not None
    assert (found.photo.width, found.photo.height, found.photo.taken) == (64, 48, None)
    assert decoder.processes() == before or not before


# Fingerprints


def grey(rows: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8)).convert("RGB")


def test_a_bit_says_whether_a_value_is_less_than_the_next() -> None:
    rising = [list(range(0, 90, 10))] * 4
    falling = [list(range(80, -10, -10))] * 4
    assert fingerprint(grey(rising + falling)) == 0xFFFFFFFF00000000
    assert fingerprint(grey(falling + rising)) == 0x00000000FFFFFFFF
    first = [[0, 10, *[10] * 7]] + [[10] * 9] * 7  # the top left bit alone
    assert fingerprint(grey(first)) == 1 << 63
    last = [[10] * 9] * 7 + [[*[10] * 8, 20]]
    assert fingerprint(grey(last)) == 1
    assert fingerprint(Image.new("RGB", (1, 1))) == 0


def test_a_fingerprint_is_that_of_the_whole_picture_filtered_at_once() -> None:
    for seed in range(4):
        picture = drawn(1000, 700, seed)
        values = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
        bits = "".join("1" if step > 0 else "0" for step in np.diff(values.astype(int)).ravel())
        assert distance(fingerprint(picture), int(bits, 2)) <= 4


def test_the_same_picture_smaller_or_compressed_is_near_and_another_is_far() -> None:
    original = drawn(1200, 900)
    base = fingerprint(original)
    jpeg = Image.open(io.BytesIO(encoded(original.resize((400, 300)), "JPEG", quality=50)))
    assert distance(base, fingerprint(jpeg.convert("RGB"))) <= 4
    for seed in range(1, 6):
        assert distance(base, fingerprint(drawn(1200, 900, seed))) >= 16


def test_a_fingerprint_hardly_depends_on_the_model(tmp_path: Path) -> None:
    data = encoded(drawn(1600, 1200), "JPEG", quality=90)
    found = [looked(data, preprocessing).fingerprint for preprocessing in (None, SMALL, LARGE)]
    assert max(distance(found[0], other) for other in found) <= 2


def test_a_turned_picture_has_the_fingerprint_of_the_upright_one() -> None:
    picture = drawn(300, 200)
    turned = encoded(picture.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif(6))
    assert looked(turned, None).fingerprint == fingerprint(picture)


# What a process may send


PHOTOS = st.builds(
    Photo,
    st.integers(1, 1 << 31),
    st.integers(1, 1 << 31),
    st.none() | st.integers(-(1 << 35), 1 << 37),
    st.none() | st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=100),
    st.just(None),
    st.just(None),
    st.integers(0, (1 << 64) - 1),
) | st.builds(
    Photo,
    st.just(1),
    st.just(1),
    st.just(0),
    st.just("X"),
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.just(0),
)


@given(PHOTOS | st.none())
def test_what_is_sent_arrives(photo: Photo | None) -> None:
    pixels: Pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    body = bytearray(pack_answer(pixels, photo, (1.0, 2.0, 3.0)) + pixels.tobytes())
    back, facts, seconds = unpack_answer(body, (2, 4))
    assert np.array_equal(back, pixels)
    assert (facts, seconds) == (photo, (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "photo",
    [
        Photo(0, 1, None, None, None, None, 0),
        Photo(1, 1, 1 << 40, None, None, None, 0),
        Photo(1, 1, None, "a\nb", None, None, 0),
        Photo(1, 1, None, None, 90.5, 0.0, 0),
        Photo(1, 1, None, None, 0.0, -180.5, 0),
        Photo(1, 1, None, None, 0.0, None, 0),
        Photo(1, 1, None, None, None, 0.0, 0),
        Photo(1, 1, None, None, float("inf"), 0.0, 0),
    ],
)
def test_facts_that_no_sound_process_sends_are_refused(photo: Photo) -> None:
    with pytest.raises(ValueError, match="senseless"):
        photo_facts.unpack(photo_facts.pack(photo), 0)


@given(st.binary(max_size=120))
def test_whatever_is_sent_is_facts_or_refused(body: bytes) -> None:
    try:
        photo, end = photo_facts.unpack(body, 0)
    except (ValueError, struct.error):
        return
    assert photo.width > 0
    assert end <= len(body)
