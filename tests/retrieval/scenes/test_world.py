"""Splits by combination, and scenes that differ."""

from collections import Counter

import numpy as np
import pytest

from mmsearch.errors import ConfigError
from mmsearch.retrieval.scenes import (
    Colour,
    Object,
    Place,
    Relation,
    Shape,
    Size,
    Split,
    sample_scenes,
    split_combinations,
)


def _at(x: float, y: float) -> Object:
    return Object(Colour.RED, Shape.CIRCLE, Size.SMALL, x, y)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_combination_belongs_to_one_split(seed: int) -> None:
    dealt = split_combinations(np.random.default_rng(seed))
    assert {split: len(combinations) for split, combinations in dealt.items()} == {
        Split.TRAIN: 48,
        Split.DEV: 16,
        Split.TEST: 16,
    }
    assert len({combination for part in dealt.values() for combination in part}) == 80


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_train_knows_every_colour_and_every_shape_of_the_held_out_combinations(seed: int) -> None:
    train = split_combinations(np.random.default_rng(seed))[Split.TRAIN]
    for colour in Colour:
        assert sum(combination.colour is colour for combination in train) >= 4
    for shape in Shape:
        assert sum(combination.shape is shape for combination in train) == 6


@pytest.mark.parametrize(
    ("x", "y", "relation"),
    [
        (0.2, 0.5, Relation.LEFT),
        (0.8, 0.6, Relation.RIGHT),
        (0.4, 0.1, Relation.ABOVE),
        (0.6, 0.9, Relation.BELOW),
    ],
)
def test_a_relation_is_read_along_the_axis_that_parts_two_objects_most(
    x: float, y: float, relation: Relation
) -> None:
    assert _at(x, y).relation_to(_at(0.5, 0.5)) is relation


@pytest.mark.parametrize(
    ("x", "y", "place"),
    [
        (0.55, 0.45, Place.CENTRE),
        (0.2, 0.4, Place.LEFT),
        (0.8, 0.5, Place.RIGHT),
        (0.5, 0.2, Place.TOP),
        (0.5, 0.8, Place.BOTTOM),
    ],
)
def test_a_place_is_read_from_the_coordinates(x: float, y: float, place: Place) -> None:
    assert _at(x, y).place is place


def test_no_two_held_out_scenes_are_alike() -> None:
    rng = np.random.default_rng(3)
    scenes = sample_scenes(split_combinations(rng)[Split.TEST], 500, rng)
    seen = {_gist(scene.objects) for scene in scenes}
    assert len(seen) == len(scenes) == 500
    assert sum(len(scene.objects) == 1 for scene in scenes) == 50


def test_objects_of_a_pair_stand_in_all_four_arrangements() -> None:
    rng = np.random.default_rng(3)
    scenes = sample_scenes(split_combinations(rng)[Split.TRAIN], 40, rng, alone=0)
    found = Counter(frozenset(item.combination for item in scene.objects) for scene in scenes)
    assert len(found) == 10
    assert set(found.values()) == {4}


def test_more_scenes_than_differ_are_refused() -> None:
    rng = np.random.default_rng(3)
    combinations = split_combinations(rng)[Split.TEST]
    with pytest.raises(ConfigError, match="480 exist"):
        sample_scenes(combinations, 700, rng)
    assert len(sample_scenes(combinations, 700, rng, repeat=True)) == 700


def _gist(objects: tuple[Object, ...]) -> frozenset[object]:
    """Return what a caption that names no size can say of a scene."""
    if len(objects) == 1:
        return frozenset([(objects[0].combination, objects[0].size, objects[0].place)])
    one, other = objects
    return frozenset(
        [
            (one.combination, one.relation_to(other), other.combination),
            (other.combination, other.relation_to(one), one.combination),
        ]
    )
