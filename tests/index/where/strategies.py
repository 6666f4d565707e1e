"""Random conditions that fit the catalogs of `catalogs`: their values, and values near them."""

import os

from hypothesis import strategies as st
from tests.index.where import catalogs

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
from mmsearch.index.where.columns import COLUMNS, Column, Kind

_ORDERS = [operator for operator in Operator if operator is not Operator.LIKE]
_NUMBERS: dict[str, tuple[int | float, ...]] = {
    "id": (0, 1, 7, 20, 2**70),
    "size": (0, 1, 1000, 1_000_000, 2**40, -1),
    "width": (1, 640, 1919.5, 4000),
    "height": (1, 640, 1080, 3000.0),
    "aspect": (1, 640 / 1080, 4000 / 3000, 2, 0.5),
    "megapixels": (1.92, 12, 2.0736, 0.000001),
    "latitude": (48.2, -17.8, 0, 90),
    "longitude": (16.4, 177.9, -179.5, 180),
}
_DATES = (
    "1969",
    "1970-01-01",
    "2000-02-29",
    "2024",
    "2024-06",
    "2024-06-01",
    "2024-06-01T12",
    "2024-06-01T12:00",
    "2024-06-01T12:00:01",
    "2024-06-01 12:00:00",
    "9998",
    "0001",
)
_WORDS = (
    *(os.fsdecode(name) for name in catalogs.NAMES),
    *(os.fsdecode(folder) for folder in catalogs.FOLDERS),
    *(os.fsdecode(folder + b"/" + catalogs.NAMES[0]) for folder in catalogs.FOLDERS),
    *catalogs.CAMERAS,
    *catalogs.LABELS,
    *catalogs.CAPTIONS,
    *catalogs.SENTENCES,
    *(
        "\u00c9T\u00c9",
        "jpg",
        "JPG",
        ".jpg",
        "tif",
        "dots.tif",
        "/a.jpg",
        "x' OR 1=1 --",
        '"',
        "\\",
        "/",
    ),
)
_PATTERN_PARTS = st.sampled_from(["%", "_", "__", "%.", "a", "A", "/", "jpg", "dog", "\u00fc", "'"])

words = st.one_of(
    st.sampled_from(_WORDS),
    st.text(st.sampled_from("aA.%_/'\"\u00fc\udcff \n"), max_size=5),
)
patterns = st.one_of(words, st.lists(_PATTERN_PARTS, max_size=5).map("".join))


def _values(column: Column) -> st.SearchStrategy[Value]:
    if column.choices:
        return st.sampled_from([*column.choices, column.choices[0].upper()])
    if column.kind is Kind.TEXT:
        return words
    if column.kind is Kind.DATE:
        return st.sampled_from(_DATES)
    return st.one_of(
        st.sampled_from(_NUMBERS[column.name]),
        st.integers(-5, 50),
        st.floats(allow_nan=False, allow_infinity=False),
    )


def _compares(column: Column) -> st.SearchStrategy[Condition]:
    plain = st.builds(Compare, st.just(column.name), st.sampled_from(_ORDERS), _values(column))
    if column.kind is not Kind.TEXT:
        return plain
    return plain | st.builds(Compare, st.just(column.name), st.just(Operator.LIKE), patterns)


def _terms(column: Column) -> st.SearchStrategy[Condition]:
    several = st.lists(_values(column), max_size=4).map(tuple)
    many = st.lists(_values(column), min_size=18, max_size=20).map(tuple)
    return st.one_of(
        _compares(column),
        _compares(column),
        st.builds(OneOf, st.just(column.name), several | many),
        st.just(Known(column.name)),
    )


_FOLDERS = [os.fsdecode(folder) for folder in catalogs.FOLDERS]
under = st.builds(
    Under,
    st.sampled_from([*_FOLDERS, "/photos/", "/photos/2024.jpg", "/photos/\udcc3", "/nowhere"]),
)
near = st.builds(
    Near,
    st.sampled_from([48.2, -17.8, 90.0, -90.0, 89.0]) | st.floats(-90, 90),
    st.sampled_from([16.4, 179.9, -180.0, 180.0]) | st.floats(-180, 180),
    st.sampled_from([0.5, 20, 400, 9_000, 20_100]) | st.floats(0.001, 30_000),
)
terms = st.one_of(st.sampled_from(list(COLUMNS.values())).flatmap(_terms), under, near)


def _several(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.builds(AllOf, parts) | st.builds(AnyOf, parts) | st.builds(Not, inner)


nothing_and_everything = st.sampled_from([AllOf(()), AnyOf(())])
conditions = st.recursive(terms | nothing_and_everything, _several, max_leaves=8)
