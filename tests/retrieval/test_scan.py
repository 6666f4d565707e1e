import os
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.drawing import draw

from mmsearch.retrieval.paths import EVERYTHING, Filter, absolute, contains, outermost
from mmsearch.retrieval.scan import (
    Found,
    Unreadable,
    scan,
    scan_entries,
)


def look(*paths: Path, names: Filter = EVERYTHING) -> list[Found | Unreadable]:
    return list(scan([absolute(path) for path in paths], names))


def found(folder: Path, names: Filter = EVERYTHING) -> list[str]:
    """Return the names found below a folder; nothing may be unreadable."""
    entries = look(folder, names=names)
    assert all(isinstance(entry, Found) for entry in entries)
    prefix = absolute(folder) + b"/"
    return [os.fsdecode(entry.path.removeprefix(prefix)) for entry in entries]


def touch(path: Path | bytes, content: bytes = b"x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)


def test_pictures_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ["b.jpg", "a.PNG", "sub/z.webp", "sub/deep/y.gif", "asub/x.tiff", "notes.txt"]:
        touch(tmp_path / name)
    expected = ["a.PNG", "b.jpg", "asub/x.tiff", "sub/z.webp", "sub/deep/y.gif"]
    assert found(tmp_path) == expected
    assert found(tmp_path) == expected


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", b"12345")
    os.utime(tmp_path / "a.jpg", ns=(7, 1234567890123456789))
    [entry] = look(tmp_path)
    root = absolute(tmp_path)
    assert entry == Found(root + b"/a.jpg", root, 5, 1234567890123456789)


def test_hidden_names_are_left_out_unless_wanted(tmp_path: Path) -> None:
    for name in [".thumbnails/a.jpg", ".b.jpg", "c.jpg"]:
        touch(tmp_path / name)
    assert found(tmp_path) == ["c.jpg"]
    assert found(tmp_path, Filter(hidden=True)) == [".b.jpg", "c.jpg", ".thumbnails/a.jpg"]


def test_a_hidden_folder_that_is_named_is_scanned(tmp_path: Path) -> None:
    touch(tmp_path / ".secret" / "a.jpg")
    assert found(tmp_path / ".secret") == ["a.jpg"]


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("*.png", ["a.jpg", "raw/b.jpg", "raw/deep/d.jpg"]),
        ("raw", ["a.jpg", "c.png"]),
        ("raw/", ["a.jpg", "c.png"]),
        ("raw/deep", ["a.jpg", "c.png", "raw/b.jpg"]),
        ("*/b.*", ["a.jpg", "c.png", "raw/deep/d.jpg"]),
        ("nothing", ["a.jpg", "c.png", "raw/b.jpg", "raw/deep/d.jpg"]),
    ],
)
def test_globs_leave_out_names_and_paths_below_the_root(
    tmp_path: Path, glob: str, left: list[str]
) -> None:
    for name in ["a.jpg", "c.png", "raw/b.jpg", "raw/deep/d.jpg"]:
        touch(tmp_path / name)
    assert found(tmp_path, Filter(exclude=(glob,))) == left


def test_files_without_a_suffix_are_told_by_their_content(tmp_path: Path) -> None:
    draw(tmp_path / "a.png").rename(tmp_path / "picture")
    draw(tmp_path / "a.jpg").rename(tmp_path / "taken at 10.20.30")
    draw(tmp_path / "a.webp").rename(tmp_path / "x.jpg_large")
    touch(tmp_path / "README", b"text")
    touch(tmp_path / "empty", b"")
    assert found(tmp_path) == ["picture", "taken at 10.20.30", "x.jpg_large"]


def test_a_file_that_is_named_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "picture.data")
    [entry] = look(tmp_path / "picture.data")
    assert isinstance(entry, Found)
    assert entry.root == entry.path == absolute(tmp_path / "picture.data")


def test_a_file_reached_through_two_paths_is_one(tmp_path: Path) -> None:
    touch(tmp_path / "sub" / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    everything = look(
        tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.jpg", tmp_path / "link", tmp_path
    )
    assert [entry.path for entry in everything] == [absolute(tmp_path / "sub" / "a.jpg")]


def test_symlink_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "again").symlink_to(tmp_path / "sub")
    (tmp_path / "sub" / "up").symlink_to("..")
    (tmp_path / "aaa").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert found(tmp_path) == ["sub/a.jpg"]


