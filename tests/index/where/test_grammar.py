"""The language of conditions: what a text means, and what is said of one that means nothing."""

import unicodedata
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.where.strategies import conditions

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
)
from mmsearch.errors import QueryError
from mmsearch.index.where.columns import COLUMNS
from mmsearch.index.where.grammar import parse_condition, parse_date
from mmsearch.index.where.show import show
from mmsearch.index.where.sql import compiled

TODAY = date(2024, 3, 1)
WIDE = Compare("width", Operator.ABOVE, 4000)
DOG = Compare("label", Operator.EQUAL, "dog")
HIGH = Compare("height", Operator.BELOW, 100)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("width > 4000", WIDE),
        ("  WIDTH>4000 ", WIDE),
        ("(((width > 4000)))", WIDE),
        ("width == 1.5", Compare("width", Operator.EQUAL, 1.5)),
        ("width <> -1e3", Compare("width", Operator.UNEQUAL, -1000.0)),
        ("width != 4000px", Compare("width", Operator.UNEQUAL, 4000)),
        ("size <= 2.3MB", Compare("size", Operator.AT_MOST, 2_300_000)),
        ("size < 500 kb", Compare("size", Operator.BELOW, 500_000)),
        ("size >= 1GiB", Compare("size", Operator.AT_LEAST, 2**30)),
        ("megapixels > 12MP", Compare("megapixels", Operator.ABOVE, 12)),
        ("label = 'dog'", DOG),
        ('label = "dog"', DOG),
        ("label = 'it''s'", Compare("label", Operator.EQUAL, "it's")),
        ('label = "say ""x"""', Compare("label", Operator.EQUAL, 'say "x"')),
        ("label = ''", Compare("label", Operator.EQUAL, "")),
        ("label LIKE 'd%'", Compare("label", Operator.LIKE, "d%")),
        ("label not like 'd%'", Not(Compare("label", Operator.LIKE, "d%"))),
        ("label in ('dog', 'cat')", OneOf("label", ("dog", "cat"))),
        ("label NOT IN ('dog')", Not(OneOf("label", ("dog",)))),
        ("label IN ()", OneOf("label", ())),
        ("label IS NULL", Not(Known("label"))),
        ("label IS NOT NULL", Known("label")),
        ("true", AllOf(())),
        ("FALSE", AnyOf(())),
        ("under('/a b')", Under("/a b")),
        ("near(48.2, -16, 5)", Near(48.2, -16.0, 5.0)),
        ("NEAR(48.2,16.4,500m)", Near(48.2, 16.4, 0.5)),
        ("near(48.2,16.4,5 km)", Near(48.2, 16.4, 5.0)),
        ("NOT width > 4000", Not(WIDE)),
        ("width > 4000 AND label = 'dog'", AllOf((WIDE, DOG))),
        ("width > 4000 OR label = 'dog' AND height < 100", AnyOf((WIDE, AllOf((DOG, HIGH))))),
        ("(width > 4000 OR label = 'dog') AND height < 100", AllOf((AnyOf((WIDE, DOG)), HIGH))),
        ("NOT width > 4000 AND label = 'dog'", AllOf((Not(WIDE), DOG))),
        ("NOT (width > 4000 AND label = 'dog')", Not(AllOf((WIDE, DOG)))),
        (
            "width > 4000 AND label = 'dog' AND height < 100",
            AllOf((WIDE, DOG, HIGH)),
        ),
        (
            "width BETWEEN 1 AND 2 AND label = 'dog'",
            AllOf(
                (
                    AllOf(
                        (
                            Compare("width", Operator.AT_LEAST, 1),
                            Compare("width", Operator.AT_MOST, 2),
                        )
                    ),
                    DOG,
                )
            ),
        ),
        ("taken >= 2024-06", Compare("taken", Operator.AT_LEAST, "2024-06")),
        ("date = 2024", Compare("date", Operator.EQUAL, "2024")),
        ("date = '2024-06-01 12:30'", Compare("date", Operator.EQUAL, "2024-06-01 12:30")),
        ("taken < 2024-06-01T12:30:15", Compare("taken", Operator.BELOW, "2024-06-01T12:30:15")),
        ("date = today", Compare("date", Operator.EQUAL, "2024-03-01")),
        ("date = Yesterday", Compare("date", Operator.EQUAL, "2024-02-29")),
        ("date > 7 days ago", Compare("date", Operator.ABOVE, "2024-02-23")),
        ("date > 1 WEEK AGO", Compare("date", Operator.ABOVE, "2024-02-23")),
        ("date in (today, 2023)", OneOf("date", ("2024-03-01", "2023"))),
        ("modality = 'IMAGE'", Compare("modality", Operator.EQUAL, "IMAGE")),
    ],
)  # fmt: skip
def test_a_text_means_this(text: str, condition: Condition) -> None:
    assert parse_condition(text, today=TODAY) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column at character 1"),
        ("label =", 'expected a value after "label =" at character 8'),
        ("width >=", 'expected a number after "width >=" at character 9'),
        ("date >", 'expected a date (2024-06-01, today, 7 days ago) after "date >" at character 7'),
        ("width", "expected an operator (=, !=, <, <=, >, >=, LIKE, IN, BETWEEN, IS)"),
        ("width 5", 'after "width" at character 7, not "5"'),
        ("width > 5 height", 'expected AND, OR or the end after "width > 5" at character 11, not'),
        ("width > 5 AND", 'expected a column after "> 5 AND" at character 14'),
        ("(width > 5", 'expected AND, OR or ")" after "width > 5" at character 11'),
        ("width NOT 5", 'expected LIKE, IN or BETWEEN after "width NOT" at character 11, not "5"'),
        ("width IS 5", 'expected NULL or NOT NULL after "width IS" at character 10'),
        ("width IN 5", 'expected "(" after "width IN" at character 10'),
        ("width IN (5 6)", 'expected "," or ")" after "IN (5" at character 13'),
        ("width BETWEEN 1 OR 2", 'expected "AND" after "width BETWEEN 1" at character 17'),
        ("width = 'abc'", "width is a number, and 'abc' is a text (at character 9)"),
        ("width LIKE '5'", "width is a number; LIKE compares texts (at character 12)"),
        ("date LIKE '2024%'", "date is a date; LIKE compares texts (at character 11)"),
        ("label = 5", "label is a text, and 5 is a number (at character 9)"),
        ("camera = Canon", 'expected a text in quotes after "camera =" at character 10'),
        ("widht > 5", 'there is no column "widht"; did you mean width'),
        ("zzz > 5", f'there is no column "zzz"; there are {", ".join(COLUMNS)}'),
        ("modality = 'photo'", "modality is 'image' or 'text' (at character 12)"),
        ("label = 'abc", "the quote that opens at character 9 is not closed"),
        ("width # 5", '"#" at character 7 means nothing here'),
        ("width; DROP TABLE items", '";" at character 6 means nothing here'),
        ("size > 2MP", '"MP" is no unit of size; it takes b, kb'),
        ("aspect > 2MB", '"MB" is no unit of aspect; it takes none'),
        ("width > 5AND height > 3", '"AND" is no unit of width; it takes px'),
        ("width > 1e999", "1e999 is too large a number"),
        ("width > " + "9" * 50, "a number of 50 characters"),
        ("date = 2024-6", "'2024-6' is no date; write 2024, 2024-06"),
        ("date = 2024-02-30", "there is no 2024-02-30"),
        ("date = 9999", "9999 is too late; years go up to 9998"),
        ("date > 1.5 days ago", "1.5 is no whole number"),
        ("date > 999999999 days ago", "there was no calendar"),
        ("date > 3 days", 'expected "AGO" after "> 3 days" at character 14'),
        ("near(91, 0, 1)", "a latitude is from -90 to 90 degrees, not 91"),
        ("near(0, 181, 1)", "a longitude is from -180 to 180 degrees, not 181"),
        ("near(0, 0, -1)", "a distance is not -1 km"),
        ("near(0, 0)", 'expected ","'),
        ("near('0', 0, 1)", "expected a latitude"),
        ("under('photos')", "under() needs an absolute path, not 'photos'"),
        ("under(5)", "expected a path in quotes"),
        ("exec('x')", '"exec" at character 1 is no function; there are near('),
        ("label = 'a\0b'", "a text with a zero byte"),
        ("label = '\ud800'", "a text that is not valid Unicode"),
        ("(" * 1000, "too many parentheses and NOTs around character 61: more than 60"),
        ("NOT " * 1000 + "width = 1", "too many parentheses and NOTs"),
        (" OR ".join(["width = 1"] * 600), "the condition has too many terms: more than 500"),
        ("x" * 20_001, "a condition of 20,001 characters; at most 20,000 can be"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(QueryError) as raised:
        parse_condition(text)
    assert message in str(raised.value)


def test_a_date_alone_can_be_read() -> None:
    assert parse_date("7 days ago", today=TODAY) == "2024-02-23"
    assert parse_date(" 2024-06 ") == "2024-06"
    with pytest.raises(QueryError, match="expected AND, OR or the end"):
        parse_date("2024 2025")


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (AllOf((WIDE, AnyOf((DOG, HIGH)))), "width > 4000 AND (label = 'dog' OR height < 100)"),
        (Not(AllOf((WIDE, DOG))), "NOT (width > 4000 AND label = 'dog')"),
        (Not(WIDE), "NOT width > 4000"),
        (Not(Known("label")), "label IS NULL"),
        (Not(OneOf("width", (1, 2.5))), "width NOT IN (1, 2.5)"),
        (Compare("date", Operator.AT_LEAST, "2024-06-01"), "date >= 2024-06-01"),
        (Compare("label", Operator.LIKE, "it's"), "label LIKE 'it''s'"),
        (Near(48.2, 16.4, 5.0), "near(48.2, 16.4, 5.0)"),
        (Under("/a'b"), "under('/a''b')"),
        (AllOf(()), "TRUE"),
        (AnyOf(()), "FALSE"),
    ],
)
def test_a_condition_is_shown_like_this(condition: Condition, text: str) -> None:
    assert show(condition) == text


