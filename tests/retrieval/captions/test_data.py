from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.errors import ConfigError, DataError
from mmsearch.retrieval.captions import CaptionData, CaptionedImage, DataFormat, Problem, with_dev


def data(**splits: int) -> CaptionData:
    return CaptionData(
        DataFormat.CSV,
        {
            name: tuple(CaptionedImage(Path(f"{name}{n}.jpg"), ("x", "y")) for n in range(count))
            for name, count in splits.items()
        },
        problems=(Problem("f:1", "broken"),),
        warnings=("careful",),
    )


def test_given_dev_is_kept() -> None:
    given_dev = data(train=5, dev=2)
    assert with_dev(given_dev, 0.5, seed=0) is given_dev


def test_dev_is_split_off_train_and_test_stays() -> None:
    before = data(train=20, test=3)
    after = with_dev(before, 0.25, seed=1)
    assert {name: len(images) for name, images in after.splits.items()} == {
        "train": 15,
        "dev": 5,
        "test": 3,
    }
    assert after.splits["test"] == before.splits["test"]
    assert (after.problems, after.warnings) == (before.problems, before.warnings)


def test_whole_data_becomes_train_and_dev() -> None:
    assert {k: len(v) for k, v in with_dev(data(all=10), 0.2, seed=0).splits.items()} == {
        "train": 8,
        "dev": 2,
    }


def test_the_seed_decides_and_repeats() -> None:
    assert with_dev(data(all=30), 0.5, seed=3) == with_dev(data(all=30), 0.5, seed=3)
    assert with_dev(data(all=30), 0.5, seed=3) != with_dev(data(all=30), 0.5, seed=4)


@given(
    images=st.integers(2, 60),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_image_is_in_one_part_and_no_part_is_empty(
    images: int, fraction: float, seed: int
) -> None:
    before = data(all=images)
    after = with_dev(before, fraction, seed)
    train, dev = after.splits["train"], after.splits["dev"]
    assert train
    assert dev
    order = {image.path: n for n, image in enumerate(before.splits["all"])}
    assert sorted((*train, *dev), key=lambda one: order[one.path]) == list(before.splits["all"])
    assert list(train) == sorted(train, key=lambda one: order[one.path])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_an_error(fraction: float) -> None:
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        with_dev(data(all=10), fraction, seed=0)


@pytest.mark.parametrize("splits", [{"all": 1}, {"test": 9}])
def test_too_little_to_split_is_an_error(splits: dict[str, int]) -> None:
    with pytest.raises(DataError, match="cannot split a dev part"):
        with_dev(data(**splits), 0.1, seed=0)
