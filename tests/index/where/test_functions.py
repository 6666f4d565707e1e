"""Parts of paths, and circles on the globe."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.index.where.functions import (
    EARTH_KM,
    box,
    extension_of,
    folder_of,
    haversine,
    haversine_of,
    name_of,
)


@pytest.mark.parametrize(
    ("path", "folder", "name", "extension"),
    [
        (b"/a/b.jpg", b"/a", b"b.jpg", b"jpg"),
        (b"/b.tar.gz", b"/", b"b.tar.gz", b"gz"),
        (b"/a.d/b", b"/a.d", b"b", None),
        (b"/a/.hidden", b"/a", b".hidden", None),
        (b"/a/.hidden.png", b"/a", b".hidden.png", b"png"),
        (b"/a/b.", b"/a", b"b.", None),
        (b"/a/\xff.\xfe", b"/a", b"\xff.\xfe", b"\xfe"),
    ],
)
def test_a_path_has_a_folder_a_name_and_an_extension(
    path: bytes, folder: bytes, name: bytes, extension: bytes | None
) -> None:
    assert (folder_of(path), name_of(path), extension_of(path)) == (folder, name, extension)


def kilometres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance that the haversine stands for."""
    found = haversine(float(a[0]), float(a[1]), *b)
    assert found is not None
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, found)))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((48.2082, 16.3738), (48.1486, 17.1077), 54.8),  # Vienna and Bratislava
        ((0, 179.5), (0, -179.5), 111.195),  # a degree of the equator
        ((89.5, 0), (89.5, 180), 111.195),  # a degree across the pole
        ((-90, 0), (90, 77), math.pi * EARTH_KM),
        ((48.2, 16.4), (48.2, 16.4), 0),
    ],
)
def test_distances_are_those_of_great_circles(
    a: tuple[float, float], b: tuple[float, float], expected: float
) -> None:
    assert kilometres(a, b) == pytest.approx(expected, abs=0.1)
    assert kilometres(b, a) == pytest.approx(expected, abs=0.1)


def test_no_place_is_farther_away_than_the_other_side_of_the_globe() -> None:
    everywhere = [(float(north), float(east)) for north in range(1, 90) for east in range(1, 180)]
    assert max(haversine(-a, b - 180, a, b) or 0 for a, b in everywhere) == haversine_of(30_000)


def test_a_distance_and_its_haversine_agree() -> None:
    assert haversine_of(0) == 0
    assert haversine_of(EARTH_KM * math.pi / 2) == pytest.approx(0.5)
    assert haversine_of(EARTH_KM * math.pi) == haversine_of(1e6) == 1


@pytest.mark.parametrize("damaged", [None, 3, "3", b"3", math.inf, math.nan])
def test_what_is_no_degree_is_not_known(damaged: object) -> None:
    assert haversine(damaged, 3.0, 1, 2) is None
    assert haversine(3.0, damaged, 1, 2) is None


@pytest.mark.parametrize("damaged", [None, 3, 1.5, "/a/b.jpg"])
def test_what_is_no_path_has_no_parts(damaged: object) -> None:
    assert name_of(damaged) is None
    assert folder_of(damaged) is None
    assert extension_of(damaged) is None


def test_a_box_across_the_date_line_has_two_parts() -> None:
    (south, north), parts = box(0, 179.9, 111.195)
    assert (south, north) == pytest.approx((-1, 1), abs=1e-4)
    (west, end), (start, east) = parts
    assert (end, start) == (180, -180)
    assert (west, east) == pytest.approx((178.9, -179.1), abs=1e-4)


def test_a_circle_with_a_pole_in_it_has_every_longitude() -> None:
    assert box(89.5, 10, 60)[1] == [(-180, 180)]
    assert box(-89.5, 10, 60)[1] == [(-180, 180)]
    assert box(0, 0, 30_000)[1] == [(-180, 180)]


places = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(centre=places, place=places, distance=st.floats(0, 25_000))
def test_a_circle_lies_in_its_box(
    centre: tuple[float, float], place: tuple[float, float], distance: float
) -> None:
    found = haversine(*place, *centre)
    assert found is not None
    if found <= haversine_of(distance):
        (south, north), parts = box(*centre, distance)
        assert south <= place[0] <= north
        assert any(west <= place[1] <= east for west, east in parts)
