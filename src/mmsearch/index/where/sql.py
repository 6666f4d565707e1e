"""A condition as SQL with bound values: nothing of what a user wrote is ever part of the SQL.

SQL knows three truth values, conditions two. Under AND and OR an unknown value does what a false
one does, so it is enough to ask `IS NOT TRUE` where something is negated.
"""

import os
from dataclasses import dataclass
from typing import Final

from mmsearch.conditions import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Known,
    Near,
    Not,
    OneOf,
    Operator,
    Under,
    Value,
)
from mmsearch.index import selection
from mmsearch.index.where import dates, functions
from mmsearch.index.where.bounds import check_extent, check_path, check_place, check_values
from mmsearch.index.where.columns import (
    Column,
    Kind,
    Source,
    check,
    column_named,
)

_FEW: Final = 16  # texts that are cheaper to look for at the end of a path one by one
_TEXT: Final = "CAST(? AS TEXT)"
_BOUNDS: Final = {  # (comparison with a bound, whether that is the end of the date)
    Operator.EQUAL: ((">=", False), ("<", True)),
    Operator.UNEQUAL: (("<", False), (">=", True)),
    Operator.BELOW: (("<", False),),
    Operator.AT_MOST: (("<", True),),
    Operator.ABOVE: ((">=", True),),
    Operator.AT_LEAST: ((">=", False),),
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL that is true of the rows for which a condition holds, and the values of its marks.

    `photos`: the rows are of `items LEFT JOIN photos ON photos.item_id = items.id`, else of
    `items` alone. `functions`: the SQL calls what `functions.define` defines.
    """

    sql: str
    values: tuple[object, ...]
    photos: bool
    functions: bool


def compiled(condition: Condition) -> Compiled:
    """Return a condition as SQL.

    Raises QueryError for an unknown column, a value of the wrong kind, and what is too deep,
    too long or has too many terms.
    """
    compiler = _Compiler()
    sql = compiler.condition(condition, 0)
    return Compiled(sql, tuple(compiler.values), compiler.photos, functions="mmsearch_" in sql)


class _Compiler:
    """Collects the values in the order of their marks."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self.photos = False
        self._terms = 0

    def condition(self, condition: Condition, depth: int) -> str:
        """Return the SQL of a condition, in parentheses where it needs them."""
        self._count(depth)
        match condition:
            case AllOf(parts):
                return self._joined(parts, "AND", depth)
            case AnyOf(parts):
                return self._joined(parts, "OR", depth)
            case Not(inner):
                return f"({self.condition(inner, depth + 1)} IS NOT TRUE)"
            case _:
                return self._term(condition)

    def _term(self, term: Compare | OneOf | Known | Under | Near) -> str:
        match term:
            case Compare(name, operator, value):
                return self._compare(self._column(name), operator, value)
            case OneOf(name, values):
                return self._one_of(self._column(name), values)
            case Known(name):
                return self._known(self._column(name))
            case Under(path):
                return self._under(path)
            case Near():
                return self._near(term)

    def _count(self, depth: int, terms: int = 1) -> None:
        self._terms += terms
        check_extent(depth, self._terms)

    def _column(self, name: str) -> Column:
        column = column_named(name)
        self.photos = self.photos or column.source is Source.PHOTO
        return column

    def _bind(self, *values: object) -> None:
        self.values += values
        check_values(len(self.values))

    def _joined(self, parts: tuple[Condition, ...], word: str, depth: int) -> str:
        if not parts:
            return "1" if word == "AND" else "0"
        return "(" + f" {word} ".join(self.condition(part, depth + 1) for part in parts) + ")"

    # Comparisons

    def _compare(self, column: Column, operator: Operator, value: Value) -> str:
        check(column, operator, value)
        if column.kind is Kind.DATE:
            return self._date(column, operator, str(value))
        if column.kind is Kind.NUMBER:
            self._bind(_number(value))
            return f"({column.sql} {operator} ?)"
        if operator is Operator.LIKE:
            return self._like(column, _raw(column, str(value), pattern=True))
        raw = _raw(column, str(value))
        if column.raw and operator is Operator.EQUAL:
            return self._part_equals(column, raw)
        self._bind(raw)
        return _within(column, f"{_text(column)} COLLATE NOCASE {operator} {_TEXT}")

    def _date(self, column: Column, operator: Operator, value: str) -> str:
        span = dates.span(value)
        bounds = [span[end] for _, end in _BOUNDS[operator]]
        instants = list(map(dates.instant_ns, bounds))
        match column.name:
            case "taken":
                return self._ranged(column.sql, operator, bounds)
            case "modified":
                return self._ranged(column.sql, operator, instants)
            case _:
                return (
                    "(CASE WHEN photos.taken IS NOT NULL "
                    f"THEN {self._ranged('photos.taken', operator, bounds)} "
                    "WHEN items.path IS NOT NULL "
                    f"THEN {self._ranged('items.mtime_ns', operator, instants)} END)"
                )

    def _ranged(self, sql: str, operator: Operator, bounds: list[int]) -> str:
        self._bind(*bounds)
        word = " OR " if operator is Operator.UNEQUAL else " AND "
        tests = [f"{sql} {comparison} ?" for comparison, _ in _BOUNDS[operator]]
        return f"({word.join(tests)})"

    def _part_equals(self, column: Column, raw: bytes) -> str:
        """Return whether a part of a path equals a text, without calling a function a row."""
        match column.name:
            case "path":
                self._bind(raw)
                return f"({_text(column)} = {_TEXT} COLLATE NOCASE)"
            case "folder":
                if not raw:
                    return "0"
                start = raw.rstrip(b"/") + b"/"
                self._bind(len(start), start, len(start) + 1)
                return (
                    f"(CAST(substr(items.path, 1, ?) AS TEXT) = {_TEXT} COLLATE NOCASE "
                    "AND instr(substr(items.path, ?), X'2F') = 0)"
                )
            case "name":
                return self._ends(b"/" + raw)
            case _:
                return self._has_extension(raw)

    def _has_extension(self, raw: bytes) -> str:
        if b"." in raw:
            return "0"
        end = self._ends(b"." + raw)
        self._bind(-len(raw) - 2)
        return f"({end} AND substr(items.path, ?, 1) <> X'2F')"

    def _ends(self, raw: bytes) -> str:
        if len(raw) == 1 or b"/" in raw[1:]:
            return "0"  # no part of a path is empty or has a slash
        self._bind(-len(raw), raw)
        return f"(CAST(substr(items.path, ?) AS TEXT) = {_TEXT} COLLATE NOCASE)"

    def _like(self, column: Column, raw: bytes) -> str:
        """Return whether a text is like a pattern; where it is a part of a path, the path first."""
        match column.name:
            case "name":
                around = b"%/" + raw
            case "folder":
                around = raw + b"%"
            case "extension":
                around = b"%." + raw
            case _:
                self._bind(raw)
                return _within(column, f"{_text(column)} LIKE {_TEXT}")
        self._bind(around, raw)
        test = f"{_text(column)} LIKE {_TEXT}"
        return f"(CASE WHEN CAST(items.path AS TEXT) LIKE {_TEXT} THEN {test} END)"

    def _one_of(self, column: Column, values: tuple[Value, ...]) -> str:
        for value in values:
            check(column, Operator.EQUAL, value)
        if not values:
            return "0"
        if column.kind is Kind.DATE or (column.raw and len(values) <= _FEW):
            self._count(0, len(values))
            tests = [self._compare(column, Operator.EQUAL, value) for value in values]
            return f"({' OR '.join(tests)})"
        if column.kind is Kind.NUMBER:
            self._bind(*map(_number, values))
            return f"({column.sql} IN ({', '.join('?' * len(values))}))"
        self._bind(*(_raw(column, str(value)) for value in values))
        marks = ", ".join([_TEXT] * len(values))
        return _within(column, f"{_text(column)} COLLATE NOCASE IN ({marks})")

    def _known(self, column: Column) -> str:
        match column.name:
            case "path" | "name" | "folder" | "modified" | "date":
                return "(items.path IS NOT NULL)"
            case _:
                return _within(column, f"{column.sql} IS NOT NULL")

    # Places

    def _under(self, path: str) -> str:
        check_path(path)
        tests = []
        raw = os.fsencode(path).rstrip(b"/") or b"/"
        for where, values in selection.at_or_under(raw, "items.path"):
            self._bind(*values)
            tests.append(f"({where})")
        return f"({' OR '.join(tests)})"

    def _near(self, near: Near) -> str:
        check_place(near)
        self.photos = True
        latitudes, longitudes = functions.box(near.latitude, near.longitude, near.kilometres)
        self._bind(*latitudes)
        ranges = []
        for some in longitudes:
            self._bind(*some)
            ranges.append("photos.longitude BETWEEN ? AND ?")
        self._bind(near.latitude, near.longitude, functions.haversine_of(near.kilometres))
        return (
            f"(photos.latitude BETWEEN ? AND ? AND ({' OR '.join(ranges)}) "
            "AND mmsearch_haversine(photos.latitude, photos.longitude, ?, ?) <= ?)"
        )


def _text(column: Column) -> str:
    """Return a text column's value as text, whatever its bytes are."""
    return f"CAST({column.sql} AS TEXT)" if column.raw else column.sql


def _within(column: Column, test: str) -> str:
    """Return whether a test holds; of a column with several values, for one of them."""
    if column.source in {Source.LABELS, Source.CAPTIONS}:
        table = column.source.value
        return f"(items.id IN (SELECT {table}.item_id FROM {table} WHERE {test}))"
    return f"({test})"


def _raw(column: Column, value: str, *, pattern: bool = False) -> bytes:
    """Return the bytes that a text column is compared with: `.jpg` as jpg, `/a/` as /a."""
    if not column.raw:
        return value.encode("utf-8", "surrogateescape")
    raw = os.fsencode(value)
    if column.name == "extension":
        return raw.removeprefix(b".")
    if column.name == "folder" and not pattern:
        return raw.rstrip(b"/") or raw[:1]
    return raw


def _number(value: Value) -> object:
    """Return a number that SQLite can hold and that compares alike."""
    return value if isinstance(value, float) or abs(int(value)) < 2**63 else float(value)
