"""`mmsearch duplicates`: what it prints in each form, and what it refuses."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from tests.commands.conftest import Command, Process
from tests.retrieval.test_duplicates import SPACE, row

from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, RootKind


def blots(seed: int) -> Image.Image:
    """Draw soft blots that no two seeds have in common, all of about the same mean colour."""
    values = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((480, 360), Image.Resampling.BICUBIC)


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    """A library of two copies, a smaller picture like them, and a stranger."""
    rows = [
        row("/photos/a.jpg", 0, content="a", mtime=0),
        row("/photos/b/a.jpg", 0, content="a", mtime=10**9),
        row("/photos/small.jpg", 10, size=(20, 15), mtime=2 * 10**9),
        row("/photos/other.jpg", 80),
    ]
    with Catalog.open(tmp_path / "library", write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/photos", RootKind.FOLDER)
        catalog.commit(Batch(files=tuple(rows)))
    return tmp_path / "library"


def test_lines_show_exact_groups_then_near_ones(
    run: Command, doubled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    done = run("duplicates")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        "exact: 2 files of 100 B\n"
        "  /photos/a.jpg (offline)\n"
        "  /photos/b/a.jpg (offline)\n"
        "\n"
        "near: 2 pictures\n"
        "  1.000  0       40x30    100 B  1970-01-01 00:00 /photos/a.jpg (offline)\n"
        "                                                  = /photos/b/a.jpg (offline)\n"
        "  0.985  0       20x15    100 B  1970-01-01 00:00 /photos/small.jpg (offline)\n"
    )
    assert done.stderr == (
        "mmsearch: 1 exact group, 1 copy of 100 B in all; 1 near group among 4 pictures\n"
    )


def test_json_holds_everything(run: Command, doubled: Path) -> None:
    found = json.loads(run("duplicates", "--json").stdout)
    assert {name: found[name] for name in ("compared", "unread", "cut")} == {
        "compared": 4,
        "unread": 0,
        "cut": 0,
    }
    ((exact,), (near,)) = found["exact"], found["near"]
    assert [m["path"] for m in exact["members"]] == ["/photos/a.jpg", "/photos/b/a.jpg"]
    best, small = near["members"]
    assert best["copies"] == [{"id": 2, "path": "/photos/b/a.jpg"}]
    assert small["id"] == 3
    assert (small["width"], small["height"], small["size"]) == (20, 15, 100)
    assert small["cosine"] == pytest.approx(np.cos(np.radians(10)), abs=1e-3)
    assert (small["distance"], small["offline"]) == (0, True)


def test_csv_has_a_row_an_item(run: Command, doubled: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("duplicates", "--csv").stdout)))
    assert [(r["kind"], r["group"], r["best"], r["copy"], r["id"]) for r in rows] == [
        ("exact", "1", "yes", "no", "1"),
        ("exact", "1", "no", "no", "2"),
        ("near", "2", "yes", "no", "1"),
        ("near", "2", "no", "yes", "2"),
        ("near", "2", "no", "no", "3"),
    ]


def test_null_ends_a_path_with_a_zero_byte_and_a_group_with_two(
    process: Process, doubled: Path
) -> None:
    done = process("duplicates", "-0", "--library", doubled)
    assert done.stdout == (
        b"/photos/a.jpg\0/photos/b/a.jpg\0\0/photos/a.jpg\0/photos/b/a.jpg\0/photos/small.jpg\0\0"
    )


def test_either_kind_can_be_asked_for_alone(run: Command, doubled: Path) -> None:
    assert run("duplicates", "--exact").stdout.count("near:") == 0
    assert run("duplicates", "--near").stdout.count("exact:") == 0
    assert run("duplicates", "--near", "--exact").stdout == run("duplicates").stdout


def test_limits_narrow_what_is_near(run: Command, doubled: Path) -> None:
    assert run("duplicates", "--near", "--threshold", "0.999").exit_code == 1
    assert run("duplicates", "--near", "--distance", "0", "--threshold", "0.99").exit_code == 1
    assert run("duplicates", "--near", "--distance", "0").exit_code == 0


def test_filters_leave_some_items(run: Command, doubled: Path) -> None:
    assert run("duplicates", "--under", "/photos/b").exit_code == 1
    narrowed = run("duplicates", "--where", "width > 20", "--json")
    assert len(json.loads(narrowed.stdout)["exact"]) == 1
    assert json.loads(narrowed.stdout)["near"] == []


def test_nothing_found_is_exit_code_one(run: Command, indexed: Path) -> None:
    done = run("duplicates", "--exact")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "mmsearch: 0 exact groups\n"


def test_sentences_of_two_files_are_compared_exactly(
    run: Command, indexed: Path, texts: Path
) -> None:
    more = texts.with_name("more.txt")
    more.write_text("a red rose\nsomething else\n", encoding="utf-8")
    assert run("index", "--texts", more).exit_code == 0
    done = run("duplicates", "--for", "texts")
    assert done.stdout == "exact: 2 sentences\n  a red rose\n  a red rose\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--json", "--csv"], "give one of --json, --csv and --null"),
        (["--for", "texts", "--near"], "leave out --for texts"),
        (["--exact", "--threshold", "0.5"], "leave out --exact"),
        (["--threshold", "7"], "a threshold is a cosine"),
        (["--distance", "12"], "from 0 to 11 bits"),
        (["--where", "colour = 3"], "colour"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    run: Command, doubled: Path, flags: list[str], message: str
) -> None:
    done = run("duplicates", *flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_path_that_is_no_text_is_printed_byte_for_byte(
    run: Command, process: Process, indexed: Path, tmp_path: Path
) -> None:
    odd = os.fsencode(indexed) + b"/odd \xff.png"
    shutil.copy(os.fsencode(indexed / "red.png"), odd)
    assert run("index").exit_code == 0
    done = process("duplicates", "--exact", "-0", "--library", tmp_path / "library")
    assert set(done.stdout.split(b"\0")) == {os.fsencode(indexed / "red.png"), odd, b""}
    lines = process("duplicates", "--exact", "--library", tmp_path / "library")
    assert odd + b"\n" in lines.stdout


def test_changed_copies_of_a_picture_are_found_among_others(
    run: Command, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    for seed in range(8):
        blots(seed).save(folder / f"{seed}.png")
    blots(3).resize((160, 120)).save(folder / "3 small.jpg", quality=60)
    ImageEnhance.Brightness(blots(5)).enhance(0.9).save(folder / "5 dark.png")
    shutil.copy(folder / "3.png", folder / "3 copy.png")
    assert run("index", folder, "--model", model).exit_code == 0
    found = json.loads(run("duplicates", "--json").stdout)
    assert (found["compared"], found["unread"]) == (11, 0)
    (exact,) = found["exact"]
    assert {Path(m["path"]).name for m in exact["members"]} == {"3.png", "3 copy.png"}
    near = {tuple(sorted(Path(m["path"]).stem[0] for m in g["members"])) for g in found["near"]}
    assert near == {("3", "3"), ("5", "5")}
    small = next(m for g in found["near"] for m in g["members"] if "small" in m["path"])
    assert (small["width"], small["height"]) == (160, 120)
    assert small["distance"] <= 4
