"""The order in which answers are shown, and groups of them. Which ones is the search's matter."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from mmsearch.choices import Grouping as Grouping  # noqa: PLC0414 - part of this module, too
from mmsearch.choices import Sort as Sort  # noqa: PLC0414 - part of this module, too

if TYPE_CHECKING:
    from datetime import datetime

    from mmsearch.core import Hit

_DIGITS: Final = re.compile(r"([0-9]+)")
_NameKey: TypeAlias = list[tuple[int, int, str]]
Dates: TypeAlias = "Mapping[int, datetime | None]"
"""When items were taken or written, by id; a missing one has no date."""


@dataclass(frozen=True, slots=True)
class Group:
    """Answers that belong together, in their order."""

    name: str
    hits: "tuple[Hit, ...]"


def ordered(hits: "Sequence[Hit]", by: Sort, dates: Dates, *, reverse: bool = False) -> "list[Hit]":
    """Return the hits in an order; equal ones stay as they are, those without a date come last.

    Names are compared without case, numbers in them by value: img2 comes before img10.
    """
    match by:
        case Sort.SCORE:
            return list(hits)[::-1] if reverse else list(hits)
        case Sort.NAME:
            return sorted(hits, key=_name_key, reverse=reverse)
        case Sort.DATE:
            pairs = [(dates.get(hit.item.id), hit) for hit in hits]
            dated = [(date, hit) for date, hit in pairs if date is not None]
            dated.sort(key=itemgetter(0), reverse=not reverse)
            return [hit for _, hit in dated] + [hit for date, hit in pairs if date is None]


def grouped(hits: "Sequence[Hit]", by: Grouping, dates: Dates) -> list[Group]:
    """Return the hits in groups, in the order of each group's first hit."""
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(_group_name(hit, by, dates), []).append(hit)
    return [Group(name, tuple(members)) for name, members in groups.items()]


def _group_name(hit: "Hit", by: Grouping, dates: Dates) -> str:
    if by is Grouping.DAY:
        date = dates.get(hit.item.id)
        return "no date" if date is None else date.strftime("%Y-%m-%d")
    if hit.item.path is None:
        return hit.item.root or "sentences"
    return os.path.dirname(hit.item.path)  # noqa: PTH120 - a string


def _name_key(hit: "Hit") -> tuple[_NameKey, str]:
    whole = hit.item.path if hit.item.path is not None else hit.item.text or ""
    name = os.path.basename(whole) if hit.item.path is not None else whole  # noqa: PTH119
    return _natural(name), whole


def _natural(name: str) -> _NameKey:
    """Return a key that compares runs of digits by value."""
    parts = _DIGITS.split(name.casefold())
    return [
        (1, int(part), "") if place % 2 and len(part) <= 18 else (2, 0, part)
        for place, part in enumerate(parts)
    ]
