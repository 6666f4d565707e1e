import io
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.retrieval.drawing import BLUE, RED

from mmsearch.errors import DecodeError
from mmsearch.retrieval import formats
from mmsearch.retrieval.decode import decode_bytes
from mmsearch.retrieval.formats import looks_like_picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
NEF = b"II*\0 raw sensor data"


def jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("plugin", "data", "suffix"), [("pillow_heif", HEIC, ".HEIC"), ("rawpy", NEF, ".NEF")]
)
def test_without_the_plugin_the_reason_is_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, plugin: str, data: bytes, suffix: str
) -> None:
    monkeypatch.setitem(sys.modules, plugin, None)
    formats._register_heif.cache_clear()
    with pytest.raises(DecodeError, match=r"pip install 'mmsearch\[formats\]'"):
        decode_bytes(data, None, suffix=suffix)


def test_heic_is_read_when_its_plugin_is_installed() -> None:
    plugin = pytest.importorskip("pillow_heif")
    plugin.register_heif_opener()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), RED).save(buffer, "HEIF", quality=95)
    pixels = decode_bytes(buffer.getvalue(), None)
    assert np.abs(pixels[32, 32].astype(int) - RED).max() < 16


class LibRawError(Exception):
    """Stands in for rawpy's."""


def fake_rawpy(*, preview: bool) -> SimpleNamespace:
    """Return a module that shows a red preview or develops blue, and refuses b"broken"."""

    def extract_thumb() -> SimpleNamespace:
        if not preview:
            raise module.LibRawNoThumbnailError
        return SimpleNamespace(format="jpeg", data=jpeg(RED))

    @contextmanager
    def imread(file: io.BytesIO) -> Iterator[SimpleNamespace]:
        if file.read() == b"broken":
            raise LibRawError("bad data")
        yield SimpleNamespace(
            extract_thumb=extract_thumb,
            postprocess=lambda half_size: np.full((4, 4, 3), BLUE, dtype=np.uint8),
        )

    module = SimpleNamespace(
        imread=imread,
        ThumbFormat=SimpleNamespace(JPEG="jpeg"),
        LibRawError=LibRawError,
        LibRawNoThumbnailError=type("NoThumbnail", (LibRawError,), {}),
        LibRawUnsupportedThumbnailError=type("Unsupported", (LibRawError,), {}),
    )
    return module


@pytest.mark.parametrize(("preview", "colour"), [(True, RED), (False, BLUE)])
def test_a_raw_photo_is_its_preview_or_developed(
    monkeypatch: pytest.MonkeyPatch, preview: bool, colour: tuple[int, int, int]
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", fake_rawpy(preview=preview))
    pixels = decode_bytes(NEF, None, suffix=".nef")
    assert np.abs(pixels[2, 2].astype(int) - colour).max() < 8


def test_a_damaged_raw_photo_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", fake_rawpy(preview=True))
    with pytest.raises(DecodeError, match="damaged RAW photo"):
        decode_bytes(b"broken", None, suffix=".cr2")


@pytest.mark.parametrize(
    ("prefix", "answer"),
    [
        (b"\xff\xd8\xff\xe0", True),
        (b"\x89PNG\r\n\x1a\n", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (HEIC[:16], True),
        (b"\0\0\0\x18ftypisom\0\0\0\0", False),
        (b"#!/bin/sh", False),
        (b"", False),
    ],
)
def test_a_picture_is_told_by_its_first_bytes(prefix: bytes, answer: bool) -> None:
    assert looks_like_picture(prefix) is answer


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


@pytest.mark.parametrize(
    "filler",
    [
        segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 600,
        segment(0xFE, b"") * 20_000,
        b"\xff" * 200_000,
        b"\xff\xd9" * 20_000,
    ],
    ids=["exif", "comments", "filling", "ends"],
)
def test_a_jpeg_header_without_an_end_is_refused_at_once(filler: bytes) -> None:
    whole = jpeg(RED)
    began = time.process_time()
    with pytest.raises(DecodeError, match="its header has no end"):
        decode_bytes(whole[:2] + filler + whole[2:], None)
    assert time.process_time() - began < 1


def test_a_jpeg_with_a_long_but_sound_header_is_read() -> None:
    whole = jpeg(RED)
    header = segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) * 100 + b"\xff" * 1000
    pixels = decode_bytes(whole[:2] + header + whole[2:], None)
    assert np.abs(pixels[8, 8].astype(int) - RED).max() < 8


def test_scanning_and_planning_load_no_picture_plugin_and_no_network() -> None:
    code = (
        "import sys, mmsearch.retrieval.ingest; "
        "print([m for m in ('torch', 'onnxruntime', 'faiss', 'sqlite_utils', 'rich', "
        "'PIL.AvifImagePlugin') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
