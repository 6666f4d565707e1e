"""A condition as text of the grammar that reads it: `grammar.parse_condition` gives it back."""

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
from mmsearch.index.where.columns import COLUMNS, Kind
from mmsearch.index.where.tokens import is_date


def show(condition: Condition) -> str:
    """Return a condition as text."""
    match condition:
        case AllOf(parts):
            return " AND ".join(map(_part, parts)) or "TRUE"
        case AnyOf(parts):
            return " OR ".join(map(_part, parts)) or "FALSE"
        case Not(inner):
            return _negated(inner)
        case _:
            return _term(condition)


def _term(condition: Compare | OneOf | Known | Under | Near) -> str:
    match condition:
        case Compare(column, operator, value):
            return f"{column} {operator.upper()} {_value(column, value)}"
        case OneOf(column, values):
            return f"{column} IN {_list(column, values)}"
        case Known(column):
            return f"{column} IS NOT NULL"
        case Under(path):
            return f"under({_quoted(path)})"
        case Near(latitude, longitude, kilometres):
            return f"near({latitude!r}, {longitude!r}, {kilometres!r})"


def _part(condition: Condition) -> str:
    """Return a condition as a part of AND, OR or NOT."""
    several = isinstance(condition, AllOf | AnyOf) and len(condition.conditions) > 0
    return f"({show(condition)})" if several else show(condition)


def _negated(condition: Condition) -> str:
    match condition:
        case Known(column):
            return f"{column} IS NULL"
        case OneOf(column, values):
            return f"{column} NOT IN {_list(column, values)}"
        case Compare(column, Operator.LIKE, value):
            return f"{column} NOT LIKE {_value(column, value)}"
        case _:
            return f"NOT {_part(condition)}"


def _list(column: str, values: tuple[Value, ...]) -> str:
    return f"({', '.join(_value(column, value) for value in values)})"


def _value(column: str, value: Value) -> str:
    if not isinstance(value, str):
        return repr(value)
    known = COLUMNS.get(column.lower())
    if known is not None and known.kind is Kind.DATE and is_date(value):
        return value
    return _quoted(value)


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
