"""The words, numbers, dates, texts and symbols of a condition, each with its place."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mmsearch.errors import QueryError
from mmsearch.index.where.columns import LONGEST_TEXT

_SHOWN: Final = 30  # characters of what stands before a mistake
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<date>[0-9]+-[0-9][0-9A-Za-z:.-]*)
      | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<symbol><>|!=|<=|>=|==|[=<>(),])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class Kind(StrEnum):
    """What a token is."""

    TEXT = "text"
    DATE = "date"
    NUMBER = "number"
    WORD = "word"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, as it was written, and where it begins and ends: `[start, end)`."""

    kind: Kind
    text: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        """Return whether this is one of some words or symbols, in upper case."""
        return self.kind in {Kind.WORD, Kind.SYMBOL} and self.text.upper() in words


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text; the last is its END.

    Raises QueryError for an open quote, a character that means nothing, a text that is too long.
    """
    if len(text) > LONGEST_TEXT:
        raise QueryError(
            f"a condition of {len(text):,} characters; at most {LONGEST_TEXT:,} can be"
        )
    found: list[Token] = []
    place = 0
    while not found or found[-1].kind is not Kind.END:
        match = _TOKEN.match(text, place)
        if match is None:
            raise _unreadable(text, place)
        kind = Kind(match.lastgroup or "")
        place = match.end()
        found.append(Token(kind, match[kind.value], match.start(kind.value), place))
    return found


def _unreadable(text: str, place: int) -> QueryError:
    start = place + len(text[place:]) - len(text[place:].lstrip())
    character = text[start]
    if character in "'\"":
        return QueryError(f"the quote that opens at character {start + 1} is not closed")
    return QueryError(f'"{character}" at character {start + 1} means nothing here')


def is_date(text: str) -> bool:
    """Return whether a date can stand without quotes."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return False
    return found.lastgroup == "date" or (found.lastgroup == "number" and text.isdigit())


def before(text: str, found: list[Token], place: int) -> str:
    """Return what stands before a token, as ` after "width >="`; nothing at the very beginning."""
    if place == 0:
        return ""
    first = max(0, place - 3)
    shown = text[found[first].start : found[place - 1].end]
    return f' after "{shown[-_SHOWN:]}"'
