"""Captions of files come to the pictures of a library."""

import os
import shutil
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts, opened
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.errors import ConfigError, DataError, SpaceMismatchError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.report import IngestOptions, IngestReport


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in (("red", RED), ("green", GREEN), ("sub/blue", BLUE)):
        draw(tmp_path / "photos" / f"{name}.png", colour)
    return tmp_path / "photos"


def said(file: Path, *rows: str, seconds: int = 0) -> Path:
    """Write a file of captions; `seconds` later than it says itself."""
    file.write_text("\n".join(["image,caption", *rows, ""]), encoding="utf-8")
    moment = file.stat().st_mtime_ns + seconds * 10**9
    os.utime(file, ns=(moment, moment))
    return file


def captions(library: Library) -> dict[str, tuple[str, ...]]:
    with Catalog.open(library.directory) as catalog:
        ids = [row[0] for row in catalog.rows("SELECT id FROM items WHERE modality = 'image'")]
        items = catalog.items(ids)
        found = attributes.captions(catalog, ids)
        return {Path(items[n].path or "").stem: texts for n, texts in found.items()}


def with_captions(*files: Path) -> IngestOptions:
    return IngestOptions(captions=files)


def test_captions_come_to_the_pictures_beside_their_file_in_order(
    library: Library, photos: Path
) -> None:
    file = said(
        photos / "c.csv", "red.png,a wall", "sub/blue.png,the sea", "red.png,paint", "red.png,paint"
    )
    report = library.add(photos, with_captions(file))
    assert report.as_dict() == counts(new=3, encoded=3, captioned=2)
    assert captions(library) == {"red": ("a wall", "paint"), "blue": ("the sea",)}


