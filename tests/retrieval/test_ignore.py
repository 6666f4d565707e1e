"""`.mmsearchignore`: the rules of gitignore, with git itself as the oracle."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.retrieval.ignore import FILE, IgnoreFile, is_ignored, parse, stack_above

PATHS = [
    "a.png",
    "b.png",
    "B.PNG",
    "x y.png",
    "raw/a.png",
    "raw/b.jpg",
    "raw/deep/a.png",
    "raw/deep/er/c.png",
    "other/raw/d.png",
    "other/[x].png",
    "other/back\\slash.png",
    "#a.png",
    "!a.png",
    "trailing ",
]


def left(patterns: dict[str, str], paths: list[str] = PATHS) -> set[str]:
    """Return the files that a walk down from the root reaches; patterns by folder."""
    return {path for path in paths if _reached(patterns, path)}


def _reached(patterns: dict[str, str], path: str) -> bool:
    stack: tuple[IgnoreFile, ...] = ()
    parts = path.split("/")
    for depth in range(len(parts)):
        folder = "/".join(parts[:depth])
        if folder in patterns:
            raw = f"/base/{folder}".rstrip("/").encode()
            stack = (*stack, IgnoreFile(raw, parse(patterns[folder].encode())))
        entry = f"/base/{'/'.join(parts[: depth + 1])}".encode()
        if is_ignored(stack, entry, is_folder=depth < len(parts) - 1):
            return False
    return True


@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [
        ("*.png", {p for p in PATHS if p.endswith(".png")}),
        ("raw", {"raw/a.png", "raw/b.jpg", "raw/deep/a.png", "raw/deep/er/c.png"}
         | {"other/raw/d.png"}),
        ("/raw", {"raw/a.png", "raw/b.jpg", "raw/deep/a.png", "raw/deep/er/c.png"}),
        ("a.png/", set()),
        ("raw/*.png", {"raw/a.png"}),
        ("raw/**", {"raw/a.png", "raw/b.jpg", "raw/deep/a.png", "raw/deep/er/c.png"}),
        ("**/er", {"raw/deep/er/c.png"}),
        ("raw/**/c.png", {"raw/deep/er/c.png"}),
        ("[ab].png", {"a.png", "b.png", "raw/a.png", "raw/deep/a.png"}),
        ("[!a].png", {"b.png", "raw/deep/er/c.png", "other/raw/d.png"}),
        ("[[:upper:]].*", {"B.PNG"}),
        ("\\#a.png", {"#a.png"}),
        ("\\!a.png", {"!a.png"}),
        ("# a comment\n\n   \n", set()),
        ("trailing\\ ", {"trailing "}),
        ("x\\ y.png  ", {"x y.png"}),
        ("*\n!*/\n!*.jpg", set(PATHS) - {"raw/b.jpg"}),
        ("raw\n!raw/a.png", {p for p in PATHS if "raw/" in p}),
        ("raw/*\n!raw/a.png", {"raw/b.jpg", "raw/deep/a.png", "raw/deep/er/c.png"}),
        ("[a", set()),
        ("a\\", set()),
    ],
)  # fmt: skip
def test_patterns_mean_what_gitignore_says(pattern: str, ignored: set[str]) -> None:
    assert set(PATHS) - left({"": pattern}) == ignored


def test_a_deeper_file_decides_before_a_higher_one() -> None:
    patterns = {"": "*.png", "raw": "!a.png\n", "raw/deep": "*"}
    assert left(patterns) & {p for p in PATHS if p.startswith("raw/")} == {
        "raw/a.png",
        "raw/b.jpg",
    }


def test_a_hostile_pattern_takes_no_time() -> None:
    rules = parse(b"*a" * 60 + b"b\n")
    started = time.process_time()
    assert not is_ignored((IgnoreFile(b"/r", rules),), b"/r/" + b"a" * 250, is_folder=False)
    assert time.process_time() - started < 1.0


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    assert left({"": "\ufeffraw\r\n*.png\r\n"}) == {"B.PNG", "trailing "}


def test_the_files_above_a_path_speak_for_it(tmp_path: Path) -> None:
    deep = tmp_path / "raw" / "deep"
    deep.mkdir(parents=True)
    root, picture = os.fsencode(tmp_path), os.fsencode(deep / "a.png")
    assert stack_above(root, picture) == ()
    (tmp_path / os.fsdecode(FILE)).write_text("*.png\n", encoding="utf-8")
    stack = stack_above(root, picture)
    assert stack is not None
    assert is_ignored(stack, picture, is_folder=False)
    (tmp_path / "raw" / os.fsdecode(FILE)).write_text("deep/\n", encoding="utf-8")
    assert stack_above(root, picture) is None
    assert stack_above(root, root) == ()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with the files of PATHS."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", folder], check=True, capture_output=True)
    for name in PATHS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def _left_by_git(folder: Path, patterns: dict[str, str]) -> set[str]:
    for place, text in patterns.items():
        (folder / place / ".gitignore").write_text(text, encoding="utf-8")
    listed = subprocess.run(
        ["git", "-C", folder, "-c", "core.excludesFile=", "ls-files", "-zo", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {name for name in listed.stdout.split("\0") if name and ".gitignore" not in name}


PIECES = "a b * ** / / ? .png raw deep er other [a-c] [!b] ! \\ x [ ] - **/ /** # []x] [[:alpha:]]"
pieces = st.sampled_from([*PIECES.split(" "), " "])
lines = st.lists(st.lists(pieces, max_size=5).map("".join), min_size=1, max_size=4).map("\n".join)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(top=lines, below=lines)
def test_random_patterns_leave_what_git_leaves(repository: Path, top: str, below: str) -> None:
    patterns = {"": top, "raw": below}
    assert left(patterns) == _left_by_git(repository, patterns)
