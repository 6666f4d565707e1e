"""Selections from a catalog, worked out by hand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import SPACE, one_hot, picture, prepared, sentence

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
from mmsearch.core import Modality, Photo
from mmsearch.errors import QueryError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource
from mmsearch.index.where.bounds import MOST_NESTED
from mmsearch.index.where.grammar import parse_condition
from mmsearch.index.where.select import Selector, select

NEW_YEAR = 1_704_067_200  # 2024-01-01T00:00
VIENNA = Photo(4000, 3000, NEW_YEAR, "Canon EOS 5D", 48.2, 16.4, 1)
FIJI = Photo(3000, 4000, None, None, -17.8, 179.99, 2)
BARE = Photo(1000, 1000, NEW_YEAR - 1, "NIKON D850", None, None, 3)


def photograph(path: str, photo: Photo | None, size: int) -> FileRow:
    mtime = (NEW_YEAR + 200 * 86_400) * 10**9
    return FileRow(path.encode(), 1, size, mtime, f"{size:064x}", one_hot(0), photo)


@pytest.fixture
def catalog(directory: Path) -> Iterator[Catalog]:
    """Four pictures, 1 to 4, and two sentences, 5 and 6; 4 was indexed by an older version."""
    with prepared(directory) as opened:
        files = (
            photograph("/photos/vienna.JPG", VIENNA, 2_000_000),
            photograph("/photos/trip/fiji.png", FIJI, 1_000),
            photograph("/photos/trip/bare.jpg", BARE, 5_000),
            photograph("/photos/old.jpg", None, 7_000),
        )
        texts = (sentence("a dog", one_hot(1)), sentence("It's late", one_hot(2)))
        opened.commit(Batch(files=files, texts=texts))
        changes = [(1, "Dog"), (1, "city"), (2, "beach"), (5, "dog")]
        attributes.set_labels(
            opened,
            [LabelChange(number, name, LabelSource.USER, None) for number, name in changes],
        )
        attributes.set_captions(opened, {1: ("A street", "a tram"), 2: ("palms",)})
        yield opened


def ids(catalog: Catalog, text: str, modality: Modality = Modality.IMAGE) -> list[int]:
    found = select(catalog, parse_condition(text), modality)
    assert found.ids.dtype == np.int64
    return [int(number) for number in found.ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width > 3000", [1]),
        ("NOT width > 3000", [2, 3, 4]),
        ("width IS NULL", [4]),
        ("aspect < 1", [2]),
        ("megapixels >= 12MP", [1, 2]),
        ("size <= 5kB", [2, 3]),
        ("extension = 'jpg'", [1, 3, 4]),
        ("extension = '.JPG'", [1, 3, 4]),
        ("extension IN ('png', 'gif')", [2]),
        ("name = 'VIENNA.jpg'", [1]),
        ("name LIKE 'b%'", [3]),
        ("name LIKE 'trip%'", []),
        ("folder = '/photos/trip'", [2, 3]),
        ("folder LIKE '%trip'", [2, 3]),
        ("folder = '/photos'", [1, 4]),
        ("path = '/photos/trip/fiji.png'", [2]),
        ("under('/photos/trip')", [2, 3]),
        ("under('/photos/Trip')", []),
        ("under('/photos/tri')", []),
        ("camera LIKE '%canon%'", [1]),
        ("camera != 'canon eos 5d'", [3]),
        ("NOT camera = 'canon eos 5d'", [2, 3, 4]),
        ("taken >= 2024", [1]),
        ("taken < 2024", [3]),
        ("taken = 2023-12", [3]),
        ("taken <= 2024-01-01", [1, 3]),
        ("taken > 2024-01-01", []),
        ("taken IS NULL", [2, 4]),
        ("date > 2024-01-01", [2, 4]),
        ("date = 2024-07", [2, 4]),
        ("modified = 2024-07", [1, 2, 3, 4]),
        ("near(48.2, 16.4, 1)", [1]),
        ("near(-17.8, -179.99, 5)", [2]),
        ("near(-17.8, -179.99, 1)", []),
        ("NOT near(0, 0, 20100)", [3, 4]),
        ("longitude > 179", [2]),
        ("label = 'dog'", [1]),
        ("label != 'dog'", [1, 2]),
        ("NOT label = 'dog'", [2, 3, 4]),
        ("label = 'dog' AND label = 'CITY'", [1]),
        ("label IN ('beach', 'city')", [1, 2]),
        ("label IS NULL", [3, 4]),
        ("caption LIKE '%tram%'", [1]),
        ("caption IS NOT NULL", [1, 2]),
        ("text IS NULL", [1, 2, 3, 4]),
        ("modality = 'image'", [1, 2, 3, 4]),
        ("id IN (2, 3, 77)", [2, 3]),
        ("id BETWEEN 2 AND 3", [2, 3]),
        ("TRUE", [1, 2, 3, 4]),
        ("FALSE", []),
        ("width IN ()", []),
        ("NOT width IN ()", [1, 2, 3, 4]),
        ("label = 'x'' OR 1=1 --'", []),
    ],
)
def test_pictures_are_selected(catalog: Catalog, text: str, expected: list[int]) -> None:
    assert ids(catalog, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text LIKE '%DOG%'", [5]),
        ("text = 'it''s late'", [6]),
        ("label = 'Dog'", [5]),
        ("size = 5", [5]),
        ("width IS NULL", [5, 6]),
        ("date IS NULL AND modified IS NULL AND path IS NULL AND name IS NULL", [5, 6]),
        ("date < 9998 OR under('/')", []),
        ("modality = 'image'", []),
    ],
)
def test_sentences_are_selected(catalog: Catalog, text: str, expected: list[int]) -> None:
    assert ids(catalog, text, Modality.TEXT) == expected


def test_a_selection_says_how_many_of_how_many(catalog: Catalog) -> None:
    found = select(catalog, parse_condition("DATE >= 2024-06-01"), Modality.IMAGE)
    assert found.plan == "2 of 4 images: date >= 2024-06-01"
    assert (len(found.ids), found.total) == (2, 4)
    assert not found.ids.flags.writeable


def test_pictures_of_which_nothing_was_read_are_counted_where_it_matters(catalog: Catalog) -> None:
    assert select(catalog, Known("width"), Modality.IMAGE).unread == 1
    assert select(catalog, Known("path"), Modality.IMAGE).unread is None
    assert select(catalog, Known("width"), Modality.TEXT).unread is None


def test_a_path_that_is_not_utf8_is_found(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture(b"/photos/caf\xe9/\xff.jpg", one_hot(3)),)))
    for text in (
        "path = '/photos/caf\udce9/\udcff.jpg'",
        "name = '\udcff.jpg'",
        "name LIKE '_.jpg'",
        "folder = '/photos/caf\udce9'",
        "under('/photos/caf\udce9')",
    ):
        assert ids(catalog, text) == [7], text


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Compare("widht", Operator.EQUAL, 1), 'no column "widht"'),
        (Compare("width; DROP TABLE items", Operator.EQUAL, 1), "no column"),
        (Compare("width", Operator.EQUAL, "1"), "width is a number"),
        (Compare("width", Operator.EQUAL, float("nan")), "nan is none"),
        (Compare("width", Operator.EQUAL, float("inf")), "inf is none"),
        (Compare("width", Operator.EQUAL, True), "is a text"),
        (Compare("date", Operator.EQUAL, 2024), "date is a date"),
        (Compare("date", Operator.EQUAL, "then"), "is no date"),
        (OneOf("label", ("dog", 1)), "label is a text"),
        (OneOf("date", ("2024", "x")), "is no date"),
        (Known("colour"), "no column"),
        (Under("photos"), "absolute path"),
        (Near(float("nan"), 0, 1), "a latitude is"),
        (Near(0, 0, float("inf")), "a distance is not"),
        (Compare("label", Operator.EQUAL, "a\0"), "zero byte"),
        (Compare("label", Operator.EQUAL, "a" * 20_001), "20,001 characters"),
        (Compare("label", Operator.LIKE, "%a" * 501), "a pattern of 1,002 characters"),
        (OneOf("label", ("a",) * 10_001), "too many values"),
        (OneOf("date", ("2024",) * 501), "too many terms"),
        (AllOf((Known("width"),) * 500), "too many terms"),
    ],
)
def test_a_tree_that_makes_no_sense_is_refused(
    catalog: Catalog, condition: Condition, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        select(catalog, condition, Modality.IMAGE)


def test_a_tree_that_is_too_deep_is_refused(catalog: Catalog) -> None:
    condition: Condition = Known("width")
    for _ in range(10_000):
        condition = Not(condition)
    with pytest.raises(QueryError, match="nested too deep"):
        select(catalog, condition, Modality.IMAGE)
    with pytest.raises(QueryError, match="nested too deep"):
        Selector(catalog).select(condition, Modality.IMAGE)


def test_the_largest_conditions_are_answered(catalog: Catalog) -> None:
    wide = Compare("width", Operator.ABOVE, 0)
    dated = Compare("date", Operator.UNEQUAL, "2024")
    assert ids_of(catalog, AllOf((wide,) * 499)) == [1, 2, 3]
    assert ids_of(catalog, AnyOf((Not(dated),) * 249)) == [1, 2, 4]
    assert ids_of(catalog, OneOf("label", ("dog",) * 10_000)) == [1]
    assert ids_of(catalog, OneOf("name", tuple(map(str, range(9_999))))) == []
    deep: Condition = wide
    for _ in range(MOST_NESTED):
        deep = Not(deep)
    assert ids_of(catalog, deep) == [1, 2, 3]


@pytest.mark.parametrize(
    "inside",
    [
        "under('/photos')",
        "NOT label LIKE 'x'",
        "label IN ('a', 'b')",
        "date BETWEEN 2024 AND 2025",
        "near(1, 180, 5km)",
        "extension IN ('a', 'b')",
        "name LIKE 'a%'",
        "caption IS NULL",
    ],
)
@pytest.mark.parametrize("around", ["width > 0 OR (", "date >= 2024 AND ("])
def test_the_deepest_conditions_are_answered(catalog: Catalog, around: str, inside: str) -> None:
    levels = MOST_NESTED - inside.count("NOT") - inside.count("BETWEEN") - inside.count("IS NULL")
    condition = parse_condition(around * levels + inside + ")" * levels)
    ids_of(catalog, condition)
    with pytest.raises(QueryError, match="nested too deep"):
        parse_condition(f"{around * (levels + 1)}{inside}{')' * (levels + 1)}")


def ids_of(catalog: Catalog, condition: Condition) -> list[int]:
    return [int(number) for number in select(catalog, condition, Modality.IMAGE).ids]


def test_a_selector_answers_again_from_memory_until_something_changes(catalog: Catalog) -> None:
    selector = Selector(catalog)
    dog = parse_condition("label = 'dog'")
    first = selector.select(dog, Modality.IMAGE)
    assert selector.select(parse_condition("label = 'dog'"), Modality.IMAGE) is first
    assert selector.select(dog, Modality.TEXT).ids.tolist() == [5]
    attributes.set_labels(catalog, [LabelChange(3, "dog", LabelSource.USER, None)])
    assert selector.select(dog, Modality.IMAGE).ids.tolist() == [1, 3]


def test_a_selector_notices_what_another_process_commits(catalog: Catalog) -> None:
    with Catalog.open(catalog.directory) as reader:
        selector = Selector(reader)
        assert len(selector.select(Known("path"), Modality.IMAGE).ids) == 4
        catalog.commit(Batch(files=(picture("/photos/new.jpg", one_hot(1)),)))
        assert len(selector.select(Known("path"), Modality.IMAGE).ids) == 5


def test_a_selector_forgets_the_oldest(catalog: Catalog) -> None:
    selector = Selector(catalog)
    first = selector.select(Known("path"), Modality.IMAGE)
    for number in range(7):
        selector.select(Compare("id", Operator.EQUAL, number), Modality.IMAGE)
    assert selector.select(Known("path"), Modality.IMAGE) is first
    for number in range(8):
        selector.select(Compare("id", Operator.EQUAL, number), Modality.IMAGE)
    assert selector.select(Known("path"), Modality.IMAGE) is not first


def test_selecting_needs_no_right_to_write(catalog: Catalog) -> None:
    with Catalog.open(catalog.directory) as reader:
        assert reader.space() == SPACE
        assert ids(reader, "name LIKE '%i%' AND NOT near(0, 0, 1)") == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "label = '\u00fcbungsstra\u00dfe'",
        "label = '\u00dcBUNGSSTRA\u00dfE'",
        "label = 'U\u0308bungsstrasse'",
        "label IN ('nothing', '\u00dcBUNGSSTRASSE')",
        "width > 1 AND label = '\u00dcBUNGSSTRASSE'",
        "NOT NOT label = '\u00dcBUNGSSTRASSE'",
    ],
)
def test_labels_of_any_case_are_one_beyond_a_to_z_as_well(catalog: Catalog, text: str) -> None:
    label = LabelChange(3, "\u00dcbungsstra\u00dfe", LabelSource.USER, None)
    attributes.set_labels(catalog, [label])
    assert ids(catalog, text) == [3]
