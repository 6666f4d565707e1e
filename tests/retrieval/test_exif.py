"""Exif blocks as cameras write them, and as nobody should."""

import struct
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from mmsearch.retrieval.exif import Exif, read_exif

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value."""
NOON = int(datetime(2024, 6, 1, 12, 30, 45, tzinfo=UTC).timestamp())
ASCII, LONG, RATIONAL = 2, 4, 5
EXIF, GPS = 0x8769, 0x8825


def directory(at: int, entries: Sequence[Entry], order: str = "<") -> bytes:
    """Return a directory that stands at a place, with its long values behind it."""
    values, rows = bytearray(), bytearray()
    behind = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        rows += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) <= 4:
            rows += value.ljust(4, b"\0")
        else:
            rows += struct.pack(f"{order}I", behind + len(values))
            values += value
    return b"".join([struct.pack(f"{order}H", len(entries)), rows, bytes(4), values])


def block(
    first: Sequence[Entry] = (),
    exif: Sequence[Entry] = (),
    gps: Sequence[Entry] = (),
    order: str = "<",
) -> bytes:
    """Return a block of up to three directories."""
    length = len(directory(8, [*first, (EXIF, LONG, 1, bytes(4)), (GPS, LONG, 1, bytes(4))], order))
    places = [8 + length, 8 + length + len(directory(0, exif, order))]
    pointers = [
        (tag, LONG, 1, struct.pack(f"{order}I", place))
        for tag, place in zip((EXIF, GPS), places, strict=True)
    ]
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    return (
        head
        + directory(8, [*first, *pointers], order)
        + directory(places[0], exif, order)
        + directory(places[1], gps, order)
    )


def text(tag: int, value: bytes) -> Entry:
    return (tag, ASCII, len(value) + 1, value + b"\0")


def rationals(tag: int, *values: tuple[int, int], order: str = "<") -> Entry:
    packed = b"".join(struct.pack(f"{order}II", *value) for value in values)
    return (tag, RATIONAL, len(values), packed)


def place(
    north: tuple[tuple[int, int], ...] = ((48, 1), (30, 1), (36, 1)),
    east: tuple[tuple[int, int], ...] = ((11, 1), (30, 1), (0, 1)),
    letters: tuple[bytes, bytes] = (b"N", b"E"),
    order: str = "<",
) -> list[Entry]:
    return [
        text(1, letters[0]),
        rationals(2, *north, order=order),
        text(3, letters[1]),
        rationals(4, *east, order=order),
    ]


DATE = b"2024:06:01 12:30:45"


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_is_read_in_both_orders_of_bytes(order: str) -> None:
    data = block(
        [text(0x010F, b"Canon"), text(0x0110, b"Canon EOS 5D")],
        [text(0x9003, DATE)],
        place(order=order),
        order,
    )
    expected = Exif(NOON, "Canon EOS 5D", 48.51, 11.5)
    assert read_exif(data) == expected
    assert read_exif(b"Exif\0\0" + data) == expected


def test_what_pillow_writes_is_read() -> None:
    made = Image.Exif()
    made[ExifTags.Base.Make] = "Apple"
    made[ExifTags.Base.Model] = "iPhone 15"
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = DATE.decode()
    made.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "S", 2: (33.0, 51.0, 36.0), 3: "W", 4: (70.0, 30.0, 0.0)}
    )
    assert read_exif(made.tobytes()) == Exif(NOON, "Apple iPhone 15", -33.86, -70.5)


# Dates


@pytest.mark.parametrize(
    ("first", "exif", "taken"),
    [
        ([(0x0132, DATE)], [], NOON),
        ([(0x0132, b"2001:01:01 00:00:00")], [(0x9004, DATE)], NOON),
        ([], [(0x9004, b"2001:01:01 00:00:00"), (0x9003, DATE)], NOON),
        ([(0x0132, DATE)], [(0x9003, b"0000:00:00 00:00:00"), (0x9004, b"    :  :   ")], NOON),
        ([(0x0132, DATE)], [(0x9003, b"2023:02:30 10:00:00")], NOON),
        ([(0x0132, DATE)], [(0x9003, b"2023:02:20 25:00:00")], NOON),
        ([(0x0132, DATE)], [(0x9003, b"0001:01:01 00:00:00")], NOON),
        ([], [(0x9003, b"2024-06-01T12:30:45")], NOON),
        ([], [(0x9003, b"2024:06:01 12:30")], NOON - 45),
        ([], [(0x9003, b"1969:12:31 23:59:59")], -1),
        ([], [(0x9003, b"yesterday")], None),
        ([], [(0x9003, b"\xff\xfe")], None),
        ([], [], None),
    ],
)
def test_the_first_date_that_is_one_is_taken(
    first: list[tuple[int, bytes]], exif: list[tuple[int, bytes]], taken: int | None
) -> None:
    data = block([text(*entry) for entry in first], [text(*entry) for entry in exif])
    assert read_exif(data).taken == taken


def test_a_date_of_another_type_is_none() -> None:
    assert read_exif(block([], [(0x9003, LONG, 1, b"\1\0\0\0")])).taken is None


# Cameras


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        (b"Canon", b"Canon EOS 5D", "Canon EOS 5D"),
        (b"Canon", b"PowerShot A95", "Canon PowerShot A95"),
        (b"NIKON CORPORATION", b"NIKON D90", "NIKON D90"),
        (b"samsung", b"SAMSUNG SM-1", "SAMSUNG SM-1"),
        (b" SONY \0junk", b"  ILCE-7\0\0\0", "SONY ILCE-7"),
        (b"", b"X100", "X100"),
        (b"Leica", b"", "Leica"),
        (b"", b"", None),
        (b" \0", b"\0", None),
        (b"A\tB\nC", b"D\x01E", "A B C D E"),
        (b"\xff\xfe", b"\xc3\xa9t\xe9", "ét"),
        (b"M" * 90, b"N" * 90, "M" * 90 + " " + "N" * 9),
    ],
)
def test_the_camera_is_maker_and_model_in_one(
    make: bytes, model: bytes, camera: str | None
) -> None:
    assert read_exif(block([text(0x010F, make), text(0x0110, model)])).camera == camera


# Places


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (place(letters=(b"S", b"W")), (-48.51, -11.5)),
        (place(letters=(b"s", b"w")), (-48.51, -11.5)),
        (place(((485100, 10000), (0, 1), (0, 1))), (48.51, 11.5)),  # decimal degrees
        (place(((48, 1), (3060, 100), (0, 0))), (48.51, 11.5)),  # seconds unknown
        (place(((0, 1), (0, 1), (0, 1)), letters=(b"S", b"E")), (0.0, 11.5)),
        (place(((90, 1), (0, 1), (0, 1))), (90.0, 11.5)),
    ],
)
def test_a_place_is_in_degrees_north_and_east(
    entries: list[Entry], expected: tuple[float, float]
) -> None:
    found = read_exif(block(gps=entries))
    assert (found.latitude, found.longitude) == pytest.approx(expected)
    assert str(found.latitude)[0] != "-" or found.latitude != 0


@pytest.mark.parametrize(
    "entries",
    [
        [],
        place()[:2],  # no longitude
        place()[1:],  # no letter
        place(letters=(b"E", b"N")),
        place(letters=(b"", b"")),
        place(((0, 0), (0, 0), (0, 0))),
        place(((48, 1), (30, 0), (36, 1))),
        place(((48, 0), (30, 1), (36, 1))),
        place(((91, 1), (0, 1), (0, 1))),
        place(((90, 1), (0, 1), (1, 100))),
        place(((48, 1), (61, 1), (0, 1))),
        place(((4294967295, 1), (0, 1), (0, 1))),
        place(((48, 1), (30, 1))),
        place(east=((181, 1), (0, 1), (0, 1))),
        [text(1, b"N"), (2, 10, 3, struct.pack("<6i", -48, 1, 0, 1, 0, 1)), *place()[2:]],
        [text(1, b"N"), (2, LONG, 3, struct.pack("<3I", 48, 1, 0)), *place()[2:]],
    ],
)
def test_a_place_that_is_none_is_left_out(entries: list[Entry]) -> None:
    found = read_exif(block([text(0x0110, b"X")], gps=entries))
    assert (found.latitude, found.longitude, found.camera) == (None, None, "X")


# Hostile blocks


@given(st.binary(max_size=400))
def test_any_bytes_are_read(data: bytes) -> None:
    for head in (b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert isinstance(read_exif(head + data), Exif)


@given(st.data())
def test_any_damage_is_read(data: st.DataObject) -> None:
    whole = block([text(0x0110, b"Camera X")], [text(0x9003, DATE)], place())
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(cut) - 1)), max_size=8)):
        if cut:
            cut[at] ^= data.draw(st.integers(1, 255))
    found = read_exif(bytes(cut))
    assert found.latitude is None or -90 <= found.latitude <= 90
    assert found.longitude is None or -180 <= found.longitude <= 180
    assert found.camera is None or (found.camera.isprintable() and 0 < len(found.camera) <= 100)


def test_directories_that_point_at_each_other_end() -> None:
    pointers = [(EXIF, LONG, 1, struct.pack("<I", 8)), (GPS, LONG, 1, struct.pack("<I", 8))]
    data = b"II*\0" + struct.pack("<I", 8) + directory(8, [text(0x0110, b"X"), *pointers])
    assert read_exif(data) == Exif(camera="X")


def test_a_block_that_claims_much_costs_nothing() -> None:
    huge = (0x9003, ASCII, 0xFFFFFFFF, struct.pack("<I", 8))
    many: list[Entry] = [(0x9286, RATIONAL, 8000, struct.pack("<I", 8))] * 60_000
    data = block([], [huge, *many])
    began = time.process_time()
    assert read_exif(data) == Exif()
    assert time.process_time() - began < 0.5
