"""The words of a question: looked for in names, folders, sentences, captions and labels."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mmsearch.core import Ids, Matches, Modality, Mode, Query, Term, TextTerm
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.words import Wanted, count, found, having, held, held_by, ranked

MOST_WORDS: Final = 64
"""Of a question; what it has beyond these is not looked for."""

ENOUGH: Final = 0.5
"""How much of what a question's words tell an item must have to be found beside the vectors."""

# fmt: off
_STOP_WORDS: Final = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "into",
    "is", "it", "its", "of", "on", "or", "that", "the", "their", "there", "these", "this", "to",
    "was", "were", "which", "with",
})
# fmt: on
_PART: Final = re.compile(r'"([^"]*)"|([^\s"]+)')
_AROUND: Final = " \t\n\r.,;:!?()[]{}<>*'`\u2019"
_RUN: Final = re.compile(r"[^\W_]+")
_MANY: Final = 1000  # items; or,
_MANY_SHARE: Final = 50  # where that is more, one in so many
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Wording:
    """What a question looks for by words, and what ranks.

    `wanted`: words and phrases. `unwanted`: of no group an answer has all. `unknown`: words that
    the model does not know. `blind`: it knows none, so that no cosine means anything.
    """

    mode: Mode
    wanted: tuple[str, ...]
    unwanted: tuple[tuple[str, ...], ...] = ()
    unknown: tuple[str, ...] = ()
    blind: bool = False


def read_wording(query: Query, unknown: Sequence[str]) -> Wording | None:
    """Return what a query looks for by words; None when its vectors alone rank.

    `unknown` are the words of its positive texts that the model does not know. Where no mode was
    asked for, these are looked for beside the vectors; if the model knows no others, what was
    written is looked for, as in the mode text. Raises InputError for that mode without a text.
    """
    texts = [term for term in query.terms if isinstance(term, TextTerm)]
    said = _each_once(word for term in texts if term.weight > 0 for word in _words(term))
    wanted = said[:MOST_WORDS]
    away = (_words(term)[:MOST_WORDS] for term in texts if term.weight < 0)
    unwanted = tuple(filter(None, away))
    strange = telling_words(unknown)
    blind = bool(strange) and len(texts) == len(query.terms) and _are_all(strange, said)
    if query.mode is Mode.TEXT:
        if not wanted:
            raise InputError(
                "the mode text looks for words; give a text with some, or leave it out"
            )
        return Wording(Mode.TEXT, wanted, unwanted, (), blind)
    if query.mode is Mode.HYBRID and wanted:
        return Wording(Mode.TEXT if blind else Mode.HYBRID, wanted, unwanted, strange, blind)
    if query.mode is None and strange:
        if blind:
            return Wording(Mode.TEXT, wanted, unwanted, strange, blind)
        return Wording(Mode.HYBRID, strange[:MOST_WORDS], unwanted, strange, blind)
    return None


