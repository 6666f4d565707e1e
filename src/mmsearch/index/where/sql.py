"""A condition as SQL with bound values: nothing of what a user wrote is ever part of the SQL.

SQL knows three truth values, conditions two. Under AND and OR an unknown value does what a false
one does, so it is enough to ask `IS NOT TRUE` where something is negated.
"""

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
from mmsearch.core import Modality
from mmsearch.index.where import dates, functions
from mmsearch.index.where.bounds import check_extent, check_place, check_values
from mmsearch.index.where.columns import (
    Column,
    Kind,
    Source,
    check,
    column_named,
)
from mmsearch.index.where.lists import under
from mmsearch.index.where.texts import (
    TEXT,
    Fragment,
    as_text,
    label_equals,
    path_equals,
    path_like,
    raw_pattern,
    raw_text,
)

_FEW: Final = 16  # texts that are cheaper to look for at the end of a path one by one
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

    def _use(self, fragment: Fragment) -> str:
        self._bind(*fragment.values)
        return fragment.sql

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
        return self._use(_text_compares(column, operator, str(value)))

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

    def _one_of(self, column: Column, values: tuple[Value, ...]) -> str:
        for value in values:
            check(column, Operator.EQUAL, value)
        if not values:
            return "0"
        one_by_one = column.raw and len(values) <= _FEW
        if column.kind is Kind.DATE or one_by_one or _beyond_ascii(column, values):
            self._count(0, len(values))
            tests = [self._compare(column, Operator.EQUAL, value) for value in values]
            return f"({' OR '.join(tests)})"
        if column.kind is Kind.NUMBER:
            self._bind(*map(_number, values))
            return f"({column.sql} IN ({', '.join('?' * len(values))}))"
        self._bind(*(raw_text(column, str(value)) for value in values))
        marks = ", ".join([TEXT] * len(values))
        return _within(column, f"{as_text(column)} COLLATE NOCASE IN ({marks})")

    def _known(self, column: Column) -> str:
        match column.name:
            case "path" | "name" | "folder" | "modified" | "date":
                return f"(items.modality = '{Modality.IMAGE}')"  # the index of paths is no help
            case _:
                return _within(column, f"{column.sql} IS NOT NULL")

    # Places

    def _under(self, path: str) -> str:
        some = self._use(under(path))
        return f"(items.id IN (SELECT item_id FROM ({some})))"

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


def _text_compares(column: Column, operator: Operator, value: str) -> Fragment:
    """Return how a text column compares with a text, which has been checked."""
    if operator is Operator.LIKE:
        pattern = raw_pattern(column, value)
        if column.raw:
            return path_like(column, pattern)
        return Fragment(_within(column, f"{column.sql} LIKE {TEXT}"), (pattern,))
    if column.source is Source.LABELS and operator is Operator.EQUAL:
        equal = label_equals(column, value)
        return Fragment(_within(column, equal.sql), equal.values)
    raw = raw_text(column, value)
    if column.raw and operator is Operator.EQUAL:
        return path_equals(column, raw)
    test = f"{as_text(column)} COLLATE NOCASE {operator} {TEXT}"
    return Fragment(_within(column, test), (raw,))


def _beyond_ascii(column: Column, values: tuple[Value, ...]) -> bool:
    """Return whether labels are compared with letters whose case SQLite does not know."""
    return column.source is Source.LABELS and not all(str(value).isascii() for value in values)


def _within(column: Column, test: str) -> str:
    """Return whether a test holds; of a column with several values, for one of them."""
    if column.source in {Source.LABELS, Source.CAPTIONS}:
        table = column.source.value
        return f"(items.id IN (SELECT {table}.item_id FROM {table} WHERE {test}))"
    return f"({test})"


def _number(value: Value) -> object:
    """Return a number that SQLite can hold and that compares alike."""
    return value if isinstance(value, float) or abs(int(value)) < 2**63 else float(value)
