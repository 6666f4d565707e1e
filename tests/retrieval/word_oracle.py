"""The ranking by words a second time: plain Python over the rows of a catalog, without FTS5.

Tokens as SQLite documents `unicode61 remove_diacritics 2`, BM25 as its manual of FTS5 defines it,
what finds and what only ranks as docs/search.md says.
"""

import math
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from tests.index.where.oracle import Row, characters

WEIGHTS = {"label": 4, "caption": 3, "text": 3, "name": 2, "folder": 1}
MOST = 64  # words of one question
STOP_WORDS = frozenset({"a", "the", "on", "of", "and", "it"})  # of the words that the test draws

Columns: TypeAlias = Mapping[str, Sequence[str]]
"""The tokens of an item by column."""


@cache
def tokens(text: bytes) -> tuple[str, ...]:
    """Return the runs of letters, digits and signs of private use, without case and accents."""
    found, inside = [""], False
    for code in characters(text):
        category = unicodedata.category(chr(code)) if code < 0x110000 else "Cn"
        if category[0] in "LN" or category == "Co":
            found[-1] += unicodedata.normalize("NFD", chr(code).lower())[0]
            inside = True
        elif not (inside and category == "Mn"):
            found.append("")
            inside = False
    return tuple(filter(None, found))


def columns_of(row: Row, root: bytes | None) -> Columns:
    """Return the tokens of an item; `root` is the folder, or the file, it was indexed from."""
    found: dict[str, tuple[str, ...]] = {
        "label": tokens("\n".join(sorted(row.labels)).encode()),
        "caption": tokens("\n".join(row.captions).encode()),
    }
    if row.text is not None:
        found["text"] = tokens(row.text.encode())
    if row.path is not None:
        above, _, name = row.path.rpartition(b"/")
        base = above if root is None or root == row.path else root
        below = above[len(base.rpartition(b"/")[0]) :]
        found |= {"name": tokens(name), "folder": tokens(below)}
    return found


def times(word: Sequence[str], column: Sequence[str]) -> int:
    """Return how often some tokens stand in a row in a column."""
    starts = range(len(column) - len(word) + 1)
    return sum(list(column[n : n + len(word)]) == list(word) for n in starts) if word else 0


@dataclass(frozen=True)
class Looked:
    """What a question looks for: words or phrases, and groups of which no answer has all."""

    wanted: tuple[str, ...]
    unwanted: tuple[tuple[str, ...], ...] = ()


class Book:
    """The words of every item of a library. `many`: so many items are not frequent yet."""

    def __init__(self, items: Mapping[int, Columns], many: int) -> None:
        self._items = items
        self._lengths = {number: sum(map(len, each.values())) for number, each in items.items()}
        self._mean = sum(self._lengths.values()) / len(items)
        self._many = max(many, len(items) / 50)
        self._half = max(many, len(items) / 2)
        self._weighed = cache(self._weigh)

    def by_words(self, looked: Looked, allowed: Collection[int]) -> dict[int, np.float32]:
        """Return the BM25 of what the mode text finds among what may answer."""
        there = [word for word in looked.wanted if self._weighed(word)]
        few = min((len(self._weighed(word)) for word in there), default=0)
        # a frequent word does not find while there is a rarer one
        finding = [
            word
            for word in there
            if len(self._weighed(word)) <= self._many or len(self._weighed(word)) == few
        ]
        found = {number for word in finding for number in self._weighed(word)}
        return self._scored(self._left(found, looked, allowed), there)

    def beside_vectors(self, looked: Looked, allowed: Collection[int]) -> dict[int, np.float32]:
        """Return the BM25 of what has half of what the words tell; all 0 where that is much."""
        tells = {
            word: self._tells(word)
            for word in looked.wanted
            if 0 < len(self._weighed(word)) <= self._half
        }
        enough = sum(tells.values()) / 2 - 1e-9
        found = {
            number
            for number in self._items
            if tells and sum(tells[w] for w in tells if number in self._weighed(w)) >= enough
        }
        left = self._left(found, looked, allowed)
        if len(left) > self._many:
            return dict.fromkeys(left, np.float32(0))
        return self._scored(left, list(tells))

    def _tells(self, word: str) -> float:
        n = len(self._weighed(word))
        return math.log(1 + (len(self._items) - n + 0.5) / (n + 0.5))

    def _left(self, found: set[int], looked: Looked, allowed: Collection[int]) -> set[int]:
        for group in looked.unwanted:
            found = {n for n in found if not all(n in self._weighed(word) for word in group)}
        return found & set(allowed)

    def _scored(self, ids: set[int], words: Sequence[str]) -> dict[int, np.float32]:
        return {n: np.float32(sum(self._bm25(word, n) for word in words)) for n in ids}

    def _bm25(self, word: str, number: int) -> float:
        having = len(self._weighed(word))
        idf = max(1e-6, math.log((len(self._items) - having + 0.5) / (having + 0.5)))
        often = self._weighed(word).get(number, 0)
        length = 0.25 + 0.75 * self._lengths[number] / self._mean
        return idf * often * 2.2 / (often + 1.2 * length)

    def _weigh(self, word: str) -> dict[int, int]:
        """Return by item how often it has a word, times the weights of the columns."""
        wanted = tokens(word.encode())
        counts = {
            number: sum(WEIGHTS[name] * times(wanted, column) for name, column in each.items())
            for number, each in self._items.items()
        }
        return {number: count for number, count in counts.items() if count}


def telling(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of one sentence that are looked for, however many."""
    spelt = _spelt(iter(words))
    return tuple([w for w in spelt if w.casefold() not in STOP_WORDS] or spelt)


def looked_for(wanted: Sequence[Sequence[str]], unwanted: Sequence[Sequence[str]]) -> Looked:
    """Return what is looked for by the words of the positive and of the negative sentences."""
    every = _spelt(word for words in wanted for word in telling(words))
    groups = (telling(words)[:MOST] for words in unwanted)
    return Looked(tuple(every)[:MOST], tuple(filter(None, groups)))


def _spelt(words: Iterator[str]) -> list[str]:
    """Return words as they were spelt first, each once."""
    spelt: dict[str, str] = {}
    for word in words:
        spelt.setdefault(word.casefold(), word)
    return list(spelt.values())
