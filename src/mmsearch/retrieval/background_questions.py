"""Questions about nothing: what they reach in a library is chance.

Sentences of which nobody could take a picture, letters without a meaning, pictures of nothing
but shades and stripes. They are drawn by a seed: the same ones for everybody. Whoever changes
them raises `background.VERSION`.
"""

import random
import string
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mmsearch.core import Pixels

_SENTENCES: Final = 256
_LETTERS: Final = 64
_PICTURES: Final = 40  # of shades, and as many of stripes
_WHAT: Final = (
    "the definition of", "a summary of", "the history of", "an objection to", "the theory of",
    "a list of", "the cause of", "an exception to", "the value of", "a change in",
    "the absence of", "a report on", "the purpose of", "a doubt about", "the name of",
    "the limits of", "a comparison of", "the number of", "the reason for", "an account of",
)  # fmt: skip
_OF_WHAT: Final = (
    "a contract", "an algorithm", "the budget", "a language", "the law", "an equation",
    "the economy", "a database", "the grammar", "a constant", "the election", "the schedule",
    "an opinion", "a number", "the protocol", "a licence", "the policy", "a molecule",
    "the vowel", "a pension", "the software", "an axiom", "the temperature", "a debt",
    "the century", "knowledge", "patience", "employment", "truth", "electricity",
)  # fmt: skip
_MORE: Final = (
    "", "in general", "for next year", "without proof", "according to the author",
    "since yesterday", "by definition", "in the second chapter", "under the new rules", "in theory",
)  # fmt: skip


def empty_sentences(seed: int = 0) -> list[list[str]]:
    """Return sentences that no picture shows, in families: words, and letters at random."""
    draw = random.Random(seed)
    every = [
        " ".join(f"{what} {of_what} {more}".split())
        for what in _WHAT
        for of_what in _OF_WHAT
        for more in _MORE
    ]
    letters = [
        " ".join(_word(draw, draw.randint(2, 10)) for _ in range(draw.randint(1, 8)))
        for _ in range(_LETTERS)
    ]
    return [draw.sample(every, _SENTENCES), letters]


def empty_pictures(size: tuple[int, int], seed: int = 0) -> list[Pixels]:
    """Return pictures (height, width, 3) that show nothing: soft shades, and stripes."""
    generator = np.random.default_rng(seed)
    shades = [_shades(size, generator) for _ in range(_PICTURES)]
    return shades + [_stripes(size, generator) for _ in range(_PICTURES)]


def _word(draw: random.Random, letters: int) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=letters))


def _shades(size: tuple[int, int], generator: Generator) -> Pixels:
    """Return random colours at the knots of a coarse grid, blended between them."""
    knots = int(generator.integers(2, 24))
    grid = generator.uniform(0, 255, (knots, knots, 3))
    down, across = (_blend(length, knots) for length in size)
    shades: Pixels = np.einsum("yi,ijc,xj->yxc", down, grid, across).astype(np.uint8)
    return shades


def _blend(length: int, knots: int) -> NDArray[np.float64]:
    """Return (length, knots): how much each pixel of a line has of each knot, linearly."""
    distance = np.linspace(0, knots - 1, length)[:, np.newaxis] - np.arange(knots)
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _stripes(size: tuple[int, int], generator: Generator) -> Pixels:
    """Return stripes of two colours, of any width and slant."""
    waves, slant = generator.uniform(2, 40), generator.uniform(0, np.pi)
    down, across = (np.linspace(0, 1, length) for length in size)
    phase = np.add.outer(down * np.sin(slant), across * np.cos(slant)) * waves * 2 * np.pi
    colours = generator.integers(0, 256, (2, 3), dtype=np.uint8)
    stripes: Pixels = colours[(np.sin(phase) > 0).astype(np.intp)]
    return stripes
