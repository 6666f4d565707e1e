"""Random cuts: the same in every run, different from one another, mirrored when asked."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.retrieval.vse.backbone import load_backbone
from mmsearch.retrieval.vse.batches import FeatureSource
from mmsearch.retrieval.vse.config import FeatureNorm
from mmsearch.retrieval.vse.features import extract_features
from mmsearch.retrieval.vse.image import FeatureNormalizer
from mmsearch.retrieval.vse.views import View, cut

PLAIN = Preprocessing(
    (32, 32), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
)


def gradient() -> np.ndarray:
    """One picture that grows brighter from left to right."""
    row = np.linspace(0, 255, 32).astype(np.uint8)
    return np.broadcast_to(row[None, None, :, None], (1, 32, 32, 3)).copy()


def test_a_cut_depends_on_picture_and_number_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    one = cut(noise, View(1, flip=False), PLAIN)
    assert one.shape == noise.shape
    assert (cut(noise[::-1].copy(), View(1, flip=False), PLAIN)[::-1] == one).all()
    assert (one != cut(noise, View(2, flip=False), PLAIN)).any()


def test_a_cut_keeps_at_least_seventy_percent_of_each_side() -> None:
    for number in range(1, 20):
        found = cut(gradient(), View(number, flip=False), PLAIN)[0, 0, :, 0].astype(int)
        assert found[-1] - found[0] >= 0.65 * 255
        assert (np.diff(found) >= 0).all()


def test_every_second_view_is_mirrored_when_asked() -> None:
    second = cut(gradient(), View(2, flip=True), PLAIN)[0, 0, :, 0].astype(int)
    assert (np.diff(second) <= 0).all()
    first = cut(gradient(), View(1, flip=True), PLAIN)[0, 0, :, 0].astype(int)
    assert (np.diff(first) >= 0).all()


def test_features_of_a_view_are_cached_apart(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(noise).save(file)
    torch.manual_seed(0)
    backbone = load_backbone("cnn", size=32, width=4)
    whole = extract_features(backbone, [file], tmp_path / "cache")
    view = extract_features(backbone, [file], tmp_path / "cache", view=View(1, flip=False))
    again = extract_features(backbone, [file], tmp_path / "cache", view=View(1, flip=False))
    assert (view.computed, again.computed) == (1, 0)
    assert not np.allclose(whole.array, view.array)
    np.testing.assert_array_equal(view.array, again.array)


def test_training_draws_among_views_and_validation_takes_the_whole() -> None:
    source = FeatureSource(torch.zeros(3, 2), torch.stack([torch.ones(3, 2), 2 * torch.ones(3, 2)]))
    rows = np.array([0, 1, 2])
    torch.manual_seed(0)
    drawn = {float(x) for _ in range(30) for x in source.batch(rows, training=True)[:, 0]}
    assert drawn == {0.0, 1.0, 2.0}
    assert source.batch(rows, training=False).abs().sum() == 0


def test_power_takes_signed_roots_before_it_standardises() -> None:
    normalizer = FeatureNormalizer(2, FeatureNorm.POWER)
    normalizer.fit(torch.tensor([[0.0, -1.0], [4.0, -9.0], [16.0, -25.0]]))
    # roots 0, 2, 4 and -1, -3, -5: means 2 and -3, deviations sqrt(8 / 3)
    torch.testing.assert_close(normalizer.mean, torch.tensor([2.0, -3.0]), atol=1e-3, rtol=0)
    found = normalizer(torch.tensor([[16.0, -9.0]]))
    torch.testing.assert_close(
        found, torch.tensor([[2 / (8 / 3) ** 0.5, 0.0]]), atol=1e-3, rtol=1e-3
    )
