"""What file systems do to a library: odd names, odd places, and changes at a bad moment.

What a scan alone makes of links, FIFOs, sockets, devices and vanishing folders is in
test_scan.py; offline roots, moves and copies are in test_ingest.py; pictures that are odd inside
in test_hostile_pictures.py; how odd names are printed in tests/commands/test_odd_names.py.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts, opened
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Pixels, Vectors
from mmsearch.errors import DecodeError, InputError
from mmsearch.retrieval import reading
from mmsearch.retrieval.decode import open_picture
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.scan import Found

YELLOW, CYAN, WHITE = (255, 255, 0), (0, 255, 255), (255, 255, 255)
PATH_MAX = 4096  # Linux's, the terminating zero included
CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A red and a green picture."""
    draw(tmp_path / "photos" / "green.png", GREEN)
    return draw(tmp_path / "photos" / "red.png", RED).parent


def best(library: Library, word: str) -> bytes:
    """Return the path of the best answer."""
    return os.fsencode(library.search(word, k=1)[0].item.path or "")


def names(library: Library) -> set[str]:
    """Return the names of all pictures of the library."""
    hits = library.search("white", k=1000)
    return {os.path.basename(hit.item.path or "") for hit in hits}  # noqa: PTH119 - a string


def set_time(path: Path, seconds: int) -> None:
    """Set the time of a file's last change."""
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9))


# What size and time say


def test_a_time_that_goes_backwards_is_a_change(
    library: Library, encoder: FakeEncoder, photos: Path
) -> None:
    set_time(photos / "red.png", 1_700_000_000)
    library.add(photos)
    set_time(draw(photos / "red.png", BLUE), 1_600_000_000)
    assert library.add(photos).as_dict() == counts(changed=1, unchanged=1, encoded=1)
    assert best(library, "blue").endswith(b"red.png")
    assert encoder.images_seen == 3


def test_another_size_under_the_same_time_is_a_change(library: Library, photos: Path) -> None:
    set_time(photos / "red.png", 1_700_000_000)
    library.add(photos)
    set_time(draw(photos / "red.png", BLUE, (40, 30)), 1_700_000_000)
    assert library.add(photos).as_dict() == counts(changed=1, unchanged=1, encoded=1)


def test_other_content_of_the_same_size_and_time_goes_unseen_until_the_time_changes(
    library: Library, photos: Path
) -> None:
    bitmap = draw(photos / "one.bmp", YELLOW)
    set_time(bitmap, 1_700_000_000)
    library.add(photos)
    set_time(draw(bitmap, BLUE), 1_700_000_000)
    assert library.add(photos).as_dict() == counts(unchanged=3)
    set_time(bitmap, 1_700_000_001)
    assert library.add(photos).as_dict() == counts(changed=1, unchanged=2, encoded=1)
    assert best(library, "blue").endswith(b"one.bmp")


# What takes a file's place


def test_a_picture_that_became_a_folder_and_back_is_followed(
    library: Library, encoder: FakeEncoder, photos: Path
) -> None:
    library.add(photos)
    (photos / "red.png").unlink()
    draw(photos / "red.png" / "inside.png", BLUE)
    assert library.add(photos).as_dict() == counts(new=1, gone=1, unchanged=1, encoded=1)
    assert names(library) == {"inside.png", "green.png"}
    (photos / "red.png" / "inside.png").rename(photos / "saved.png")
    (photos / "red.png").rmdir()
    (photos / "saved.png").rename(photos / "red.png")
    assert library.add(photos).as_dict() == counts(moved=1, unchanged=1)
    assert names(library) == {"red.png", "green.png"}
    assert encoder.images_seen == 3


def test_a_named_picture_that_became_a_folder_and_back_is_followed(
    library: Library, tmp_path: Path
) -> None:
    place = draw(tmp_path / "place.png", RED)
    library.add(place)
    place.unlink()
    draw(place / "green.png", GREEN)
    assert library.add(()).as_dict() == counts(new=1, gone=1, encoded=1)
    shutil.rmtree(place)
    draw(place, BLUE)
    assert library.add(()).as_dict() == counts(new=1, gone=1, encoded=1)
    assert names(library) == {"place.png"}


