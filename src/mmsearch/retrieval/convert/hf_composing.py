"""Sentencepiece's normalisation, nmt_nfkc, of letters that are written as several characters.

`Precompiled` of `tokenizers` looks up a letter with its marks as a whole or not at all, and where
it finds their beginning forgets the rest: Hangul and kana in parts, Vietnamese and Greek with two
marks would lose what they mean. Sentencepiece looks up the longest sequence of characters that it
knows, which are the canonical decompositions. NFKC beforehand composes them as well, if it is kept
from what sentencepiece does not do: putting marks into another order and going on with a letter
that is partly composed.
"""

import unicodedata
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from tokenizers import Regex, normalizers

_BARRIER: Final = "\uffff"
_TILDE: Final = ("\uff5e", "\ufffe")
"""The full-width tilde, which nmt_nfkc leaves alone, and what stands for it meanwhile."""
_PLANE: Final = range(0x80, 0x10000)


def composing(table: bytes) -> list[normalizers.Normalizer]:
    """Return the steps that do what sentencepiece does with its table of nmt_nfkc or nfkc.

    They differ where a mark could be composed with its letter past another that cannot.
    """
    tilde, meanwhile = _TILDE
    return [
        normalizers.Replace(Regex(_apart()), _BARRIER),
        normalizers.Replace(tilde, meanwhile),
        normalizers.NFKC(),
        normalizers.Replace(meanwhile, tilde),
        normalizers.Precompiled(table),
        normalizers.Replace(_BARRIER, ""),
    ]


def _apart() -> str:
    """Return a pattern of the places where NFKC would compose or exchange what must stay."""
    characters = [chr(code) for code in _PLANE]
    composed = [c for c in characters if unicodedata.decomposition(c)[:1] not in ("", "<")]
    by_class = sorted((unicodedata.combining(c), c) for c in characters)
    marks = {
        number: [c for _, c in group]
        for number, group in groupby(by_class, key=lambda pair: pair[0])
        if number
    }
    exchanged = [
        f"(?={_any_of(marks[number])})"
        f"(?<={_any_of(c for later in marks if later > number for c in marks[later])})"
        for number in list(marks)[:-1]
    ]
    places = [f"(?<={_any_of(composed)})", *exchanged, "(?=\u0344)"]
    return rf"(?=\p{{M}})(?:{'|'.join(places)})|" + "(?<=[\uac00-\ud7a3])(?=[\u11a8-\u11c2])"


def _any_of(characters: Iterable[str]) -> str:
    """Return a class of characters, neighbours as ranges."""
    numbered = enumerate(sorted(map(ord, characters)))
    runs = [[code for _, code in run] for _, run in groupby(numbered, lambda p: p[1] - p[0])]
    return "[" + "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs) + "]"
