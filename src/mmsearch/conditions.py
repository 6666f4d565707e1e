"""Conditions on items: the tree that a parser makes and the catalog answers.

A column is one of those that docs/search.md lists. Whoever makes a tree by hand gets the same
checks as the parser: the catalog refuses unknown columns and values of the wrong kind.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | int | float
"""A text, a whole number or a number. Dates are texts: 2024, 2024-06, 2024-06-01T12:30:00."""


class Operator(StrEnum):
    """How a column is compared. LIKE knows `%` and `_`; it and texts ignore ASCII case."""

    EQUAL = "="
    UNEQUAL = "!="
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="
    LIKE = "like"


@dataclass(frozen=True, slots=True)
class Compare:
    """True where the column is known and compares like that with the value.

    `label` and `caption` may have several values: true where one of them does.
    """

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """True where the column has one of the values."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """True where the column has a value at all."""

    column: str


@dataclass(frozen=True, slots=True)
class Under:
    """True for pictures at or under an absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class Near:
    """True for pictures taken within some kilometres of a place, in degrees north and east."""

    latitude: float
    longitude: float
    kilometres: float


@dataclass(frozen=True, slots=True)
class Not:
    """True where the condition is not: of an unknown column, too."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class AllOf:
    """True where every condition is; of none, everywhere."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True where one of the conditions is; of none, nowhere."""

    conditions: tuple["Condition", ...]


Condition: TypeAlias = Compare | OneOf | Known | Under | Near | Not | AllOf | AnyOf
