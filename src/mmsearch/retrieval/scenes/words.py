"""Captions of a scene, in several wordings, each true of it."""

from collections.abc import Mapping, Sequence

from numpy.random import Generator

from mmsearch.retrieval.scenes.world import Colour, Object, Place, Relation, Scene, Shape, Size

COLOURS: Mapping[Colour, tuple[str, ...]] = {
    Colour.RED: ("red", "crimson", "scarlet"),
    Colour.ORANGE: ("orange", "tangerine"),
    Colour.YELLOW: ("yellow", "golden"),
    Colour.GREEN: ("green", "emerald"),
    Colour.CYAN: ("cyan", "turquoise"),
    Colour.BLUE: ("blue", "cobalt"),
    Colour.PURPLE: ("purple", "violet"),
    Colour.PINK: ("pink", "rosy"),
    Colour.BROWN: ("brown", "chocolate"),
    Colour.BLACK: ("black", "ebony"),
}
SHAPES: Mapping[Shape, tuple[str, ...]] = {
    Shape.CIRCLE: ("circle", "disc", "disk"),
    Shape.SQUARE: ("square", "box"),
    Shape.TRIANGLE: ("triangle",),
    Shape.STAR: ("star",),
    Shape.CROSS: ("cross", "plus sign"),
    Shape.DIAMOND: ("diamond", "rhombus"),
    Shape.RING: ("ring", "hoop"),
    Shape.HEART: ("heart",),
}
SIZES: Mapping[Size, tuple[str, ...]] = {
    Size.SMALL: ("small", "little", "tiny"),
    Size.LARGE: ("large", "big", "huge"),
}
RELATIONS: Mapping[Relation, tuple[str, ...]] = {
    Relation.LEFT: ("left of", "to the left of"),
    Relation.RIGHT: ("right of", "to the right of"),
    Relation.ABOVE: ("above", "over", "higher than"),
    Relation.BELOW: ("below", "under", "beneath"),
}
PLACES: Mapping[Place, tuple[str, ...]] = {
    Place.CENTRE: ("in the middle", "in the centre"),
    Place.LEFT: ("on the left", "at the left side"),
    Place.RIGHT: ("on the right", "at the right side"),
    Place.TOP: ("at the top", "near the upper edge"),
    Place.BOTTOM: ("at the bottom", "near the lower edge"),
}
PAIRS = (
    "{a} {first} {relation} {b} {second}",
    "{a} {first} is {relation} {b} {second}",
    "there is {a} {first} {relation} {b} {second}",
    "the {first} is {relation} the {second}",
    "a picture of {a} {first} {relation} {b} {second}",
)
ALONE = (
    "only {a} {first} {place}",
    "a single {first} {place}",
    "{a} {first} {place} and nothing else",
    "{place} there is just {a} {first}",
)
_SYNONYM = 0.35  # how often another word than the first is taken
_SIZED = 0.5  # how often an object of a pair is named with its size


def caption_scene(scene: Scene, count: int, rng: Generator) -> tuple[str, ...]:
    """Return `count` different captions.

    All name every colour and shape, and where the objects are; the size is always named when
    an object is alone.
    """
    captions: dict[str, None] = {}  # a set that keeps its order
    while len(captions) < count:
        captions[_caption(scene.objects, rng)] = None
    return tuple(captions)


def _caption(objects: Sequence[Object], rng: Generator) -> str:
    if len(objects) == 1:
        first = _noun(objects[0], rng, sized=1.0)
        place = _word(PLACES[objects[0].place], rng)
        return _any(ALONE, rng).format(a=_article(first), first=first, place=place)
    one, other = objects if rng.random() < 0.5 else reversed(objects)
    first, second = _noun(one, rng, sized=_SIZED), _noun(other, rng, sized=_SIZED)
    return _any(PAIRS, rng).format(
        a=_article(first),
        first=first,
        relation=_word(RELATIONS[one.relation_to(other)], rng),
        b=_article(second),
        second=second,
    )


def _noun(item: Object, rng: Generator, *, sized: float) -> str:
    words = [_word(COLOURS[item.colour], rng), _word(SHAPES[item.shape], rng)]
    if rng.random() < sized:
        words.insert(0, _word(SIZES[item.size], rng))
    return " ".join(words)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _word(words: tuple[str, ...], rng: Generator) -> str:
    return _any(words[1:], rng) if len(words) > 1 and rng.random() < _SYNONYM else words[0]


def _any(options: tuple[str, ...], rng: Generator) -> str:
    return options[int(rng.integers(len(options)))]
