"""Order and content of batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.retrieval.vse.batches import FeatureSource, PixelSource, Split, epoch_batches, owners
from mmsearch.retrieval.vse.config import preset
from mmsearch.retrieval.vse.schedule import learning_rate

PLAIN = Preprocessing(
    (2, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=30),
    st.integers(2, 9),
    st.integers(1, 6),
    st.integers(0, 5),
)
def test_every_caption_stands_in_exactly_one_batch(
    per_image: list[int], batch_size: int, group: int, seed: int
) -> None:
    owner = np.repeat(np.arange(len(per_image)), per_image)
    batches = epoch_batches(owner, batch_size, group, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(owner)))
    assert all(len(batch) <= batch_size + max(per_image) for batch in batches)
    if len(owner) > 1:
        assert all(len(batch) > 1 for batch in batches)


def test_captions_of_an_image_share_a_batch_when_asked() -> None:
    owner = np.repeat(np.arange(6), 4)
    batches = epoch_batches(owner, 8, 4, np.random.default_rng(0))
    assert [len(np.unique(owner[batch])) for batch in batches] == [2, 2, 2]


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    batches = epoch_batches(np.arange(9), 4, 1, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [4, 5]


def test_a_last_batch_of_one_image_joins_the_one_before() -> None:
    owner = np.repeat(np.arange(5), 2)
    batches = epoch_batches(owner, 4, 2, np.random.default_rng(0))
    assert [len(np.unique(owner[batch])) for batch in batches] == [2, 3]


def test_the_order_depends_on_the_generator_alone() -> None:
    one, other = (epoch_batches(np.arange(20), 4, 1, np.random.default_rng([3, 1])) for _ in "ab")
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_texts_are_trimmed_to_the_longest_of_the_batch() -> None:
    tokens = np.array([[1, 5, 2, 0], [1, 5, 6, 2]])
    split = Split(FeatureSource(torch.zeros(1, 2)), tokens, np.array([3, 4]), np.array([0, 0]))
    found, lengths = split.texts(np.array([0]))
    assert found.tolist() == [[1, 5, 2]]
    assert lengths.tolist() == [3]


def test_pixels_are_normalised_channels_first() -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, 0, 1] = (255, 0, 51)
    batch = PixelSource(pixels, PLAIN).batch(np.array([0]), training=True)
    assert batch.shape == (1, 3, 2, 2)
    assert batch[0, :, 0, 1].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_augmentation_acts_in_training_only_and_keeps_a_flat_picture_flat() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    source = PixelSource(noise, PLAIN, augment=True, flip=True)
    rows = np.arange(2)
    torch.manual_seed(0)
    assert torch.equal(source.batch(rows, training=False), source.batch(rows, training=False))
    assert not torch.equal(source.batch(rows, training=True), source.batch(rows, training=False))
    flat = PixelSource(np.full((1, 8, 8, 3), 255, np.uint8), PLAIN, augment=True, flip=True)
    torch.testing.assert_close(flat.batch(np.array([0]), training=True), torch.ones(1, 3, 8, 8))


def test_owners_count_uneven_captions() -> None:
    assert owners([["a", "b"], ["c"], ["d", "e", "f"]]).tolist() == [0, 0, 1, 2, 2, 2]


def test_the_step_schedule_divides_by_ten_after_its_epochs() -> None:
    config = preset("vsepp")
    assert learning_rate(config, 14 * 7 + 6, 7) == pytest.approx(2e-4)
    assert learning_rate(config, 15 * 7, 7) == pytest.approx(2e-5)


def test_the_cosine_schedule_warms_up_and_ends_near_zero() -> None:
    config = preset("default", lr=1.0, epochs=2, warmup_steps=4)
    rates = [learning_rate(config, step, 10) for step in range(20)]
    assert rates[0] == pytest.approx(0.25)
    assert rates[10] == pytest.approx(0.5)
    assert rates[19] < 0.01
    assert max(rates) <= 1.0