def test_a_link_to_a_folder_above_does_not_pull_in_its_neighbours(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a.jpg")
    touch(tmp_path / "private" / "b.jpg")
    (tmp_path / "photos" / "up").symlink_to("..")
    assert found(tmp_path / "photos") == ["a.jpg"]


def test_links_to_what_lies_elsewhere_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "b.jpg")
    touch(tmp_path / "store" / "0a1b")
    draw(tmp_path / "store" / "c.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "photos" / "c.png").symlink_to(tmp_path / "store" / "c.png")
    assert found(tmp_path / "photos") == ["c.png", "disk/b.jpg"]


def test_a_file_goes_by_its_own_name_and_not_by_a_links(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "b.jpg")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "a.jpg").symlink_to("z/b.jpg")
    assert found(tmp_path) == ["z/b.jpg"]


def test_a_link_into_a_hidden_store_is_followed(tmp_path: Path) -> None:
    draw(tmp_path / ".annex" / "x.png")
    (tmp_path / "cat.png").symlink_to(".annex/x.png")
    assert found(tmp_path) == ["cat.png"]


def test_dangling_links_are_reported_when_they_promise_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "folder").symlink_to("nowhere")
    entries = look(tmp_path)
    assert [entry.reason for entry in entries if isinstance(entry, Unreadable)] == [
        "a link that leads nowhere"
    ]


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.jpg")
        yield tmp_path / "socket.jpg"


def test_fifos_and_sockets_are_passed_over_and_reported(tmp_path: Path, endpoint: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "no-picture")
    assert not any(isinstance(entry, Found) for entry in look(tmp_path))
    assert [entry.reason for entry in look(tmp_path) if isinstance(entry, Unreadable)] == [
        "not a file or folder but a FIFO",
        "not a file or folder but a socket",
    ]
    entries = look(tmp_path / "pipe.jpg", endpoint, Path(os.devnull))
    assert [entry.reason for entry in entries if isinstance(entry, Unreadable)] == [
        "not a file or folder but a FIFO",
        "not a file or folder but a socket",
        "not a file or folder but a device",
    ]


