"""What is done to a sentence before the tokenizer sees it."""

import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mmsearch.retrieval.description import Cleaning

_SPACES: Final = re.compile(r"\s+")
_NO_PUNCTUATION: Final = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def clean_text(text: str, steps: Sequence[Cleaning]) -> str:
    """Return the sentence as the tokenizer is to see it: each step in turn, valid Unicode.

    What is left of lone surrogates becomes question marks, last, because FTFY joins pairs.
    """
    clean = text
    for step in steps:
        clean = _STEPS[step](clean)
    return clean.encode("utf-8", "replace").decode("utf-8")


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _mend(text: str) -> str:
    if text.isascii() and text.isprintable() and "&" not in text:
        return text  # nothing to mend; the package takes long to load
    import ftfy

    return ftfy.fix_text(text)


def _without_entities(text: str) -> str:
    if "&" not in text:
        return text
    import html

    return html.unescape(html.unescape(text))


def _without_punctuation(text: str) -> str:
    return text.translate(_NO_PUNCTUATION)


def _single_spaces(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


_STEPS: Final[Mapping[Cleaning, Callable[[str], str]]] = {
    Cleaning.NFC: _compose,
    Cleaning.FTFY: _mend,
    Cleaning.HTML: _without_entities,
    Cleaning.PUNCTUATION: _without_punctuation,
    Cleaning.LOWER: str.lower,
    Cleaning.WHITESPACE: _single_spaces,
}