def test_a_folder_that_became_a_file_between_scan_and_reading_is_no_failure(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(photos / "sub" / "blue.png", BLUE)

    def replace() -> None:
        shutil.rmtree(photos / "sub")
        (photos / "sub").write_bytes(b"")

    before_reading(monkeypatch, b"blue.png", replace)
    assert library.add(photos).as_dict() == counts(new=2, encoded=2)
    assert library.catalog.failures() == []


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        (photos / "red.png").unlink()
        os.mkfifo(photos / "red.png")

    before_reading(monkeypatch, b"red.png", replace)
    report = library.add(photos)
    assert report.as_dict() == counts(new=1, failed=1, encoded=1)
    assert [failure.reason for failure in report.failures] == ["not a file"]


def test_a_pipe_that_takes_a_known_files_place_before_its_digest_is_not_waited_for(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(photos)
    set_time(draw(photos / "red.png", BLUE), 1_700_000_000)
    real = reading.digest_file

    def digest(found: Found) -> str | None:
        (photos / "red.png").unlink()
        os.mkfifo(photos / "red.png")
        return real(found)

    monkeypatch.setattr("mmsearch.retrieval.ingest.digest_file", digest)
    assert library.add(photos).as_dict() == counts(unchanged=1, failed=1)


def before_reading(
    monkeypatch: pytest.MonkeyPatch, name: bytes, happens: Callable[[], object]
) -> None:
    """Let something happen between the scan and the reading of one file."""

    def opened(path: bytes) -> BufferedReader:
        if path.endswith(name):
            happens()
        return open_picture(path)

    monkeypatch.setattr(reading, "open_picture", opened)


def test_a_file_that_grows_while_it_is_read_is_whole_in_the_end(
    library: Library, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(photos / "blue.png", BLUE, (400, 300)).read_bytes()
    (photos / "blue.png").write_bytes(data[:50])
    with monkeypatch.context() as patch:
        before_reading(patch, b"blue.png", lambda: append(photos / "blue.png", data[50:90]))
        assert library.add(photos).as_dict() == counts(new=2, failed=1, encoded=2)
    append(photos / "blue.png", data[90:])
    assert library.add(photos).as_dict() == counts(new=1, unchanged=2, encoded=1)
    assert library.catalog.failures() == []
    assert best(library, "blue").endswith(b"blue.png")


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_file_that_changed_between_scan_and_reading_is_looked_at_again(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_reading(patch, b"red.png", lambda: draw(photos / "red.png", BLUE, (30, 30)))
        assert library.add(photos).as_dict() == counts(new=2, encoded=2)
    assert best(library, "blue").endswith(b"red.png")
    assert library.add(photos).as_dict() == counts(unchanged=2)  # the content is the one it knows


# Names and paths


def test_composed_and_decomposed_names_are_never_confused(
    library: Library, encoder: FakeEncoder, tmp_path: Path
) -> None:
    one, other = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    draw(tmp_path / "photos" / one, RED)
    draw(tmp_path / "photos" / other, BLUE)
    if len(os.listdir(tmp_path / "photos")) == 1:  # noqa: PTH208 - names
        pytest.skip("this file system takes the two names for one")
    assert library.add(tmp_path / "photos").as_dict() == counts(new=2, encoded=2)
    assert best(library, "red").endswith(b"/" + one.encode())
    assert best(library, "blue").endswith(b"/" + other.encode())
    swap(tmp_path / "photos" / one, tmp_path / "photos" / other)
    report = library.add(tmp_path / "photos")
    assert (report.new, report.gone, report.encoded) == (0, 0, 0)
    assert best(library, "blue").endswith(b"/" + one.encode())
    assert best(library, "red").endswith(b"/" + other.encode())
    (tmp_path / "photos" / other).unlink()
    assert library.add(tmp_path / "photos").gone == 1
    assert encoder.images_seen == 2


def swap(one: Path, other: Path) -> None:
    """Exchange two files, with times that differ from before."""
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    set_time(one, 1_700_000_001)
    set_time(other, 1_700_000_002)


def test_a_rename_of_case_alone_is_a_move(
    library: Library, encoder: FakeEncoder, photos: Path
) -> None:
    library.add(photos)
    number = library.search("red", k=1)[0].item.id
    (photos / "red.png").rename(photos / "RED.PNG")
    report = library.add(photos)
    assert report.as_dict() == counts(moved=1, unchanged=1)
    assert library.search("red", k=1)[0].item.id == number
    assert names(library) == {"RED.PNG", "green.png"}
    assert encoder.images_seen == 2


def test_names_of_any_bytes_are_indexed_under_those_bytes(library: Library, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)  # noqa: PTH102 - bytes
    odd = {
        b"\xff\xfe\x80.png": RED,
        b"two\nlines\t.png": GREEN,
        b"x" * 251 + b".png": BLUE,
        "\u202egnp.red\u202c\x1b[31m.png".encode(): YELLOW,
        b"-rf *;$(x)`'\"\\.png": CYAN,
    }
    for name, colour in odd.items():
        os.rename(draw(tmp_path / "drawn.png", colour), folder + b"/" + name)  # noqa: PTH104
    assert library.add(tmp_path / "photos").as_dict() == counts(new=5, encoded=5)
    words = {RED: "red", GREEN: "green", BLUE: "blue", YELLOW: "yellow", CYAN: "cyan"}
    for name, colour in odd.items():
        assert best(library, words[colour]) == folder + b"/" + name
    assert library.add(folder).as_dict() == counts(unchanged=5)


def test_a_path_as_long_as_paths_can_be_is_indexed_and_a_longer_one_reported(
    library: Library, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    draw(tmp_path / "photos" / "first.png", RED)
    draw(tmp_path / "photos" / "zlast.png", BLUE)
    picture = draw(tmp_path / "drawn.png", GREEN).read_bytes()
    here = os.open(tmp_path / "photos", os.O_RDONLY)
    length = len(os.fsencode(tmp_path / "photos"))
    try:
        while length < PATH_MAX + 500:
            left = PATH_MAX - 1 - length - len("/x.png")  # after this folder's own slash and name
            name = "d" * (left - 1 if 1 < left <= 200 else 150)
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here, length = below, length + 1 + len(name)
            if length + len("/x.png") in (PATH_MAX - 1, PATH_MAX + 200) or length > PATH_MAX:
                write_at(here, "x.png", picture)
    finally:
        os.close(here)
    report = library.add(tmp_path / "photos")
    assert (report.new, report.encoded) == (3, 3)
    assert {failure.reason for failure in report.failures} == {"file name too long"}
    assert len(best(library, "green")) == PATH_MAX - 1
    again = library.add(tmp_path / "photos")
    assert (again.unchanged, again.gone, again.new) == (3, 0, 0)


def write_at(folder: int, name: str, data: bytes) -> None:
    """Write a file into a folder that no path may reach."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder)
    os.write(file, data)
    os.close(file)


def test_a_path_with_a_zero_byte_is_an_input_error(library: Library) -> None:
    with pytest.raises(InputError, match="no file can have the name"):
        library.add("photos\0.png")


# Roots


def test_a_root_by_any_other_spelling_is_the_same_root(
    library: Library, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "photos" / "sub").mkdir()
    library.add(photos)
    spellings: list[str | bytes] = [
        f"{photos}/",
        f"{photos}//.",
        "photos",
        "./photos/../photos/sub/..",
        "link",
        b"link/",
        str(tmp_path / "link"),
    ]
    for spelling in spellings:
        assert library.add(spelling).as_dict() == counts(unchanged=2)
    assert library.add([*spellings, photos / "red.png", "link/green.png"]).unchanged == 2
    assert [root.path for root in library.catalog.roots()] == [str(photos)]


def test_a_link_out_of_the_root_is_followed_until_its_target_is_a_root_itself(
    library: Library, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "disk" / "blue.png", BLUE)
    (photos / "disk").symlink_to(tmp_path / "disk")
    assert library.add(photos).as_dict() == counts(new=3, encoded=3)
    assert best(library, "blue") == os.fsencode(photos / "disk" / "blue.png")
    assert library.add(tmp_path / "disk").new == 1
    report = library.add(())
    assert (report.gone, report.encoded) == (1, 0)
    assert library.add(()).as_dict() == counts(unchanged=3)
    assert best(library, "blue") == os.fsencode(tmp_path / "disk" / "blue.png")
    assert encoder.images_seen == 3


@pytest.fixture
def bound(tmp_path: Path, photos: Path) -> Iterator[Path]:
    """The photos under a second name, by a bind mount."""
    other = tmp_path / "bound"
    other.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only the superuser can mount")
    command = ["mount", "--bind", str(photos), str(other)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield other
    finally:
        subprocess.run(["umount", str(other)], check=True)


def test_a_folder_under_two_mount_points_is_encoded_once_and_settles(
    library: Library, encoder: FakeEncoder, photos: Path, bound: Path
) -> None:
    assert library.add(photos).as_dict() == counts(new=2, encoded=2)
    library.add(bound)
    library.add(())
    settled = library.add(())
    assert (settled.new, settled.gone, settled.moved, settled.encoded) == (0, 0, 0, 0)
    assert best(library, "red").endswith(b"red.png")
    assert encoder.images_seen == 2


# Libraries among the pictures


class Intruder(FakeEncoder):
    """Tries, while pictures are encoded, to lock the catalog from another process."""

    def __init__(self, catalog: Path) -> None:
        super().__init__()
        self.locked: list[bool] = []
        self._catalog = catalog

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Note whether SQLite's shared lock still holds, and encode as the fake does."""
        done = subprocess.run([sys.executable, "-c", LOCK, self._catalog], check=False)
        self.locked.append(done.returncode == 1)
        return super().encode_images(images)


LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
    except OSError:
        sys.exit(1)
"""


def test_a_library_among_the_pictures_is_not_touched_by_their_scan(
    photos: Path, tmp_path: Path
) -> None:
    catalog = photos / "library" / "catalog.sqlite"
    intruder = Intruder(catalog)
    with opened(photos / "library", intruder) as library:
        draw(tmp_path / "links" / "blue.png", BLUE)
        (tmp_path / "links" / "no suffix").symlink_to(catalog)
        (tmp_path / "links" / "catalog.png").symlink_to(catalog)
        report = library.add(tmp_path / "links")
        assert report.as_dict() == counts(new=1, failed=1, encoded=1)
        assert [failure.reason for failure in report.failures] == ["the catalog of a library"]
        assert library.add(photos).as_dict() == counts(new=2, encoded=2)
        with pytest.raises(DecodeError, match="the catalog of a library"):
            library.search(catalog)
        assert library.add([draw(tmp_path / "white.png", WHITE), catalog]).failed == 1
        assert intruder.locked == [True, True, True]
        assert library.add(photos).as_dict() == counts(unchanged=2)


def test_the_catalog_of_another_library_is_no_picture(
    library: Library, photos: Path, encoder: FakeEncoder
) -> None:
    with opened(photos / "other", FakeEncoder()) as other:
        other.add(photos)
        assert library.add(photos).as_dict() == counts(new=2, encoded=2)
        report = library.add(photos / "other" / "catalog.sqlite")
        assert [failure.reason for failure in report.failures] == ["the catalog of a library"]
        assert library.add(photos / "other").as_dict() == counts()


# Permission


AS_NOBODY = """
import hashlib, json, os, sys
from pathlib import Path
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.conftest import opened
from mmsearch.errors import InputError
from mmsearch.retrieval import backfill, pipeline
from mmsearch.retrieval.decode import decode_bytes, read_image, read_open
from mmsearch.retrieval.guard import Decoded

class InThisProcess:
    # nobody may not be allowed to start the interpreter that runs the tests
    def __init__(self, preprocessing, limits): self.preprocessing = preprocessing
    def __enter__(self): return self
    def __exit__(self, *error): ...
    def decode(self, file, suffix):
        data = read_open(os.fdopen(os.dup(file), "rb"))
        return Decoded(hashlib.sha256(data).hexdigest(), decode_bytes(data, self.preprocessing))

pipeline.GuardedDecoder = backfill.GuardedDecoder = InThisProcess
folder, place = Path(sys.argv[1]), Path(sys.argv[2])
read_image(folder / "green.png")  # loads Pillow's plugins while they can be read
with opened(place / "first", FakeEncoder()) as library:
    library.add(folder)
    os.chdir("/")
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        library.add(folder)
    except InputError as error:
        print(str(error).replace(str(place), ""))
with opened(place / "own", FakeEncoder()) as library:
    for _ in range(2):
        report = library.add(folder)
        print(json.dumps([report.new, report.unchanged, report.failed, report.encoded]))
    for failure in report.failures:
        print(os.path.basename(failure.path).decode(), failure.reason)
"""


def test_what_may_not_be_read_is_reported_and_the_rest_indexed(photos: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser can become somebody else")
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # which anybody may enter
    try:
        folder = shutil.copytree(photos, place / "photos")
        draw(folder / "locked" / "blue.png", BLUE)
        draw(folder / "secret.png", YELLOW)
        place.chmod(0o777)
        (folder / "secret.png").chmod(0)
        (folder / "locked").chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(folder), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    finally:
        shutil.rmtree(place)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "cannot write to the library /first: Permission denied",
        "[2, 0, 2, 2]",
        "[0, 2, 2, 0]",
        "locked permission denied",
        "secret.png permission denied",
    ]
