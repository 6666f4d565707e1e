"""Random questions that fit the libraries of `worded_libraries`: their words, items, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from tests.index.where.strategies import conditions, terms
from tests.retrieval.worded_libraries import RARE_WORDS, SIZES, WORDS, Known

from mmsearch.conditions import AnyOf, Compare, Condition, Operator
from mmsearch.core import (
    Cutoff,
    ImageTerm,
    ItemTerm,
    Modality,
    Mode,
    Negation,
    Query,
    Term,
    TextTerm,
)
from mmsearch.index.where.grammar import parse_condition
from mmsearch.index.where.show import show

_PLAIN = (
    *WORDS, *RARE_WORDS, "Zebra", "DOG", "cafe", "Caf\u00c9", "yacht", "and", "of",
    "IMG_0412.jpg", "black-and-white", "it's", "dog.", "(sea)", "red,", "'two'",
)  # fmt: skip
_QUOTED = ("the sea", "red dog", "two dogs", "dog On", "new york", "a", "dog", "2024/Rome", "?!")
_SIGNS = ("!?", "-", "&")
_MANY = tuple(f"w{n}" for n in range(64))

weights = st.sampled_from([1.0, 1.0, 2.0, 0.5, 0.25, -0.5, -1.0])
any_weights = weights | st.floats(0.1, 3) | st.floats(-2, -0.1)
trees: st.SearchStrategy[Condition] = st.one_of(terms, conditions)
any_condition = trees | trees.map(lambda tree: parse_condition(show(tree)))
halves: st.SearchStrategy[Condition] = st.builds(
    Compare,
    st.just("id"),
    st.sampled_from([Operator.AT_LEAST, Operator.BELOW]),
    st.integers(1, sum(SIZES[-1])),
)
wheres: st.SearchStrategy[Condition | None] = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    halves,
    st.tuples(halves, any_condition).map(AnyOf),
    any_condition,
)
_MODES = (Mode.VECTOR, None, None, Mode.TEXT, Mode.TEXT, *[Mode.HYBRID] * 4)
often = st.sampled_from([True, True, False])
least_scores = st.sampled_from([-0.5, 0.0, 0.25, 0.5]) | st.floats(-1, 0.5)


@dataclass(frozen=True)
class Sentence:
    """A text, with the words that are in it."""

    text: str
    words: tuple[str, ...]
    phrase: bool = False


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    """Draw words with signs around them, quoted ones among them; or all of it quoted."""
    if draw(st.integers(0, 9)) == 0:
        phrase = draw(st.sampled_from(_QUOTED))
        return Sentence(phrase, (phrase,) if phrase != "?!" else (), phrase=True)
    plain = st.sampled_from(_PLAIN).map(lambda word: (word, word.strip("().,'")))
    quoted = st.sampled_from(_QUOTED).map(lambda word: (f'"{word}"', word.strip("?!")))
    signs = st.sampled_from(_SIGNS).map(lambda sign: (sign, ""))
    parts = draw(st.lists(st.one_of(plain, plain, plain, quoted, signs), min_size=1, max_size=4))
    if draw(st.integers(0, 19)) == 0:
        parts.insert(1, (" ".join(_MANY), " ".join(_MANY)))
    words = [word for part, word in parts for word in ([word] if part[0] == '"' else word.split())]
    return Sentence(" ".join(part for part, _ in parts), tuple(filter(None, words)))


@dataclass(frozen=True)
class Drawn:
    """A question, and the words of its sentences by the place of the term."""

    query: Query
    words: dict[int, tuple[str, ...]]


@st.composite
def term(
    draw: st.DrawFn, known: Known, kinds: Sequence[str] = ("text", "text", "image", "item")
) -> tuple[Term, Sentence | None]:
    """Draw a term; of a sentence with its words."""
    weight = draw(weights if known.plain else any_weights)
    match draw(st.sampled_from(kinds)):
        case "text":
            said = draw(sentences())
            return TextTerm(said.text, weight, said.phrase), said
        case "image":
            pixels = np.full((3, 3, 3), draw(st.integers(0, 255)), dtype=np.uint8)
            digest = draw(st.none() | st.sampled_from(sorted({*known.digests.values()})))
            return ImageTerm(pixels, weight, digest), None
        case _:
            return ItemTerm(draw(st.sampled_from(sorted(known.vectors))), weight), None


def _said(words: Sequence[str]) -> tuple[Term, Sentence | None]:
    text = " ".join(words)
    return TextTerm(text), Sentence(text, tuple(words))


@st.composite
def openings(draw: st.DrawFn) -> list[tuple[Term, Sentence | None]]:
    """Draw a sentence of words that items have, and at times the first word once more."""
    said = draw(st.lists(st.sampled_from(WORDS + RARE_WORDS), min_size=1, max_size=3))
    return [_said(said)] if draw(often) else [_said(said), _said(said[:1])]


@st.composite
def questions(draw: st.DrawFn, known: Known) -> Drawn:
    """Draw any question; half of those by words are of words that items have and little else."""
    mode = draw(st.sampled_from(_MODES))
    is_short = mode is not Mode.VECTOR and draw(st.booleans())
    begun = mode is not Mode.VECTOR and (is_short or draw(often))
    first = draw(openings()) if begun else []
    more = st.lists(term(known), min_size=0 if first else 1, max_size=0 if is_short else 3)
    drawn = first + draw(more)
    negations = [Negation.SUBTRACT] * (3 if known.plain else 1) + [Negation.PROJECT]
    query = Query(
        terms=tuple(one for one, _ in drawn),
        k=draw(st.sampled_from([1, 2, 3, 5, 5, 10, 10, 11, 60, 10**9])),
        target=draw(st.sampled_from([Modality.IMAGE, Modality.TEXT, None])),
        online=not (is_short or draw(often)),
        where=None if is_short else draw(wheres),
        mode=mode,
        negation=draw(st.sampled_from(negations)),
        min_score=None if draw(often) else draw(least_scores),
        cutoff=draw(st.sampled_from([Cutoff.OFF, Cutoff.DROP, Cutoff.MARK, Cutoff.OFF])),
        own=draw(st.booleans()),
    )
    words = {place: each.words for place, (_, each) in enumerate(drawn) if each is not None}
    return Drawn(query, words)
