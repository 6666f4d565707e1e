"""Image processors become our preprocessing, or are refused with what stands against it."""

from dataclasses import replace
from typing import Any

import pytest

from mmsearch.core import Cut, Interpolation, Resize
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.hf_images import Framing, Window, check_pixels, read_framing

SQUASHED: dict[str, Any] = {"size": {"height": 32, "width": 48}}
PADDED: dict[str, Any] = {"do_pad": True, "pad_size": {"height": 64, "width": 64}}


def make(kind: str, **settings: Any) -> Any:
    """Build an image processor of transformers, which is imported when it is needed."""
    import transformers

    return getattr(transformers, kind)(**settings)


def cropped(short: int, height: int, width: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": short}, "crop_size": {"height": height, "width": width}}


def test_a_short_side_and_a_cut_are_a_crop_that_begins_at_the_lower_half() -> None:
    preprocessing = read_framing(make("CLIPImageProcessor", **cropped(40, 32, 36))).preprocessing
    assert preprocessing.size == (32, 36)
    assert preprocessing.resize is Resize.CROP
    assert preprocessing.short_side == 40
    assert preprocessing.cut is Cut.FLOOR
    assert preprocessing.interpolation is Interpolation.BICUBIC
    assert preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)


def test_a_height_and_a_width_squash() -> None:
    framing = read_framing(make("SiglipImageProcessor", **SQUASHED, resample=2))
    assert framing.preprocessing.size == (32, 48)
    assert framing.preprocessing.resize is Resize.SQUASH
    assert framing.preprocessing.interpolation is Interpolation.BILINEAR
    assert framing.window is None


def test_a_cut_from_a_squashed_picture_is_left_to_the_tower() -> None:
    processor = make(
        "CLIPImageProcessor",
        size={"height": 41, "width": 50},
        crop_size={"height": 32, "width": 32},
    )
    framing = read_framing(processor)
    assert framing.preprocessing.size == (41, 50)
    assert framing.window == Window(top=4, left=9, height=32, width=32)
    check_pixels(processor, framing, levels=1.0)


@pytest.mark.parametrize(
    ("changes", "mean", "std"),
    [
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 1.0]}, 0.1, 0.5),
        ({"do_normalize": False}, 0.0, 1.0),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, 0.0, 0.5),
        ({"rescale_factor": 2 / 255, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, 0.5, 0.5),
        ({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3}, 0.5, 0.2),
    ],
    ids=["plain", "unnormalised", "to two", "both", "in levels"],
)
def test_every_scale_becomes_a_mean_and_a_deviation(
    changes: dict[str, Any], mean: float, std: float
) -> None:
    processor = make("SiglipImageProcessor", **SQUASHED, **changes)
    framing = read_framing(processor)
    assert framing.preprocessing.mean[0] == pytest.approx(mean)
    assert framing.preprocessing.std[0] == pytest.approx(std)
    check_pixels(processor, framing, levels=1.0)


def test_efficientnet_shifts_the_scale_and_divides_twice() -> None:
    processor = make(
        "EfficientNetImageProcessor",
        size={"height": 40, "width": 40},
        rescale_factor=1 / 127.5,
        rescale_offset=True,
    )
    framing = read_framing(processor)
    assert framing.preprocessing.mean == pytest.approx((0.75, 0.75, 0.75))
    assert framing.preprocessing.std == pytest.approx((0.125, 0.125, 0.125))
    check_pixels(processor, framing, levels=1.0)


PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("CLIPImageProcessor", cropped(64, 64, 64)),
    ("CLIPImageProcessor", cropped(73, 64, 64) | {"resample": 2}),
    ("CLIPImageProcessor", cropped(64, 48, 64) | {"resample": 1}),
    ("CLIPImageProcessorPil", cropped(73, 64, 64)),
    ("SiglipImageProcessor", SQUASHED),
    ("SiglipImageProcessorPil", SQUASHED),
    ("ViTImageProcessor", SQUASHED),
    ("BitImageProcessor", cropped(48, 44, 44)),
    ("ChineseCLIPImageProcessor", cropped(64, 64, 64)),
]


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS)
def test_pixels_are_those_of_both_backends(kind: str, settings: dict[str, Any]) -> None:
    processor = make(kind, **settings)
    exact = processor.backend == "pil"
    check_pixels(processor, read_framing(processor), levels=0.01 if exact else 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (0.5, 0.5, 0.5)},
        {"short_side": 64},
        {"interpolation": Interpolation.LANCZOS, "resize": Resize.SQUASH},
    ],
    ids=["mean", "short side", "squash"],
)
def test_other_pixels_are_refused(changes: dict[str, Any]) -> None:
    processor = make("CLIPImageProcessor", **cropped(73, 64, 64))
    framing = read_framing(processor)
    with pytest.raises(ModelError, match="levels from what its settings say"):
        check_pixels(processor, Framing(replace(framing.preprocessing, **changes)), levels=1.0)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("CLIPImageProcessor", {"do_resize": False}, "own size"),
    ("CLIPImageProcessor", {"do_center_crop": False}, "no one size"),
    ("CLIPImageProcessor", {"size": {"shortest_edge": 20, "longest_edge": 40}}, "no one size"),
    ("CLIPImageProcessor", cropped(24, 32, 32), "a cut of"),
    ("CLIPImageProcessor", SQUASHED | {"crop_size": 64}, "a cut of"),
    ("SiglipImageProcessor", SQUASHED | {"resample": 0}, "filter"),
    ("SiglipImageProcessor", SQUASHED | {"image_std": [0.0] * 3}, "deviation"),
    ("SiglipImageProcessor", SQUASHED | PADDED, "padding"),
    ("Siglip2ImageProcessor", {}, "steps of its own"),
    ("ConvNextImageProcessor", {}, "steps of its own"),
]


@pytest.mark.parametrize(("kind", "settings", "reason"), REFUSED)
def test_what_has_no_exact_counterpart_is_refused(
    kind: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason) as refused:
        read_framing(make(kind, **settings))
    assert kind in str(refused.value)