@settings(max_examples=300, deadline=None)
@given(condition=conditions)
def test_what_is_shown_is_read_as_the_same(condition: Condition) -> None:
    assert parse_condition(show(condition)) == condition


WORDS = """
    AND OR NOT IN IS NULL LIKE BETWEEN TRUE FALSE ( ) , = <= 'a' "b" ' " ; -- /* ? :1 5 2MB 2024-06
    today 1e9 - +5 .5 near( under(
"""
PIECES = st.sampled_from([*COLUMNS, *WORDS.split(), "3 days ago", "\0", "\n", "\ud800", "\u0663"])


def _is_sound(text: str) -> None:
    """A text raises QueryError, or gives a condition that can be compiled and shown."""
    try:
        condition = parse_condition(text)
    except QueryError:
        return
    assert parse_condition(show(condition)) == condition
    compiled(condition)


@settings(max_examples=500, deadline=None)
@given(text=st.text() | st.lists(PIECES, max_size=30).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    _is_sound(text)


@settings(max_examples=500, deadline=None)
@given(condition=conditions, data=st.data())
def test_a_condition_with_a_slip_of_the_pen_is_read_or_refused(
    condition: Condition, data: st.DataObject
) -> None:
    text = show(condition)
    place = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 4))
    slip = data.draw(PIECES | st.characters())
    _is_sound(text[:place] + slip + text[place + removed :])


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_what_stands_in_quotes_is_a_value_and_never_sql(text: str) -> None:
    written = text.replace("'", "''")
    condition = parse_condition(f"label = '{written}'")
    assert condition == Compare("label", Operator.EQUAL, text)
    beyond_ascii = Compare("label", Operator.EQUAL, "\u00fc")  # whose case SQLite does not know
    assert compiled(condition).sql == compiled(DOG if text.isascii() else beyond_ascii).sql
    folded = unicodedata.normalize("NFC", text).casefold()
    assert compiled(condition).values == ((text if text.isascii() else folded).encode(),)
