"""What else was asked, beside the text and its pictures: lines for a page of answers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmsearch.choices import USUAL_NEGATION, Cutoff
from mmsearch.commands.plain_query import Flags

if TYPE_CHECKING:
    from mmsearch.conditions import Condition


def notes(flags: Flags, condition: "Condition | None") -> tuple[str, ...]:
    """Return a line for each flag that shaped the answers, as it can be written."""
    return tuple(_notes(flags, condition))


def title(flags: Flags, text: str | None) -> str | None:
    """Return what a page is headed with; None for pictures, which are shown themselves."""
    if text is not None or flags.image:
        return text
    items = [f"item {number}" for number in flags.item]
    return ", ".join([*flags.plus, *items, *flags.like, *(f"not {term}" for term in flags.minus)])


def _notes(flags: Flags, condition: "Condition | None") -> Iterator[str]:
    yield from (f"like {name}" for name in flags.like)
    yield from (f"--plus {term}" for term in flags.plus)
    yield from (f"--minus {term}" for term in flags.minus)
    yield from (f"--item {number}" for number in flags.item)
    if flags.negation is not USUAL_NEGATION:
        yield f"--negation {flags.negation}"
    if condition is not None:
        from mmsearch.index.where.show import show

        yield f"--where {show(condition)}"
    if flags.online:
        yield "--online"
    if flags.mode is not None:
        yield f"--mode {flags.mode}"
    if flags.min_score is not None:
        yield f"--min-score {flags.min_score:g}"
    if flags.cutoff is not Cutoff.OFF:
        yield f"--cutoff {flags.cutoff}"
