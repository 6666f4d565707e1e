"""What can stand in a scene, and which scenes belong to which split.

A scene holds one object, or two of which one is left of or above the other. Every combination of
colour and shape belongs to one split alone, so that dev and test ask for combinations that were
never trained on, although each of their colours, shapes and words was.
"""

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.random import Generator

from mmsearch.errors import ConfigError

T = TypeVar("T")


class Split(StrEnum):
    """Part of the data, by the names of the caption files."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


class Colour(StrEnum):
    """Colour of an object."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    BLACK = "black"


class Shape(StrEnum):
    """Outline of an object."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    STAR = "star"
    CROSS = "cross"
    DIAMOND = "diamond"
    RING = "ring"
    HEART = "heart"


class Size(StrEnum):
    """Extent of an object."""

    SMALL = "small"
    LARGE = "large"


class Relation(StrEnum):
    """Where an object is, seen from another."""

    LEFT = "left of"
    RIGHT = "right of"
    ABOVE = "above"
    BELOW = "below"


class Place(StrEnum):
    """Where the only object of a scene is."""

    CENTRE = "centre"
    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"


class Combination(NamedTuple):
    """What a split owns."""

    colour: Colour
    shape: Shape


@dataclass(frozen=True, slots=True)
class Object:
    """One object; `x` and `y` are its centre, from the top left corner in [0, 1]."""

    colour: Colour
    shape: Shape
    size: Size
    x: float
    y: float

    @property
    def combination(self) -> Combination:
        """Its colour and shape."""
        return Combination(self.colour, self.shape)

    @property
    def place(self) -> Place:
        """Where it is in the picture."""
        dx, dy = self.x - 0.5, self.y - 0.5
        if max(abs(dx), abs(dy)) < 0.12:
            return Place.CENTRE
        if abs(dx) > abs(dy):
            return Place.RIGHT if dx > 0 else Place.LEFT
        return Place.BOTTOM if dy > 0 else Place.TOP

    def relation_to(self, other: "Object") -> Relation:
        """Return where this is, seen from `other`, on the axis that parts them most."""
        dx, dy = self.x - other.x, self.y - other.y
        if abs(dx) > abs(dy):
            return Relation.RIGHT if dx > 0 else Relation.LEFT
        return Relation.BELOW if dy > 0 else Relation.ABOVE


@dataclass(frozen=True, slots=True)
class Scene:
    """One object, or two."""

    objects: tuple[Object, ...]


class _Pair(NamedTuple):
    first: Combination
    second: Combination
    upright: bool


class _Alone(NamedTuple):
    combination: Combination
    size: Size
    place: Place


_CENTRES = {
    Place.CENTRE: (0.5, 0.5),
    Place.LEFT: (0.27, 0.5),
    Place.RIGHT: (0.73, 0.5),
    Place.TOP: (0.5, 0.27),
    Place.BOTTOM: (0.5, 0.73),
}
_HELD_OUT = 2  # diagonals of the table of combinations, for dev and for test each


def split_combinations(rng: Generator) -> dict[Split, tuple[Combination, ...]]:
    """Deal every combination of colour and shape to one split.

    Dev and test get whole diagonals of the (shuffled) table, so that train still holds every
    colour with several shapes and every shape with several colours.
    """
    colours = rng.permutation(np.array(list(Colour), dtype=object))
    shapes = rng.permutation(np.array(list(Shape), dtype=object))
    dealt: dict[Split, list[Combination]] = {split: [] for split in Split}
    for (row, colour), (column, shape) in itertools.product(enumerate(colours), enumerate(shapes)):
        diagonal = (row - column) % len(colours)
        held_out = {0: Split.DEV, 1: Split.TEST}.get(diagonal // _HELD_OUT)
        dealt[held_out or Split.TRAIN].append(Combination(colour, shape))
    return {split: tuple(combinations) for split, combinations in dealt.items()}


def sample_scenes(
    combinations: tuple[Combination, ...],
    count: int,
    rng: Generator,
    *,
    alone: float = 0.1,
    repeat: bool = False,
) -> list[Scene]:
    """Return `count` scenes of these combinations; a share `alone` of them has one object.

    Two objects that stand together do so in all four arrangements, one scene each: only the
    order of a caption's words tells these apart. No two scenes are alike in what their captions
    must name; ConfigError when there are not that many, unless scenes may `repeat`.
    """
    singles = [
        _Alone(combination, size, place)
        for combination, size, place in itertools.product(combinations, Size, Place)
    ]
    pairs = [
        _Pair(first, second, upright)
        for pair in _shuffled(list(itertools.combinations(combinations, 2)), rng)
        for first, second in itertools.permutations(pair)
        for upright in (False, True)
    ]
    n_alone = min(round(alone * count), count if repeat else len(singles))
    scenes = [
        *(_place_alone(lot, rng) for lot in _take(_shuffled(singles, rng), n_alone, repeat)),
        *(_place_pair(lot, rng) for lot in _take(pairs, count - n_alone, repeat)),
    ]
    return _shuffled(scenes, rng)


def name_scene(scene: Scene) -> str:
    """Return what is in the scene as part of a file name."""
    names = [f"{item.size}-{item.colour}-{item.shape}" for item in scene.objects]
    if len(scene.objects) == 1:
        return f"{names[0]}_{scene.objects[0].place}"
    first, second = scene.objects
    return f"{names[0]}_{first.relation_to(second).replace(' ', '-')}_{names[1]}"


def _shuffled(things: list[T], rng: Generator) -> list[T]:
    return [things[i] for i in rng.permutation(len(things))]


def _take(lots: list[T], count: int, repeat: bool) -> list[T]:
    if count > len(lots) and not repeat:
        raise ConfigError(f"{count} different scenes asked for, {len(lots)} exist; ask for fewer")
    return list(itertools.islice(itertools.cycle(lots), count))


def _place_alone(lot: _Alone, rng: Generator) -> Scene:
    x, y = np.array(_CENTRES[lot.place]) + rng.uniform(-0.05, 0.05, size=2)
    return Scene((Object(*lot.combination, lot.size, float(x), float(y)),))


def _place_pair(lot: _Pair, rng: Generator) -> Scene:
    along = np.array([rng.uniform(0.22, 0.28), rng.uniform(0.72, 0.78)])
    across = rng.uniform(0.38, 0.62, size=2)
    sizes = rng.choice(np.array(list(Size), dtype=object), size=2)
    xs, ys = (across, along) if lot.upright else (along, across)
    return Scene(
        tuple(
            Object(*combination, size, float(x), float(y))
            for combination, size, x, y in zip((lot.first, lot.second), sizes, xs, ys, strict=True)
        )
    )
