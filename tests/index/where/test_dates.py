"""Dates: a date is the whole of what it names, and `modified` goes by the local clock."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mmsearch.errors import QueryError
from mmsearch.index.where.dates import days_before, instant_ns, span


def second(*parts: int) -> int:
    """Return the seconds of a clock that shows this."""
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


@pytest.fixture
def vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live in Vienna: an hour ahead of UTC, in summer two."""
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", (2024, 1, 1), (2025, 1, 1)),
        ("2024-02", (2024, 2, 1), (2024, 3, 1)),
        ("2023-12", (2023, 12, 1), (2024, 1, 1)),
        ("2024-02-29", (2024, 2, 29), (2024, 3, 1)),
        ("2024-06-01T23", (2024, 6, 1, 23), (2024, 6, 2)),
        ("2024-06-01 12:59", (2024, 6, 1, 12, 59), (2024, 6, 1, 13)),
        ("2024-06-01T12:30:59", (2024, 6, 1, 12, 30, 59), (2024, 6, 1, 12, 31)),
        ("1969", (1969, 1, 1), (1970, 1, 1)),
        ("0001", (1, 1, 1), (2, 1, 1)),
        ("9998", (9998, 1, 1), (9999, 1, 1)),
    ],
)
def test_a_date_is_the_whole_of_what_it_names(
    text: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    assert span(text) == (second(*start), second(*end))


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "2024-6", "2024-13", "2023-02-29", "2024-06-01T24", "2024-06-01T12:60"),
        *("0000", "9999", " 2024", "2024-06-01T12:30:15.5", "2024-06-01T12:30Z"),
        "\u0662\u0660\u0662\u0664",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        span(text)


@pytest.mark.usefixtures("vienna")
def test_the_local_clock_counts() -> None:
    winter, summer = second(2024, 1, 15, 12), second(2024, 7, 15, 12)
    assert instant_ns(winter) == (winter - 3600) * 10**9
    assert instant_ns(summer) == (summer - 7200) * 10**9


@pytest.mark.usefixtures("vienna")
def test_an_hour_that_comes_twice_begins_the_first_time() -> None:
    twice = second(2024, 10, 27, 2, 30)
    assert instant_ns(twice) == (twice - 7200) * 10**9


@pytest.mark.usefixtures("vienna")
def test_an_hour_that_is_left_out_counts_as_if_the_clock_went_on() -> None:
    left_out = second(2024, 3, 31, 2, 30)
    assert instant_ns(left_out) == (left_out - 3600) * 10**9


def test_dates_beyond_what_a_file_can_have_are_its_first_and_last() -> None:
    assert instant_ns(span("0001")[0]) == -(2**63 - 1)
    assert instant_ns(span("9998")[1]) == 2**63 - 1


def test_days_ago_are_days_of_the_calendar() -> None:
    today = datetime(2024, 3, 1, tzinfo=UTC).date()
    assert days_before(0, today) == "2024-03-01"
    assert days_before(1, today) == "2024-02-29"
    assert days_before(-1, today) == "2024-03-02"
    assert days_before(0) == datetime.now().astimezone().date().isoformat()
    with pytest.raises(QueryError, match="there was no calendar"):
        days_before(10**9, today)
