"""What chance reaches, as kept beside the index files: whole, or as if it were not there."""

import json
from pathlib import Path

import pytest
from tests.index.conftest import SPACE

from mmsearch.core import Modality, Space
from mmsearch.errors import ConfigError
from mmsearch.index.background_file import (
    NAME,
    Background,
    parse_backgrounds,
    read_backgrounds,
    write_backgrounds,
)
from mmsearch.index.checking_files import check_files
from mmsearch.index.generation import file_name

TEXT = Background(Modality.TEXT, 0.25, 320, 1000, 1200, 1)
IMAGE = Background(Modality.IMAGE, -0.5, 80, 1000, 1200, 1)


def place(directory: Path) -> Path:
    """Return where the answers of pictures are kept."""
    return directory / Path(file_name(SPACE, Modality.IMAGE, 0)).with_name(NAME)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT, IMAGE])
    assert read_backgrounds(tmp_path, SPACE, Modality.IMAGE) == [TEXT, IMAGE]
    assert read_backgrounds(tmp_path, SPACE, Modality.TEXT) == []
    assert [path.name for path in place(tmp_path).parent.iterdir()] == [NAME]


def test_a_later_file_replaces_the_one_before(tmp_path: Path) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [IMAGE])
    assert read_backgrounds(tmp_path, SPACE, Modality.IMAGE) == [IMAGE]


def test_any_flipped_byte_makes_the_file_as_if_it_were_not_there(tmp_path: Path) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])
    whole = place(tmp_path).read_bytes()
    for at in range(len(whole)):
        flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        place(tmp_path).write_bytes(flipped)
        assert read_backgrounds(tmp_path, SPACE, Modality.IMAGE) in ([], [TEXT])


@pytest.mark.parametrize("end", [0, 1, 40, -3])
def test_a_cut_file_is_as_if_it_were_not_there(tmp_path: Path, end: int) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])
    place(tmp_path).write_bytes(place(tmp_path).read_bytes()[:end])
    assert read_backgrounds(tmp_path, SPACE, Modality.IMAGE) == []


@pytest.mark.parametrize("content", ["[]", "7", "null", '{"format": 2}', "[" * 100_000, "{}"])
def test_a_file_of_something_else_is_as_if_it_were_not_there(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError):
        parse_backgrounds(content.encode())


def test_numbers_that_no_level_has_are_refused_although_the_checksum_holds(tmp_path: Path) -> None:
    for wrong in (float("nan"), 1, "0.5", None):
        with pytest.raises(ConfigError, match="threshold"):
            Background(Modality.TEXT, wrong, 1, 1, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="rows"):
        Background(Modality.TEXT, 0.5, 1, -1, 1, 1)


def test_another_space_of_the_same_place_is_not_believed(tmp_path: Path) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])
    other = Space("other", SPACE.dim, SPACE.digest[:16].ljust(64, "f"))
    assert read_backgrounds(tmp_path, other, Modality.IMAGE) == []


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(OSError, match="index"):
        write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])


def test_check_knows_the_file_and_says_when_it_is_damaged(tmp_path: Path) -> None:
    write_backgrounds(tmp_path, SPACE, Modality.IMAGE, [TEXT])
    assert list(check_files(tmp_path)) == []
    kept = json.loads(place(tmp_path).read_text())
    place(tmp_path).write_text(json.dumps({**kept, "crc": 0}))
    (finding,) = check_files(tmp_path)
    assert NAME in finding.what
    assert not finding.is_error
