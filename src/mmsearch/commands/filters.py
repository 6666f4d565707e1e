"""The flags that narrow a search, and the condition that they mean together.

Only the flags are loaded with a command; what reads them waits until one was given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mmsearch.conditions import Condition

T = TypeVar("T")


class Aspect(StrEnum):
    """The shape of a picture: wider than high, higher than wide, neither, or 2 : 1 and beyond."""

    LANDSCAPE = "landscape"
    PORTRAIT = "portrait"
    SQUARE = "square"
    PANORAMA = "panorama"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterFlags:
    """What was asked for, as it was written; all of it has to hold.

    `under`: at or under one of these paths. `after`, `before`: from this date on, and until
    just before this one. `camera`: a part of its name. `near`: latitude, longitude, distance.
    `label`: each of them. `size`: a range of megapixels or of bytes. `where`: conditions.
    """

    under: tuple[Path, ...] = ()
    after: str | None = None
    before: str | None = None
    camera: str | None = None
    near: str | None = None
    label: tuple[str, ...] = ()
    size: str | None = None
    aspect: Aspect | None = None
    where: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether any flag was given."""
        return any(getattr(self, flag.name) not in (None, ()) for flag in fields(self))


def condition(flags: FilterFlags) -> "Condition | None":
    """Return the condition that all flags make together, None without any.

    Raises QueryError that names the flag.
    """
    if not flags:
        return None
    from mmsearch.conditions import AllOf

    parts = [
        *_under(flags.under),
        *_each("--after", _present(flags.after), _from),
        *_each("--before", _present(flags.before), _until),
        *_each("--camera", _present(flags.camera), _camera),
        *_each("--near", _present(flags.near), _near),
        *_each("--label", flags.label, _label),
        *_each("--size", _present(flags.size), _size),
        *([] if flags.aspect is None else [_aspect(flags.aspect)]),
        *_each("--where", flags.where, _where),
    ]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _present(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _each(
    flag: str, values: Sequence[str], read: "Callable[[str], Condition]"
) -> "list[Condition]":
    """Return what each value of a flag means; an error names the flag."""
    from mmsearch.errors import QueryError

    try:
        return [read(value) for value in values]
    except QueryError as error:
        raise QueryError(f"{flag}: {error}") from error


def _under(paths: Sequence[Path]) -> "list[Condition]":
    """Return what lies at or under any of some paths, which are made real as `index` does."""
    if not paths:
        return []
    import os

    from mmsearch.conditions import AnyOf, Under
    from mmsearch.retrieval.paths import absolute

    places = [Under(os.fsdecode(absolute(path))) for path in paths]
    return [places[0] if len(places) == 1 else AnyOf(tuple(places))]


def _from(text: str) -> "Condition":
    from mmsearch.conditions import Compare, Operator
    from mmsearch.index.where.grammar import parse_date

    return Compare("date", Operator.AT_LEAST, parse_date(text))


def _until(text: str) -> "Condition":
    from mmsearch.conditions import Compare, Operator
    from mmsearch.index.where.grammar import parse_date

    return Compare("date", Operator.BELOW, parse_date(text))


def _camera(text: str) -> "Condition":
    from mmsearch.conditions import Compare, Operator
    from mmsearch.errors import QueryError
    from mmsearch.index.where.columns import check_text

    check_text(text)
    if not text.strip():
        raise QueryError("a part of the camera's name is needed, such as canon")
    return Compare("camera", Operator.LIKE, f"%{text.strip()}%")


def _label(text: str) -> "Condition":
    """Return that a label is given, written as labels are kept: see `labelling.clean_label`."""
    import unicodedata

    from mmsearch.conditions import Compare, Operator
    from mmsearch.errors import QueryError
    from mmsearch.index.where.columns import check_text

    check_text(text)
    label = unicodedata.normalize("NFC", " ".join(text.split()))
    if not label:
        raise QueryError("a label's name is needed, such as holiday")
    return Compare("label", Operator.EQUAL, label)


def _near(text: str) -> "Condition":
    from mmsearch.errors import QueryError
    from mmsearch.index.where.grammar import parse_condition

    words = text.split(",")
    if len(words) != 3 or "(" in text:
        raise QueryError(f"{text[:80]!r} is not LATITUDE,LONGITUDE,DISTANCE, such as 48.2,16.4,5km")
    try:
        return parse_condition(f"near({text})")
    except QueryError as error:
        raise QueryError(
            f"{text[:80]!r} is not LATITUDE,LONGITUDE,DISTANCE, such as 48.2,16.4,5km ({error})"
        ) from error


def _size(text: str) -> "Condition":
    from mmsearch.index.where.ranges import parse_size

    return parse_size(text)


def _aspect(aspect: Aspect) -> "Condition":
    from mmsearch.conditions import AnyOf, Compare, Operator

    match aspect:
        case Aspect.LANDSCAPE:
            return Compare("aspect", Operator.ABOVE, 1)
        case Aspect.PORTRAIT:
            return Compare("aspect", Operator.BELOW, 1)
        case Aspect.SQUARE:
            return Compare("aspect", Operator.EQUAL, 1)
        case Aspect.PANORAMA:
            wide = Compare("aspect", Operator.AT_LEAST, 2)
            return AnyOf((wide, Compare("aspect", Operator.AT_MOST, 0.5)))


def _where(text: str) -> "Condition":
    from mmsearch.index.where.grammar import parse_condition

    return parse_condition(text)