def telling_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return words, each once, without those that nearly every English sentence has."""
    return _each_once(word for word in words if word.casefold() not in _STOP_WORDS)


def meaningless(terms: Sequence[Term], unknown: Mapping[int, Sequence[str]]) -> list[int]:
    """Return the places of the texts of which the model knows no word, `unknown` by place.

    All such texts have one vector, which lies anywhere. Empty where the question has nothing else
    that is wanted, or in one without anything wanted, that is not.
    """
    strange = {place: telling_words(words) for place, words in unknown.items()}
    found = [
        place
        for place, term in enumerate(terms)
        if isinstance(term, TextTerm) and strange.get(place)
        if _are_all(strange[place], _words(term))
    ]
    pulling = {place for place, term in enumerate(terms) if term.weight > 0}
    return found if (pulling or {*range(len(terms))}) - {*found} else []


def words_of(text: str) -> tuple[str, ...]:
    """Return the words and "quoted phrases" of a text, each once.

    Signs are no words. Words that nearly every English sentence has are left out when others
    remain; BM25 takes care of what is frequent in the library at hand, in any language.
    """
    return _telling(text)[:MOST_WORDS]


def text_matches(
    catalog: Catalog, wording: Wording, modality: Modality, k: int, among: Ids | None
) -> Matches:
    """Return the k items of a modality that fit the words best, best first, ties by id.

    Scores are BM25, higher is better. An item needs one of the words. One that many items have,
    more than 2 % of them and more than 1,000, ranks and does not find while the question has a
    rarer one that some item has: what has "dog" alone is no answer to "dog surfing" in a library
    full of dogs. `among` (sorted) restricts to those ids.
    """
    counts = {word: count(catalog, word) for word in wording.wanted}
    there = [word for word in counts if counts[word]]
    many = _many(held(catalog))
    finding = [word for word in there if counts[word] <= many]
    if there and not finding:
        least = min(counts[word] for word in there)
        finding = [word for word in there if counts[word] == least]
    others = tuple(word for word in there if word not in finding)
    matches = ranked(catalog, Wanted(tuple(finding), others, wording.unwanted), modality, among)
    return Matches(matches.ids[:k], matches.scores[:k])


def telling_matches(
    catalog: Catalog, wording: Wording, modality: Modality, among: Ids | None, left_out: Ids
) -> Matches:
    """Return what `text_matches` does, of items that have enough of the question's words alone.

    All of them, best first: those among some ids (None: any) and without others, both sorted.

    A word tells ln(1 + (N - n + 0.5) / (n + 0.5)), n of N items having it. An item needs half of
    what all words tell that any item has: beside the vectors, one that has "man" of "a man on a
    red boat" would be noise. A word that more than 1,000 items and more than half have tells
    nothing. More than 1,000 items, and more than 2 %, are all equal: what so many have in common
    is no order.
    """
    total = held(catalog)
    counts = {word: count(catalog, word) for word in wording.wanted}
    tells = {
        word: math.log1p((total - n + 0.5) / (n + 0.5))
        for word, n in counts.items()
        if n and not n > max(_MANY, total / 2)
    }
    enough = ENOUGH * sum(tells.values()) * (1 - _ROUNDING)
    finding, others = _essential(tells, enough)
    most = sum(counts[word] for word in finding)
    if any(tells[word] < enough for word in finding):
        ids = _enough(catalog, tells, finding, others, enough)
        among = ids[held_by(ids, among)]
        most = len(among)
        finding, others = (*finding, *others), ()  # whatever is among these has enough
    wanted = Wanted(finding, others, wording.unwanted)
    many = _many(total)
    if most > many:
        among = found(catalog, wanted, modality, among)
        among = among[~held_by(among, left_out)]
        if len(among) > many:
            return Matches(among, np.zeros(len(among), dtype=np.float32))
    matches = ranked(catalog, wanted, modality, among)
    keep = ~held_by(matches.ids, left_out)
    return Matches(matches.ids[keep], matches.scores[keep])


def _many(total: int) -> int:
    """Return beyond how many of all items a word is frequent."""
    return max(_MANY, total // _MANY_SHARE)


def _essential(tells: dict[str, float], enough: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of which an item needs at least one, and those that are not enough.

    The latter are the most frequent ones, which together tell too little (Turtle and Flood 1995).
    """
    others: list[str] = []
    told = 0.0
    for word in sorted(tells, key=tells.__getitem__):
        told += tells[word]
        if told >= enough:
            break
        others.append(word)
    return tuple(word for word in tells if word not in others), tuple(others)


def _enough(
    catalog: Catalog,
    tells: dict[str, float],
    finding: Sequence[str],
    others: Sequence[str],
    enough: float,
) -> Ids:
    """Return the sorted ids of the items whose words tell enough."""
    ids_of = {word: having(catalog, word) for word in finding}
    ids = np.sort(np.concatenate(list(ids_of.values())))
    ids = ids[np.append(True, ids[1:] != ids[:-1])[: len(ids)]]
    ids_of |= {word: having(catalog, word) for word in others}
    told = np.zeros(len(ids))
    for word, some in ids_of.items():
        told[held_by(ids, some)] += tells[word]
    chosen: Ids = ids[told >= enough]
    return chosen


def _words(term: TextTerm) -> tuple[str, ...]:
    if not term.phrase:
        return _telling(term.text)
    return (term.text,) if any(map(str.isalnum, term.text)) else ()


def _telling(text: str) -> tuple[str, ...]:
    """Return what `words_of` does, however many these are."""
    every = _each_once(_parts(text))
    return tuple(word for word in every if word.casefold() not in _STOP_WORDS) or every


def _parts(text: str) -> Iterator[str]:
    for phrase, word in _PART.findall(text):
        part: str = phrase or word
        if any(map(str.isalnum, part)):
            yield part.strip(_AROUND)


def _each_once(words: Iterable[str]) -> tuple[str, ...]:
    """Return words without those that differ from an earlier one in case alone, or not at all."""
    spelt: dict[str, str] = {}
    for word in words:
        spelt.setdefault(word.casefold(), word)
    return tuple(spelt.values())


def _are_all(strange: Sequence[str], said: Sequence[str]) -> bool:
    """Say whether every run of letters and digits that tells something is in a strange word."""
    known = {run for word in strange for run in _RUN.findall(word.casefold())}
    runs = {run for word in said for run in _RUN.findall(word.casefold())}
    return runs <= known | _STOP_WORDS