def test_pictures_are_found_below_the_library_when_the_captions_lie_elsewhere(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = said(
        tmp_path / "elsewhere" / "c.csv", "sub/blue.png,the sea", f"{photos}/red.png,a wall"
    )
    library.add(photos)
    report = library.attach_captions(file)
    assert report.as_dict() == counts(captioned=2)
    assert captions(library) == {"red": ("a wall",), "blue": ("the sea",)}


def test_pictures_on_a_drive_that_is_not_there_get_captions(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    library.add(photos)
    photos.rename(tmp_path / "unplugged")
    file = said(tmp_path / "c.csv", "photos/red.png,a wall")
    assert library.attach_captions(file).as_dict() == counts(captioned=1)


def test_names_may_lead_through_links_and_up(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    library.add(photos)
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "one.png").symlink_to(photos / "red.png")
    file = said(photos / "sub" / "c.csv", "../green.png,a field", "../../link/sub/blue.png,the sea")
    library.attach_captions([file, said(tmp_path / "d.csv", "one.png,a wall")])
    assert captions(library) == {"red": ("a wall",), "green": ("a field",), "blue": ("the sea",)}


def test_rows_without_a_picture_in_the_library_are_reported_and_come_true_later(
    library: Library, photos: Path
) -> None:
    file = said(photos / "c.csv", "red.png,a wall", "later.png,a lake", "later.png,water")
    report = library.add(photos, with_captions(file))
    (problem,) = report.problems
    assert str(problem) == f"{file}:3: the library has no picture later.png"
    assert report.failed == 0
    draw(photos / "later.png", (0, 255, 255))
    report = library.refresh()
    assert report.as_dict() == counts(new=1, encoded=1, unchanged=3, captioned=1)
    assert report.problems == []
    assert captions(library) == {"red": ("a wall",), "later": ("a lake", "water")}


def test_a_changed_file_is_read_again_by_a_run_that_does_not_name_it(
    library: Library, photos: Path
) -> None:
    file = said(photos / "c.csv", "red.png,a wall", "green.png,a field")
    library.add(photos, with_captions(file))
    assert library.refresh().as_dict() == counts(unchanged=3)
    said(file, "red.png,a barn", "nowhere.png,x", seconds=5)
    report = library.refresh()
    assert report.as_dict() == counts(unchanged=3, captioned=1)
    assert len(report.problems) == 1
    assert captions(library) == {"red": ("a barn",), "green": ("a field",)}


def test_an_empty_caption_takes_those_of_a_picture_away(library: Library, photos: Path) -> None:
    file = said(photos / "c.csv", "red.png,a wall", "green.png,a field")
    library.add(photos, with_captions(file))
    said(file, "red.png,", seconds=5)
    assert library.attach_captions(file).as_dict() == counts(captioned=1)
    assert captions(library) == {"green": ("a field",)}


def test_of_several_files_the_last_one_given_holds(library: Library, photos: Path) -> None:
    first = said(photos / "a.csv", "red.png,one", "green.png,one")
    second = said(photos / "b.csv", "red.png,two")
    library.add(photos, with_captions(first, second))
    assert captions(library) == {"red": ("two",), "green": ("one",)}
    said(first, "red.png,three", "green.png,three", seconds=5)
    library.refresh()
    assert captions(library) == {"red": ("two",), "green": ("three",)}
    library.attach_captions(first)
    assert captions(library) == {"red": ("three",), "green": ("three",)}


def test_a_file_that_is_gone_leaves_its_captions(library: Library, photos: Path) -> None:
    file = said(photos / "c.csv", "red.png,a wall")
    library.add(photos, with_captions(file))
    file.unlink()
    report = library.refresh()
    assert (report.as_dict(), report.problems) == (counts(unchanged=3), [])
    assert captions(library) == {"red": ("a wall",)}


def test_a_file_that_was_gone_holds_again_when_it_is_back(library: Library, photos: Path) -> None:
    first = said(photos / "a.csv", "red.png,one")
    second = said(photos / "b.csv", "red.png,two")
    library.add(photos, with_captions(first, second))
    away = second.rename(photos / "b.away")
    said(first, "red.png,three", seconds=5)
    library.refresh()
    assert captions(library) == {"red": ("three",)}
    away.rename(second)  # as it was, with its time
    assert library.refresh().captioned == 1
    assert captions(library) == {"red": ("two",)}


def test_a_known_file_that_cannot_be_read_any_more_is_a_problem(
    library: Library, photos: Path
) -> None:
    file = said(photos / "c.csv", "red.png,a wall")
    library.add(photos, with_captions(file))
    file.write_text("something else\n")
    report = library.refresh()
    assert len(report.problems) == 1
    assert "no header" in report.problems[0].reason
    assert captions(library) == {"red": ("a wall",)}


def test_a_file_that_cannot_be_read_ends_a_run_before_it_begins(
    library: Library, encoder: FakeEncoder, photos: Path
) -> None:
    with pytest.raises(DataError, match="does not exist"):
        library.add(photos, with_captions(photos / "absent.csv"))
    assert encoder.images_seen == 0


def test_moved_pictures_keep_their_captions(library: Library, photos: Path) -> None:
    library.add(photos, with_captions(said(photos / "c.csv", "red.png,a wall")))
    shutil.move(photos / "red.png", photos / "sub" / "moved.png")
    assert library.refresh().as_dict() == counts(moved=1, unchanged=2)
    assert captions(library) == {"moved": ("a wall",)}


def test_forgotten_pictures_take_their_captions_with_them(library: Library, photos: Path) -> None:
    library.add(photos, with_captions(said(photos / "c.csv", "red.png,a wall")))
    library.forget(photos / "red.png")
    with Catalog.open(library.directory) as catalog:
        assert catalog.rows("SELECT * FROM captions") == []


def test_another_model_than_the_librarys_is_refused(library: Library, photos: Path) -> None:
    library.add(photos)
    file = said(photos / "c.csv", "red.png,a wall")
    other = opened(library.directory, FakeEncoder("other"))
    with other, pytest.raises(SpaceMismatchError):
        other.attach_captions(file)
    assert captions(library) == {}


def test_an_interrupted_run_attaches_nothing_and_the_next_one_does(
    library: Library, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = said(photos / "c.csv", "red.png,a wall")
    library.add(photos)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(attributes, "set_captions", interrupted)
        report: IngestReport = library.attach_captions(file)
    assert report.interrupted
    assert captions(library) == {}
    assert not library.attach_captions(file).interrupted
    assert captions(library) == {"red": ("a wall",)}


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        IngestOptions(fuse=weight)


def test_a_name_that_is_not_text_is_remembered(library: Library, photos: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(photos) + b"/\xff"))
    folder.mkdir()
    draw(folder / "a.png", (255, 255, 0))
    file = said(folder / "c.csv", "a.png,the sun")
    library.add(photos, with_captions(file))
    said(file, "a.png,the moon", seconds=5)
    library.refresh()
    assert captions(library) == {"a": ("the moon",)}
