"""The language of conditions: `taken >= 2024-06 AND (width > 4000 OR label = 'dog')`.

    condition  = all {OR all}
    all        = negation {AND negation}
    negation   = NOT negation | "(" condition ")" | TRUE | FALSE | place | comparison
    place      = near "(" NUMBER "," NUMBER "," NUMBER [km | m] ")" | under "(" TEXT ")"
    comparison = COLUMN (operator value | [NOT] LIKE TEXT | [NOT] IN "(" [value {"," value}] ")"
                         | [NOT] BETWEEN value AND value | IS [NOT] NULL)
    operator   = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    value      = TEXT | NUMBER [unit] | DATE | today | yesterday
                 | NUMBER (day | days | week | weeks) ago

Words and columns in any case. A recursive-descent parser: a function a rule.
"""

from collections.abc import Callable
from datetime import date
from typing import Final, TypeVar

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
from mmsearch.errors import QueryError
from mmsearch.index.where import bounds, columns, dates, literals, sql
from mmsearch.index.where.columns import Column
from mmsearch.index.where.tokens import Kind, Token, before, tokens

T = TypeVar("T")

_MOST_PARENTHESES: Final = 60  # a function calls itself for each
_OPERATORS: Final = {
    **{operator.value: operator for operator in Operator if operator is not Operator.LIKE},
    "==": Operator.EQUAL,
    "<>": Operator.UNEQUAL,
}


def parse_condition(text: str, *, today: date | None = None) -> Condition:
    """Return the condition that a text says; `today` None: what the clock says.

    Raises QueryError that says what was expected, and at which character.
    """
    return _Parser(text, today).whole()


def parse_date(text: str, *, today: date | None = None) -> str:
    """Return a date alone, as a condition holds it: `2024-06`, `yesterday`, `7 days ago`.

    Raises QueryError as `parse_condition` does.
    """
    parser = _Parser(text, today)
    value = parser.value(columns.COLUMNS["date"])
    parser.end()
    return str(value)


