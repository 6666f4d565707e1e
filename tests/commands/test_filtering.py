"""Filters of `mmsearch query`, from the Exif data of real files to the answers."""

import os
import shlex
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from tests.commands.conftest import Command, Process

JUNE = 1_718_000_000  # 2024-06-10


@pytest.fixture
def album(tmp_path: Path, run: Command, model: Path) -> Path:
    """Four red pictures, the redder the later in the list: vienna, sydney, tall, plain."""
    folder = tmp_path / "album"
    (folder / "trip").mkdir(parents=True)
    _photograph(folder / "vienna.jpg", (30, 20), "2023:12:31 23:59:59", "Canon", (48.2, 16.4))
    _photograph(
        folder / "trip" / "sydney.jpg", (40, 10), "2024:01:01 00:00:00", "Nikon", (-33.9, 151.2)
    )
    _photograph(folder / "trip" / "tall.jpg", (10, 30), None, "Canon", None)
    Image.new("RGB", (20, 20), (255, 0, 0)).save(folder / "plain.png")
    for path in (folder / "trip" / "tall.jpg", folder / "plain.png"):
        os.utime(path, (JUNE, JUNE))
    done = run("index", folder, "--model", model)
    assert done.exit_code == 0, done.stderr
    return folder


def _photograph(
    path: Path,
    size: tuple[int, int],
    taken: str | None,
    maker: str,
    place: tuple[float, float] | None,
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = maker
    exif[ExifTags.Base.Model] = "Model 1"
    if taken is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    if place is not None:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        for value, ends, reference, degrees in (
            (place[0], "NS", ExifTags.GPS.GPSLatitudeRef, ExifTags.GPS.GPSLatitude),
            (place[1], "EW", ExifTags.GPS.GPSLongitudeRef, ExifTags.GPS.GPSLongitude),
        ):
            gps[reference] = ends[value < 0]
            gps[degrees] = (abs(value), 0.0, 0.0)
    Image.new("RGB", size, (250, 0, 0)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("--after 2024", "plain sydney tall"),
        ("--before 2024", "vienna"),
        ("--after 2024-01-01 --before 2024-01-02", "sydney"),
        ("--after 2024-06", "plain tall"),
        ("--camera canon", "tall vienna"),
        ("--near 48.3,16.3,50km", "vienna"),
        ("--near=-33.9,151.2,1km", "sydney"),
        ("--under {album}/trip", "sydney tall"),
        ("--under album/trip --under album/plain.png", "plain sydney tall"),
        ("--aspect portrait", "tall"),
        ("--aspect landscape", "sydney vienna"),
        ("--aspect panorama", "sydney tall"),
        ("--aspect square", "plain"),
        ("--size 0.0004MP..", "plain sydney vienna"),
        ("--size ..1GB", "plain sydney tall vienna"),
        ("--label holiday", "sydney vienna"),
        ("--label HOLIDAY --label 'the  alps'", "vienna"),
        ("--camera canon --after 2024", "tall"),
    ],
)
def test_a_flag_lets_these_through(
    run: Command, album: Path, monkeypatch: pytest.MonkeyPatch, flags: str, found: str
) -> None:
    monkeypatch.chdir(album.parent)
    if "--label" in flags:
        pictures = [album / "vienna.jpg", album / "trip" / "sydney.jpg"]
        assert run("label", "--add", "holiday", *pictures).exit_code == 0
        assert run("label", "--add", "The Alps", pictures[0]).exit_code == 0
    words = shlex.split(flags.format(album=album))
    assert _found(run("query", "red", *words).stdout) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("taken IS NULL", "plain tall"),
        ("taken = 2023-12-31T23:59", "vienna"),
        ("aspect > 1 AND NOT camera LIKE 'nikon%'", "vienna"),
        ("near(-33.9, 151.2, 500m) OR extension = 'PNG'", "plain sydney"),
        ("camera = 'CANON model 1' AND latitude BETWEEN 48 AND 49", "vienna"),
        ("NOT width >= 20", "tall"),
        ("modified >= 2024-06-09 AND modified < 2024-06-12", "plain tall"),
        ("FALSE", ""),
    ],
)
def test_a_condition_lets_these_through(
    run: Command, album: Path, condition: str, found: str
) -> None:
    done = run("query", "red", "--where", condition)
    assert (_found(done.stdout), done.exit_code) == (found, 0 if found else 1)


def _found(output: str) -> str:
    return " ".join(sorted(Path(line.split("\t")[1]).stem for line in output.splitlines()))


def test_a_mistake_is_one_line_and_no_answer(process: Process, album: Path) -> None:
    done = process("query", "red", "--where", "width >=")
    assert (done.returncode, done.stdout) == (2, b"")
    said = 'mmsearch: error: --where: expected a number after "width >=" at character 9\n'
    assert done.stderr.decode() == said


def test_a_folder_whose_name_is_not_utf8_can_be_asked_for(
    process: Process, album: Path, model: Path
) -> None:
    odd = os.fsencode(album) + b"/caf\xe9"
    os.rename(os.fsencode(album) + b"/trip", odd)  # noqa: PTH104 - bytes
    assert process("index").returncode == 0
    done = process("query", "red", "--under", odd, "--paths")
    assert sorted(done.stdout.splitlines()) == [odd + b"/sydney.jpg", odd + b"/tall.jpg"]
    where = b"name LIKE 's%' AND under('" + odd + b"')"
    assert process("query", "red", "--where", where, "--paths").stdout == odd + b"/sydney.jpg\n"
