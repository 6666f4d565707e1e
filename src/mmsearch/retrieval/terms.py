r"""How a question is written: terms with weights, in one line or one by one.

A term is `[WEIGHT:]CONTENT`.

- WEIGHT is a number, a sign, or both: `2:dog`, `-0.5:people`, `+:beach`, `-:people`. A sign
  alone stands for a weight of 1 or of -0.5. It is a weight only when a letter, a quotation mark
  or a sign beyond ASCII follows the colon, so that `16:9`, `3:10 to Yuma`, `3: a dog` and `-:)`
  are text.
- CONTENT is `image:PATH`, `item:ID`, `"quoted text"`, or plain text. What is quoted is text and
  nothing else, and a phrase where words are searched; `\"` and `\\` stand for a quotation mark
  and a backslash in it.

A line begins with a term; further ones begin at white space that is followed by a weight with a
sign: `dog on grass +0.5:beach -:people`. Everything else is one text of weight 1.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.core import MOST_WEIGHT, ItemTerm, TextTerm
from mmsearch.errors import QueryError
from mmsearch.retrieval.query import text_of_query

PUSH: Final = 0.5
"""How much a negative term without a number weighs: the best of those that were measured."""

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_COLON = r":(?=\"|[A-Za-z]|(?![\s\d])[^\x00-\x7f])"
_NEXT = rf"[+-]{_NUMBER}?{_COLON}"
_WEIGHT: Final = re.compile(rf"([+-]?{_NUMBER}|[+-]){_COLON}")
_LATER: Final = re.compile(rf"\s+(?={_NEXT})")
_QUOTED: Final = re.compile(rf'"((?:[^"\\]|\\.)*)"(?=\s*\Z|\s+{_NEXT})', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\([\"\\])")
_KIND: Final = re.compile(r"(image|item):(?=\S)")
_MOST_DIGITS: Final = 18  # of an id: SQLite's have no more than 19


@dataclass(frozen=True, slots=True)
class FileTerm:
    """A picture's file to look for, which is not read yet."""

    path: Path
    weight: float = 1.0


WrittenTerm: TypeAlias = TextTerm | ItemTerm | FileTerm


def parse_line(text: str) -> tuple[WrittenTerm, ...]:
    """Read a whole question: its terms in their order.

    Raises InputError when it is empty, QueryError for a weight that is out of range, a term
    without content and an `item:` that is no id.
    """
    line = text_of_query(text)
    terms: list[WrittenTerm] = []
    place = 0
    while place < len(line):
        later = _LATER.search(line, _after_quotation(line, place))
        end = len(line) if later is None else later.start()
        terms.append(_term(line[place:end]))
        place = len(line) if later is None else later.end()
    return tuple(terms)


def parse_plus(text: str) -> WrittenTerm:
    """Read a single term to look for: all of the text is its weight and its content.

    Raises what `parse_line` raises, and QueryError for a weight below 0.
    """
    term = _term(text_of_query(text))
    if term.weight < 0:
        raise QueryError(f"--plus takes a weight above 0; give what {text!r} means to --minus")
    return term


def parse_minus(text: str) -> WrittenTerm:
    """Read a single term to push away, whose weight is written without a sign.

    Raises what `parse_line` raises, and QueryError for a weight with a sign.
    """
    written = text_of_query(text)
    found = _WEIGHT.match(written)
    if found is not None and found[1][0] in "+-":
        raise QueryError(
            f"--minus takes a weight without a sign, such as 0.25:people, not {text!r}"
        )
    term = _term(written)
    return replace(term, weight=-PUSH if found is None else -term.weight)


def show(term: WrittenTerm, *, later: bool = False) -> str:
    """Write a term down again, so that it is read as the same one.

    `later`: as one that stands after another in a line, whose weight has to have a sign.
    """
    usual = -PUSH if term.weight < 0 else 1.0
    number = "" if term.weight == usual else f"{abs(term.weight):.15g}"
    sign = "-" if term.weight < 0 else "+" if later else ""
    head = f"{sign}{number}:" if sign or number else ""
    match term:
        case ItemTerm():
            return f"{head}item:{term.id}"
        case FileTerm():
            return _plain_or_quoted(f"{head}image:", str(term.path), term)
        case TextTerm(phrase=True):
            return f'{head}"{_escaped(term.text)}"'
        case TextTerm():
            return _plain_or_quoted(head, term.text, term)


def show_line(terms: tuple[WrittenTerm, ...]) -> str:
    """Write a question's terms down as one line, so that it is read as the same ones."""
    return " ".join(show(term, later=place > 0) for place, term in enumerate(terms))


def _after_quotation(line: str, place: int) -> int:
    """Return where the term that begins at a place may end: not within its quotation."""
    start = _content_start(line, place)
    quoted = _QUOTED.match(line, start)
    return start if quoted is None else quoted.end()


def _content_start(line: str, place: int) -> int:
    for head in (_WEIGHT, _KIND):
        found = head.match(line, place)
        place = place if found is None else found.end()
    return place


def _term(text: str) -> WrittenTerm:
    found = _WEIGHT.match(text)
    weight = 1.0 if found is None else _weight(found[1], text)
    content = text if found is None else text[found.end() :]
    kind = _KIND.match(content)
    if kind is None:
        phrase = _QUOTED.fullmatch(content) is not None
        return TextTerm(_unquoted(content, text).strip(), weight, phrase)
    content = content[kind.end() :]
    if kind[1] == "item":
        return ItemTerm(_id(content, text), weight)
    return FileTerm(Path(_unquoted(content, text)), weight)


def _weight(written: str, term: str) -> float:
    weight = {"+": 1.0, "-": -PUSH}.get(written) or float(written)
    if weight == 0 or abs(weight) > MOST_WEIGHT:
        raise QueryError(
            f"the weight {written} of {term!r} is out of range: a weight is not 0 and at most "
            f'{MOST_WEIGHT:g}; a text that begins like that is given in quotes: "{_escaped(term)}"'
        )
    return weight


def _id(content: str, term: str) -> int:
    if content.isascii() and content.isdigit() and len(content) <= _MOST_DIGITS:
        return int(content)
    raise QueryError(
        f"{term!r} names no item; an item is a number that `mmsearch query --json` shows, "
        f'such as item:12; a text that begins like that is given in quotes: "{_escaped(term)}"'
    )


def _unquoted(content: str, term: str) -> str:
    quoted = _QUOTED.fullmatch(content)
    text = content if quoted is None else _ESCAPE.sub(r"\1", quoted[1])
    if not text.strip():
        raise QueryError(f"the term {term!r} is empty; put something between the quotes")
    return text


def _plain_or_quoted(head: str, content: str, term: WrittenTerm) -> str:
    """Return a term in quotes unless it is read as the same one without them."""
    plain = head + content
    same = parse_line(f". {plain}")[1:] if head[:1] in {"+", "-"} else parse_line(plain)
    return plain if same == (term,) and content[:1] != '"' else f'{head}"{_escaped(content)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
