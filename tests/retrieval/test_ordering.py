"""The order and the groups of answers."""

from datetime import datetime

from mmsearch.core import Hit, Item, Modality, Photo
from mmsearch.retrieval.details import Details, date_of, facts
from mmsearch.retrieval.ordering import Grouping, Sort, grouped, ordered


def _hit(number: int, path: str | None = None, text: str | None = None) -> Hit:
    kind = Modality.TEXT if path is None else Modality.IMAGE
    return Hit(number, 1 - number / 10, Item(number, kind, None, path, text, "00" * 32, 1, 1))


def _numbers(hits: list[Hit]) -> list[int]:
    return [hit.item.id for hit in hits]


_HITS = [
    _hit(1, "/photos/b/img10.jpg"),
    _hit(2, "/photos/a/IMG2.jpg"),
    _hit(3, "/photos/b/apple.jpg"),
    _hit(4, text="a zebra"),
]
_DATES = {
    1: datetime(2024, 6, 5, 12),  # noqa: DTZ001 - a camera's clock
    2: datetime(2024, 6, 5, 9),  # noqa: DTZ001
    3: datetime(2025, 1, 1),  # noqa: DTZ001
    4: None,
}


def test_the_best_the_newest_and_the_first_in_the_alphabet_come_first() -> None:
    assert _numbers(ordered(_HITS, Sort.SCORE, _DATES)) == [1, 2, 3, 4]
    assert _numbers(ordered(_HITS, Sort.DATE, _DATES)) == [3, 1, 2, 4]
    assert _numbers(ordered(_HITS, Sort.NAME, _DATES)) == [4, 3, 2, 1]


def test_the_other_way_round_keeps_what_has_no_date_last() -> None:
    assert _numbers(ordered(_HITS, Sort.SCORE, _DATES, reverse=True)) == [4, 3, 2, 1]
    assert _numbers(ordered(_HITS, Sort.DATE, _DATES, reverse=True)) == [2, 1, 3, 4]
    assert _numbers(ordered(_HITS, Sort.NAME, _DATES, reverse=True)) == [1, 2, 3, 4]


def test_groups_come_in_the_order_of_their_first_answer() -> None:
    days = grouped(_HITS, Grouping.DAY, _DATES)
    assert [(group.name, _numbers(list(group.hits))) for group in days] == [
        ("2024-06-05", [1, 2]),
        ("2025-01-01", [3]),
        ("no date", [4]),
    ]
    folders = grouped(ordered(_HITS, Sort.NAME, _DATES), Grouping.FOLDER, _DATES)
    assert [(group.name, _numbers(list(group.hits))) for group in folders] == [
        ("sentences", [4]),
        ("/photos/b", [3, 1]),
        ("/photos/a", [2]),
    ]


def test_numbers_too_long_to_be_counted_are_compared_as_text() -> None:
    hits = [_hit(1, "/p/" + "9" * 6000), _hit(2, "/p/" + "1" * 6000)]
    assert _numbers(ordered(hits, Sort.NAME, {})) == [2, 1]


def test_a_picture_has_the_date_of_its_camera_else_of_its_file() -> None:
    item = Item(1, Modality.IMAGE, None, "/p/a.jpg", None, "00" * 32, 1, 86_400_000_000_000)
    photo = Photo(40, 30, 1_717_590_630, "Some Camera", None, None, 0)
    assert date_of(item, photo) == datetime(2024, 6, 5, 12, 30, 30)  # noqa: DTZ001
    changed = date_of(item, None)
    assert changed is not None
    assert changed.astimezone().timestamp() == 86_400
    assert facts(Details(date_of(item, photo), photo)) == [
        "2024-06-05 12:30",
        "40 x 30",
        "Some Camera",
    ]


def test_a_time_that_no_calendar_has_is_no_date() -> None:
    item = Item(1, Modality.IMAGE, None, "/p/a.jpg", None, "00" * 32, 1, 1 << 62)
    assert date_of(item, Photo(1, 1, 1 << 60, None, None, None, 0)) is None
    assert date_of(_hit(4, text="a zebra").item, None) is None
