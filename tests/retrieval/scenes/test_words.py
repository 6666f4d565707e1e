"""Captions are true: they are read back word by word and compared with the scene."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mmsearch.retrieval.scenes import (
    Colour,
    Object,
    Scene,
    Shape,
    Size,
    Split,
    sample_scenes,
    split_combinations,
)
from mmsearch.retrieval.scenes.words import (
    COLOURS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    caption_scene,
)

MEANING = {
    word: meaning
    for table in (COLOURS, SHAPES, SIZES, RELATIONS, PLACES)
    for meaning, words in table.items()
    for word in words
}


def _either(table: Mapping[Any, tuple[str, ...]]) -> str:
    words = (word for words in table.values() for word in words)
    return "|".join(sorted(words, key=len, reverse=True))


NOUN = rf"\b(?:({_either(SIZES)}) )?({_either(COLOURS)}) ({_either(SHAPES)})\b"
PAIR = re.compile(rf"{NOUN} (?:is )?({_either(RELATIONS)}) (?:an?|the) {NOUN}$")
ALONE = re.compile(NOUN)


def _is(item: Object, size: str | None, colour: str, shape: str) -> bool:
    return (
        MEANING[colour] is item.colour
        and MEANING[shape] is item.shape
        and (size is None or MEANING[size] is item.size)
    )


def _is_true(caption: str, scene: Scene) -> bool:
    if len(scene.objects) == 1:
        noun, place = ALONE.search(caption), re.search(_either(PLACES), caption)
        assert noun is not None
        assert place is not None
        item = scene.objects[0]
        return _is(item, *noun.groups()) and MEANING[place[0]] is item.place
    read = PAIR.search(caption)
    assert read is not None, caption
    first, relation, second = read.groups()[:3], read[4], read.groups()[4:]
    return any(
        _is(one, *first) and one.relation_to(other) is MEANING[relation] and _is(other, *second)
        for one, other in (scene.objects, scene.objects[::-1])
    )


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = np.random.default_rng(11)
    return sample_scenes(split_combinations(rng)[Split.TEST], 300, rng, alone=0.2)


def test_every_caption_is_true_of_its_scene(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(12)
    for scene in scenes:
        for caption in caption_scene(scene, 5, rng):
            assert _is_true(caption, scene), (caption, scene)


def test_a_caption_is_false_of_every_other_scene(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(13)
    alike = [[len(scene.objects) == len(other.objects) for other in scenes] for scene in scenes]
    for i in range(0, len(scenes), 7):
        (caption,) = caption_scene(scenes[i], 1, rng)
        true = [j for j, other in enumerate(scenes) if alike[i][j] and _is_true(caption, other)]
        assert true == [i]


def test_the_captions_of_a_scene_differ(scenes: list[Scene]) -> None:
    captions = caption_scene(scenes[0], 20, np.random.default_rng(14))
    assert len(set(captions)) == 20


def test_all_synonyms_turn_up(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(15)
    told = " ".join(text for scene in scenes for text in caption_scene(scene, 10, rng))
    named = {item.colour for scene in scenes for item in scene.objects}
    for words in (*(COLOURS[colour] for colour in named), *RELATIONS.values(), *SIZES.values()):
        for word in words:
            assert word in told


def test_a_vowel_takes_an() -> None:
    scene = Scene((Object(Colour.ORANGE, Shape.STAR, Size.LARGE, 0.5, 0.5),))
    captions = caption_scene(scene, 20, np.random.default_rng(16))
    assert not any(re.search(r"\ba [aeiou]|\ban [^aeiou]", caption) for caption in captions)