class _Parser:
    """The tokens of a text, and the next one to read."""

    def __init__(self, text: str, today: date | None) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._place = 0
        self._depth = 0
        self._today = today

    def whole(self) -> Condition:
        """Return the condition that is all of the text."""
        condition = self._condition()
        self.end()
        sql.compiled(condition)  # whoever has a condition can rely on it
        return condition

    def end(self) -> None:
        """Raise QueryError when something is left."""
        if self._next.kind is not Kind.END:
            raise self._refused("AND, OR or the end")

    # Tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._place += 1
        return token

    def _skip(self, *words: str) -> bool:
        """Take the next token if it is one of some words or symbols."""
        if self._next.says(*words):
            self._place += 1
            return True
        return False

    def _need(self, word: str, expected: str = "") -> None:
        if not self._skip(word):
            raise self._refused(expected or f'"{word}"')

    def _refused(self, expected: str) -> QueryError:
        token = self._next
        found = "" if token.kind is Kind.END else f', not "{token.text[:20]}"'
        after = before(self._text, self._tokens, self._place)
        return QueryError(f"expected {expected}{after} at character {token.start + 1}{found}")

    def _at(self, token: Token, read: Callable[[], T]) -> T:
        """Return what `read` does, and let its QueryError say where."""
        try:
            return read()
        except QueryError as error:
            raise QueryError(f"{error} (at character {token.start + 1})") from error

    # Conditions

    def _condition(self) -> Condition:
        parts = [self._all()]
        while self._skip("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._negation()]
        while self._skip("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _negation(self) -> Condition:
        token = self._next
        self._depth += 1
        if self._depth > _MOST_PARENTHESES:
            raise QueryError(
                f"too many parentheses and NOTs around character {token.start + 1}: "
                f"more than {_MOST_PARENTHESES}"
            )
        condition = self._one()
        self._depth -= 1
        return condition

    def _one(self) -> Condition:
        if self._skip("NOT"):
            return Not(self._negation())
        if self._skip("("):
            condition = self._condition()
            self._need(")", 'AND, OR or ")"')
            return condition
        if self._skip("TRUE"):
            return AllOf(())
        if self._skip("FALSE"):
            return AnyOf(())
        if self._next.kind is not Kind.WORD:
            raise self._refused("a column")
        if self._tokens[self._place + 1].says("("):
            return self._called()
        return self._comparison()

    def _called(self) -> Condition:
        token = self._next
        if self._skip("NEAR"):
            return self._near(token)
        if self._skip("UNDER"):
            return self._under()
        raise QueryError(
            f'"{token.text[:40]}" at character {token.start + 1} is no function; '
            "there are near(latitude, longitude, km) and under('path')"
        )

    def _near(self, token: Token) -> Condition:
        self._need("(")
        latitude = self._number("a latitude")
        self._need(",")
        longitude = self._number("a longitude")
        self._need(",")
        distance = self._number("a distance in km")
        if self._skip("M"):
            distance /= 1000
        else:
            self._skip("KM")
        self._need(")")
        near = Near(latitude, longitude, distance)
        self._at(token, lambda: bounds.check_place(near))
        return near

    def _number(self, expected: str) -> float:
        if self._next.kind is not Kind.NUMBER:
            raise self._refused(expected)
        token = self._take()
        return float(self._at(token, lambda: literals.number(token.text)))

    def _under(self) -> Condition:
        self._need("(")
        if self._next.kind is not Kind.TEXT:
            raise self._refused("a path in quotes")
        token = self._take()
        path = literals.text(token.text)
        self._at(token, lambda: bounds.check_path(path))
        self._need(")")
        return Under(path)

    # Comparisons

    def _comparison(self) -> Condition:
        token = self._take()
        column = self._at(token, lambda: columns.column_named(token.text))
        if self._skip("IS"):
            negated = self._skip("NOT")
            self._need("NULL", "NULL" if negated else "NULL or NOT NULL")
            return Known(column.name) if negated else Not(Known(column.name))
        if self._skip("NOT"):
            return Not(self._worded(column, "LIKE, IN or BETWEEN"))
        symbol = self._next.text if self._next.kind is Kind.SYMBOL else ""
        if symbol not in _OPERATORS:
            return self._worded(column, "an operator (=, !=, <, <=, >, >=, LIKE, IN, BETWEEN, IS)")
        self._take()
        return Compare(column.name, _OPERATORS[symbol], self.value(column, _OPERATORS[symbol]))

    def _worded(self, column: Column, expected: str) -> Condition:
        if self._skip("LIKE"):
            return Compare(column.name, Operator.LIKE, self.value(column, Operator.LIKE))
        if self._skip("IN"):
            return OneOf(column.name, self._values(column))
        if self._skip("BETWEEN"):
            low = self.value(column)
            self._need("AND")
            high = self.value(column)
            ends = ((Operator.AT_LEAST, low), (Operator.AT_MOST, high))
            return AllOf(tuple(Compare(column.name, operator, value) for operator, value in ends))
        raise self._refused(expected)

    def _values(self, column: Column) -> tuple[Value, ...]:
        self._need("(")
        values: list[Value] = []
        if self._skip(")"):
            return ()
        while True:
            values.append(self.value(column))
            if self._skip(")"):
                return tuple(values)
            self._need(",", '"," or ")"')

    # Values

    def value(self, column: Column, operator: Operator = Operator.EQUAL) -> Value:
        """Return the next value, of the kind that a column has."""
        token = self._next
        if column.kind is columns.Kind.DATE:
            found: Value = self._date()
        else:
            found = self._plain(column)
        self._at(token, lambda: columns.check(column, operator, found))
        return found

    def _date(self) -> str:
        token = self._next
        if token.says("TODAY", "YESTERDAY"):
            return dates.days_before(0 if self._take().says("TODAY") else 1, self._today)
        if token.kind is Kind.TEXT:
            return literals.text(self._take().text)
        if token.kind is Kind.DATE:
            return self._take().text
        if token.kind is not Kind.NUMBER:
            raise self._refused("a date (2024-06-01, today, 7 days ago)")
        self._take()
        if not self._next.says("DAY", "DAYS", "WEEK", "WEEKS"):
            return token.text
        days = 7 if self._take().says("WEEK", "WEEKS") else 1
        self._need("AGO")
        return self._at(
            token,
            lambda: dates.days_before(days * literals.whole(token.text), self._today),
        )

    def _plain(self, column: Column) -> Value:
        token = self._next
        if token.kind is Kind.TEXT:
            return literals.text(self._take().text)
        if token.kind is Kind.NUMBER:
            return self._measured(column)
        if token.kind is Kind.WORD and column.kind is columns.Kind.TEXT:
            raise self._refused("a text in quotes")
        raise self._refused("a value" if column.kind is columns.Kind.TEXT else "a number")

    def _measured(self, column: Column) -> Value:
        """Return a number in the column's own unit."""
        token = self._take()
        unit = self._next
        attached = unit.kind is Kind.WORD and (
            unit.text.lower() in column.units or unit.start == token.end
        )
        if not attached:
            return self._at(token, lambda: literals.number(token.text))
        self._take()
        return self._at(token, lambda: literals.measured(token.text, unit.text, column))