def test_names_that_are_not_text_are_found(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    names = [b"caf\xe9.jpg", b"line\nbreak.jpg", b"tab\t.jpg", b" .jpg", b"\xff\xfe/\x80.png"]
    for name in names:
        touch(os.path.join(folder, name))  # noqa: PTH118
    entries = look(tmp_path)
    assert sorted(entry.path for entry in entries) == sorted(folder + b"/" + n for n in names)


def test_composed_and_decomposed_names_are_two_files(tmp_path: Path) -> None:
    touch(tmp_path / unicodedata.normalize("NFC", "é.jpg"))
    touch(tmp_path / unicodedata.normalize("NFD", "é.jpg"))
    assert len(look(tmp_path)) == 2


def test_the_longest_names_are_found(tmp_path: Path) -> None:
    touch(tmp_path / ("x" * 251 + ".jpg"))
    assert len(found(tmp_path)[0]) == 255


def test_folders_deeper_than_a_path_can_be_long_are_reported(tmp_path: Path) -> None:
    touch(tmp_path / "zz.jpg")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    entries = look(tmp_path)
    assert [entry.path for entry in entries if isinstance(entry, Found)] == [
        absolute(tmp_path) + b"/zz.jpg"
    ]
    assert [e.reason for e in entries if isinstance(e, Unreadable)] == ["file name too long"]


def test_a_folder_that_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "b/3.jpg"):
        touch(tmp_path / name)
    entries = scan([absolute(tmp_path)])
    first = next(entries)
    (tmp_path / "b" / "2.jpg").unlink()
    (tmp_path / "b" / "3.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert first.path.endswith(b"a/1.jpg")
    assert list(entries) == []


def test_a_file_that_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        touch(tmp_path / name)
    entries = scan([absolute(tmp_path)])
    next(entries)
    (tmp_path / "2.jpg").unlink()
    assert list(entries) == []


def test_a_path_that_is_absent_is_reported(tmp_path: Path) -> None:
    [entry] = look(tmp_path / "absent")
    assert isinstance(entry, Unreadable)
    assert entry.reason == "no such file or directory"


SCAN_AS_NOBODY = """
import os, sys
from mmsearch.retrieval.scan import Unreadable, scan
from mmsearch.retrieval.decode import read_image
from mmsearch.errors import DecodeError
from PIL import Image
os.chdir("/")
Image.new("RGB", (2, 2)).save(sys.argv[1] + "/a.png")
read_image(sys.argv[1] + "/a.png")  # loads Pillow's plugins while they can be read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for entry in scan([os.fsencode(sys.argv[1])]):
    reason = entry.reason if isinstance(entry, Unreadable) else "found"
    print(os.path.basename(entry.path).decode(), reason)
    if reason == "found":
        try:
            read_image(entry.path)
        except DecodeError as error:
            print(error.reason)
"""


def test_what_may_not_be_entered_is_reported_and_the_scan_goes_on(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "locked" / "b.png")
    draw(tmp_path / "z.png").chmod(0)
    (tmp_path / "locked").chmod(0)
    for folder in [tmp_path, *tmp_path.parents[:2]]:  # so that another user gets as far as here
        folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-c", SCAN_AS_NOBODY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (tmp_path / "locked").chmod(0o700)
    if done.stdout == f"{tmp_path.name} permission denied\n":
        pytest.skip(f"another user cannot reach {tmp_path}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "a.png found",
        "z.png found",
        "permission denied",
        "locked permission denied",
    ]


def test_what_contains_what_is_decided_by_whole_names() -> None:
    assert contains(b"/a", b"/a/b")
    assert contains(b"/a", b"/a")
    assert contains(b"/", b"/a")
    assert not contains(b"/a", b"/ab")
    assert outermost([b"/a/b", b"/a", b"/ab", b"/a"]) == [b"/a", b"/ab"]


def write_rules(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".mmsearchignore").write_text(text, encoding="utf-8")


def test_ignore_files_leave_out_names_below_their_folder(tmp_path: Path) -> None:
    for name in ["a.jpg", "b.png", "raw/a.jpg", "raw/b.png", "raw/keep/c.jpg", "other/d.jpg"]:
        touch(tmp_path / name)
    write_rules(tmp_path, "*.png\n/other/\n")
    write_rules(tmp_path / "raw", "!b.png\na.jpg\n")
    assert found(tmp_path) == ["a.jpg", "raw/b.png", "raw/keep/c.jpg"]
    assert found(tmp_path, Filter(exclude=("keep",), hidden=True)) == ["a.jpg", "raw/b.png"]


def test_an_ignore_file_that_cannot_be_read_leaves_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.jpg")
    touch(tmp_path / "raw" / "b.jpg")
    write_rules(tmp_path / "raw", "b.jpg\n")

    def forbidden(folder: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mmsearch.retrieval.ignore.read_ignore_file", forbidden)
    entries = look(tmp_path)
    root = absolute(tmp_path)
    assert [entry.path for entry in entries] == [root + b"/a.jpg", root + b"/raw"]
    assert isinstance(entries[1], Unreadable)


def test_ignore_files_above_a_named_path_count_from_its_base(tmp_path: Path) -> None:
    for name in ["raw/a.jpg", "raw/b.png", "raw/deep/c.jpg"]:
        touch(tmp_path / name)
    write_rules(tmp_path, "*.png\ndeep/\n")
    root = absolute(tmp_path)
    for path, names in [(b"/raw", [b"/raw/a.jpg"]), (b"/raw/deep", []), (b"/raw/b.png", [])]:
        entries = scan([root + path], bases={root + path: root})
        assert [entry.path for entry in entries] == [root + name for name in names]
    assert len(list(scan([root + b"/raw"]))) == 3


def test_forgotten_paths_are_passed_over(tmp_path: Path) -> None:
    for name in ["a.jpg", "b.jpg", "raw/a.jpg"]:
        touch(tmp_path / name)
    root = absolute(tmp_path)
    names = Filter(forgotten=frozenset({root + b"/a.jpg", root + b"/raw"}))
    assert found(tmp_path, names) == ["b.jpg"]


@pytest.mark.parametrize(
    ("touched", "names"),
    [
        (["a.jpg"], ["a.jpg"]),
        (["sub"], ["sub/b.jpg", "sub/deep/c.jpg"]),
        (["sub/deep/c.jpg", "a.jpg", "none.jpg", "none/x.jpg"], ["a.jpg", "sub/deep/c.jpg"]),
        (["notes.txt", ".hidden/d.jpg", "out/e.jpg", "out"], []),
        (["elsewhere"], ["elsewhere/f.jpg"]),
    ],
)
def test_touched_entries_are_found_as_a_whole_scan_would(
    tmp_path: Path, touched: list[str], names: list[str]
) -> None:
    photos = tmp_path / "photos"
    for name in ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg", "notes.txt", ".hidden/d.jpg", "out/e.jpg"]:
        touch(photos / name)
    touch(tmp_path / "disk" / "f.jpg")
    (photos / "elsewhere").symlink_to(tmp_path / "disk")
    write_rules(photos, "out\n")
    root = absolute(photos)
    entries = scan_entries([root + b"/" + os.fsencode(name) for name in touched], [root])
    assert sorted(entry.path for entry in entries) == [root + b"/" + n.encode() for n in names]
