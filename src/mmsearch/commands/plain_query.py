"""The flags of `mmsearch query`, and reading the usual ones without a parser of command lines.

`parse` answers only where it is sure to mean what typer would: everything else, mistakes
included, is typer's to read.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmsearch.choices import USUAL_NEGATION, Cutoff, Grouping, Mode, Negation, Sort

if TYPE_CHECKING:
    from mmsearch.commands.filters import FilterFlags

_COMPLETION: Final = "_MMSEARCH_COMPLETE"
_MOST_DIGITS: Final = 18  # Python refuses to read thousands of them


class Target(StrEnum):
    """What to look for."""

    IMAGES = "images"
    TEXTS = "texts"
    ANY = "any"


class Thumbnails(StrEnum):
    """How a terminal draws pictures; AUTO finds out, OFF prints lines."""

    AUTO = "auto"
    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was asked for on the command line, as it was written.

    `like`: the ids and paths of `similar`, which has no other question.
    """

    like: tuple[str, ...] = ()
    text: str | None = None
    image: tuple[Path, ...] = ()
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    item: tuple[int, ...] = ()
    own: bool = False
    negation: Negation = USUAL_NEGATION
    target: Target | None = None
    k: int = 10
    mode: Mode | None = None
    min_score: float | None = None
    cutoff: Cutoff = Cutoff.OFF
    explain: bool = False
    as_json: bool = False
    as_csv: bool = False
    paths: bool = False
    null: bool = False
    html: Path | None = None
    online: bool = False
    filters: "FilterFlags | None" = None
    sort: Sort = Sort.SCORE
    reverse: bool = False
    group: Grouping | None = None
    thumbnails: Thumbnails = Thumbnails.AUTO
    library: Path | None = None
    model: str | None = None


class _NotPlainError(Exception):
    """The words need a real parser."""


def _whole_number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS):
        raise _NotPlainError
    return int(word)


def _decimal(word: str) -> float:
    digits = word.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise _NotPlainError
    return float(word)


def _aspect(word: str) -> StrEnum:
    from mmsearch.commands.filters import Aspect

    return _one_of(Aspect)(word)


def _one_of(choices: type[StrEnum]) -> Callable[[str], StrEnum]:
    """Return what reads a word that must be one of the choices."""

    def read(word: str) -> StrEnum:
        try:
            return choices(word)
        except ValueError as error:
            raise _NotPlainError from error

    return read


SWITCHES: Final[Mapping[str, str]] = {
    "--json": "as_json",
    "--csv": "as_csv",
    "--paths": "paths",
    "--null": "null",
    "-0": "null",
    "--online": "online",
    "--own": "own",
    "--explain": "explain",
    "--reverse": "reverse",
}
VALUES: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "--image": ("image", Path),
    "--plus": ("plus", str),
    "--minus": ("minus", str),
    "--item": ("item", _whole_number),
    "--negation": ("negation", _one_of(Negation)),
    "--for": ("target", _one_of(Target)),
    "--top": ("k", _whole_number),
    "-k": ("k", _whole_number),
    "--mode": ("mode", _one_of(Mode)),
    "--min-score": ("min_score", _decimal),
    "--cutoff": ("cutoff", _one_of(Cutoff)),
    "--html": ("html", Path),
    "--sort": ("sort", _one_of(Sort)),
    "--group": ("group", _one_of(Grouping)),
    "--thumbnails": ("thumbnails", _one_of(Thumbnails)),
    "--library": ("library", Path),
    "--model": ("model", str),
    "--under": ("under", Path),
    "--after": ("after", str),
    "--before": ("before", str),
    "--camera": ("camera", str),
    "--near": ("near", str),
    "--label": ("label", str),
    "--size": ("size", str),
    "--aspect": ("aspect", _aspect),
    "--where": ("where", str),
}
_MANY: Final = frozenset({"image", "plus", "minus", "item", "under", "label", "where"})
_FILTERS: Final = frozenset(
    {"under", "after", "before", "camera", "near", "label", "size", "aspect", "where"}
)


def parse(words: Sequence[str]) -> Flags | None:
    """Return the flags that the words after `query` set; None when typer has to read them.

    That is so for whatever is not a flag known here with a plain value, or the one text.
    """
    if _COMPLETION in os.environ:
        return None
    try:
        return Flags(**_read(iter(words)))
    except _NotPlainError:
        return None


def _read(words: Iterator[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        if word in SWITCHES:
            found[SWITCHES[word]] = True
        elif word in VALUES:
            _set(found, word, next(words, ""))
        elif (word.startswith("-") and word != "-") or "text" in found:
            raise _NotPlainError
        else:
            found["text"] = word
    filters = {name: found.pop(name) for name in _FILTERS & found.keys()}
    if filters:
        from mmsearch.commands.filters import FilterFlags

        found["filters"] = FilterFlags(**filters)
    return found


def _set(found: dict[str, Any], flag: str, value: str) -> None:
    if not value or value.startswith("-"):
        raise _NotPlainError
    name, convert = VALUES[flag]
    if name in _MANY:
        found[name] = (*found.get(name, ()), convert(value))
    else:
        found[name] = convert(value)
