"""Architectures, tags and preprocessing, without any weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmsearch.core import Cut, Interpolation, Pixels, Resize
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.open_clip_config import find_architecture, preprocessing_of
from mmsearch.retrieval.encoder import normalise
from mmsearch.retrieval.resizing import resize

transform = pytest.importorskip("open_clip.transform")


def test_an_architecture_is_found_by_its_name_or_with_a_tag() -> None:
    assert find_architecture("ViT-B-32", None).spec == "ViT-B-32"
    assert find_architecture("ViT-B/32", None).spec == "ViT-B-32"
    tagged = find_architecture("ViT-B/32/laion2b_s34b_b79k", None)
    assert (tagged.spec, tagged.tag) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert tagged.name == "ViT-B-32/laion2b_s34b_b79k"


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("ViT-B-33", "no architecture 'ViT-B-33'; did you mean ViT-B-32?"),
        ("vit-b-16-siglp", "no architecture 'vit-b-16-siglp'; did you mean ViT-B-16-SigLIP?"),
        ("ViT-B-32/laion2b", "no weights ViT-B-32/laion2b; did you mean laion2b_"),
        ("Vit-B-23/openai", "no architecture 'Vit-B-23'; did you mean ViT-B-"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(arch: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_architecture(arch, None)
    assert message in str(caught.value)


def test_weights_without_a_tag_are_shown_pictures_as_all_published_ones_are() -> None:
    siglip = find_architecture("ViT-B-16-SigLIP", None).preprocessing
    assert siglip["resize_mode"] == "squash"
    assert siglip["mean"] == [0.5, 0.5, 0.5]
    mobile = find_architecture("MobileCLIP-S1", None).preprocessing
    assert (mobile["mean"], mobile["std"]) == ([0.0] * 3, [1.0] * 3)
    assert mobile["interpolation"] == "bilinear"


def test_a_folder_says_how_its_pictures_are_shown(tmp_path: Path) -> None:
    config = '{"model_cfg": {}, "preprocess_cfg": {"resize_mode": "longest"}}'
    (tmp_path / "open_clip_config.json").write_text(config)
    stated = find_architecture("ViT-B-16-SigLIP", tmp_path).preprocessing
    assert stated == {"resize_mode": "longest"}


def test_weights_of_quickgelu_get_it() -> None:
    assert find_architecture("ViT-B-32/openai", None).quick_gelu
    assert not find_architecture("ViT-B-32/laion2b_s34b_b79k", None).quick_gelu


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "has no model_cfg"),
        ('{"model_cfg": {"embed_dim": 8}}', "has no vision_cfg"),
        ('{"model_cfg": {"embed_dim": 8, "vision_cfg": [], "text_cfg": {}}}', "JSON objects"),
    ],
)
def test_a_damaged_configuration_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(ModelError, match=reason):
        find_architecture("", tmp_path)


def test_open_clips_preprocessing_becomes_ours() -> None:
    plain = preprocessing_of(asdict(transform.PreprocessCfg()))
    assert plain.size == (224, 224)
    assert (plain.resize, plain.cut, plain.short_side) == (Resize.CROP, Cut.ROUND, None)
    assert plain.interpolation is Interpolation.BICUBIC
    assert plain.mean == (0.48145466, 0.4578275, 0.40821073)
    longest = transform.PreprocessCfg(size=(64, 96), resize_mode="longest", fill_color=9)
    padded = preprocessing_of(asdict(longest))
    assert (padded.size, padded.resize, padded.fill) == ((64, 96), Resize.PAD, 9)
    single = {**asdict(transform.PreprocessCfg(resize_mode="squash")), "mean": 0.5, "std": 0.25}
    assert preprocessing_of(single).mean == (0.5, 0.5, 0.5)
    assert preprocessing_of(single).std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "L"},
        {"interpolation": "nearest"},
        {"resize_mode": "middle"},
        {"size": (224, 336)},
        {"std": (0.0, 1.0, 1.0)},
        {"mean": "grey"},
    ],
)
def test_preprocessing_that_is_not_supported_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        preprocessing_of({**asdict(transform.PreprocessCfg()), **change})


@st.composite
def settings_and_pixels(draw: st.DrawFn) -> tuple[Any, Pixels]:
    """open_clip's settings, and noise of any shape: what shows the smallest difference."""
    cfg = transform.PreprocessCfg(
        size=draw(st.sampled_from([8, 31, 64, 97])),
        resize_mode=draw(st.sampled_from(["shortest", "longest", "squash"])),
        interpolation=draw(st.sampled_from(["bicubic", "bilinear", "random"])),
        fill_color=77,
    )
    width = draw(st.integers(1, 300))
    height = max(1, round(width * draw(st.floats(0.3, 3.3))))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, 3))
    return cfg, noise.astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(settings_and_pixels())
def test_pixels_are_those_of_open_clips_transform(case: tuple[Any, Pixels]) -> None:
    cfg, noise = case
    theirs = transform.image_transform_v2(cfg, is_train=False)(Image.fromarray(noise)).numpy()
    preprocessing = preprocessing_of(asdict(cfg))
    ours = normalise(resize(noise, preprocessing)[None], preprocessing)[0]
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
