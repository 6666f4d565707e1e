"""What a converted model is compared on: drawn pictures of many shapes, plain and odd sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mmsearch.retrieval.scenes import Split, sample_scenes, split_combinations
from mmsearch.retrieval.scenes.drawing import draw_scene
from mmsearch.retrieval.scenes.words import caption_scene

if TYPE_CHECKING:
    from PIL import Image

# Wide and high, larger and smaller than any input, odd and even, so that every rounding of a
# resize and a cut occurs.
_SIZES: Final = (
    (640, 480), (480, 640), (333, 500), (500, 375), (211, 317), (97, 131), (64, 48), (420, 420),
    (600, 251), (253, 599), (31, 29), (512, 341), (360, 640), (449, 300), (150, 226), (301, 449),
)  # fmt: skip

ODD_SENTENCES: Final = (
    "",
    "   ",
    "?",
    "a",
    "A DOG runs;   Two\tCATS sleep.\nEND",
    "the dog's, the dogs' and don't",
    "snow_covered_hills, e-mail & 3.5 m/s (50%)!",
    "12345 67890 3/4 x2",
    "caf\u00e9 cafe\u0301 \u00c5ngstr\u00f6m na\u00efve \u0130stanbul stra\u00dfe",
    "Fran\u00c3\u00a7ois said \u00e2\u20ac\u0153hello\u00e2\u20ac\u009d",
    "fish &amp; chips &#39;quoted&#39; &amp;amp;",
    "1 < 2 &amp; 3 &amp;gt; 2",
    "\u201ccurly\u201d \u2018quotes\u2019 \u2014 dashes \u2026",
    "🐕 on the grass 🌿👍🏽 👨‍👩‍👧",
    "狗在草地上奔跑",
    "犬が草の上を走る",
    "개가 풀밭을 달린다",
    "собака бежит по траве",
    "كلب يجري على العشب",
    "कुत्ता घास पर दौड़ता है",
    "\u2603\ufe0f \u00bd \u2167 \ufb01ne \uff26\uff55\uff4c\uff4c \u00a0wide\u3000space",
    "zero\u200bwidth \ufeffmark and \u00adsoft hyphens",
    "a very long sentence about a dog that runs on the grass and " * 40,
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4n" * 12,
    "\u72d7" * 300,
)  # fmt: skip
"""Empty, very long, other scripts, emoji, entities, wrongly decoded text, odd spaces."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Upright RGB pictures of any size, and sentences."""

    pictures: Sequence["Image.Image"]
    sentences: Sequence[str]


def drawn_samples(seed: int = 0) -> Samples:
    """Draw scenes of different shapes; their captions come with the odd sentences.

    The same for a seed.
    """
    rng = np.random.default_rng(seed)
    combinations = split_combinations(rng)[Split.TRAIN]
    scenes = sample_scenes(combinations, len(_SIZES), rng)
    pictures = []
    for scene, (width, height) in zip(scenes, _SIZES, strict=True):
        drawn = draw_scene(scene, max(width, height), rng)
        left, top = (drawn.width - width) // 2, (drawn.height - height) // 2
        pictures.append(drawn.crop((left, top, left + width, top + height)))
    captions = [caption for scene in scenes for caption in caption_scene(scene, 1, rng)]
    return Samples(pictures, [*captions, *ODD_SENTENCES])
