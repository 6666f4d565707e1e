import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.retrieval.drawing import GREEN, RED

from mmsearch.retrieval.decode import decode_bytes


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def red_and_green_swapped() -> bytes:
    """Return a profile whose red primary is sRGB's green and the reverse."""
    data = srgb().replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    return data.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def red_with(profile: bytes, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), RED).convert(mode).save(buffer, "PNG", icc_profile=profile)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_applied(mode: str) -> None:
    pixels = decode_bytes(red_with(red_and_green_swapped(), mode), None)
    assert np.abs(pixels[0, 0].astype(int) - GREEN).max() <= 2


@pytest.mark.parametrize(
    "profile",
    [srgb(), b"garbage", red_and_green_swapped()[:200], bytes(16) + b"RGB " + bytes(300)],
    ids=["srgb", "short", "truncated", "zeros"],
)
def test_srgb_and_broken_profiles_change_nothing(profile: bytes) -> None:
    assert decode_bytes(red_with(profile), None)[0, 0].tolist() == list(RED)


def test_a_profile_for_another_kind_of_picture_is_ignored() -> None:
    pixels = decode_bytes(red_with(red_and_green_swapped(), "L"), None)
    assert pixels[0, 0].tolist() == [76, 76, 76]


def test_the_transparent_shade_of_sixteen_bit_grey_is_laid_over_white() -> None:
    picture = Image.fromarray(np.array([[0, 1000, 65535]], dtype=np.uint16))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=1000)
    assert decode_bytes(buffer.getvalue(), None)[0, :, 0].tolist() == [0, 255, 255]
