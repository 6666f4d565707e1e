"""`mmsearch index --captions FILE --fuse caption=W`."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.commands.conftest import Command, Process

from mmsearch.index.failpoints import VARIABLE

PLACES = ("mid-transaction", "after-vectors", "before-commit", "after-commit")


@pytest.fixture
def captions(indexed: Path) -> Path:
    """Captions of two of the pictures."""
    return said(indexed / "c.csv", "red.png,a blue sea", "green.png,blue")


def said(file: Path, *rows: str) -> Path:
    file.write_text("\n".join(["image,caption", *rows, ""]), encoding="utf-8")
    return file


def first(run: Command, text: str) -> tuple[str, float]:
    """Return the first picture that a question finds, and its score."""
    done = run("query", text, "--json", "-k", "1")
    (hit,) = json.loads(done.stdout)
    return Path(hit["path"]).stem, hit["score"]


def counts(run: Command, *words: str | Path) -> dict[str, int]:
    done = run("index", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return {name: n for name, n in json.loads(done.stdout).items() if n}


def test_a_caption_is_found_by_what_it_means(run: Command, indexed: Path, captions: Path) -> None:
    (indexed / "blue.png").unlink()
    run("index", indexed)
    _, before = first(run, "a blue field")
    assert counts(run, "--captions", captions, "--fuse", "caption=0.5") == {
        "captioned": 2,
        "fused": 2,
    }
    _, after = first(run, "a blue field")
    assert after > before + 0.3
    # half and half of a red picture and a blue sentence
    assert first(run, "blue")[1] == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_captions_without_a_weight_are_attached_alone(run: Command, captions: Path) -> None:
    before = first(run, "blue")
    assert counts(run, "--captions", captions) == {"captioned": 2}
    assert first(run, "blue") == before


def test_the_weight_is_kept_until_another_or_none(
    run: Command, indexed: Path, captions: Path
) -> None:
    counts(run, "--captions", captions, "--fuse", "caption=0.3")
    assert counts(run) == {"unchanged": 6}
    said(captions, "red.png,a green hill", "green.png,blue")
    assert counts(run) == {"unchanged": 6, "captioned": 1, "fused": 1}
    assert counts(run, indexed, "--fuse", "caption=0.6") == {"unchanged": 3, "fused": 2}
    assert counts(run, "--fuse", "none") == {"unchanged": 6, "fused": 2}
    assert first(run, "red")[1] == pytest.approx(1.0, abs=1e-3)


def test_the_summary_counts_captions_in_words(run: Command, captions: Path) -> None:
    done = run("index", "--captions", captions, "--fuse", "caption=0.3")
    assert done.stdout.splitlines()[0] == "2 captioned, 2 fused"


def test_the_status_says_what_is_fused_of_what(run: Command, captions: Path) -> None:
    run("index", "--captions", captions)
    assert "captioned 2 images\n" in run("status").stdout
    run("index", "--fuse", "caption=0.3")
    lines = run("status").stdout
    assert "captioned 2 images, fused into 2 with weight 0.3\n" in lines
    assert f"captions  {captions}\n" in lines
    shown = json.loads(run("status", "--json").stdout)
    assert shown["captioned"] == shown["fused"] == 2
    assert shown["fuse"] == {"caption": 0.3}
    assert shown["captions"] == [str(captions)]


def test_rows_without_a_picture_are_warnings_the_first_of_them(
    run: Command, captions: Path
) -> None:
    said(captions, "red.png,blue", *(f"{n}.png,a sea" for n in range(14)))
    done = run("index", "--captions", captions)
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    assert lines[0] == (
        f"mmsearch: warning: left out: {captions}:3: the library has no picture 0.png"
    )
    assert lines[10] == "mmsearch: warning: left out: 4 more lines"
    assert len(lines) == 11


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--captions", "absent.csv"), "absent.csv does not exist"),
        (("--fuse", "0.3"), "--fuse takes caption=WEIGHT"),
        (("--fuse", "caption=1"), "at least 0 and below 1"),
    ],
)
def test_bad_words_are_one_line_and_change_nothing(
    run: Command, indexed: Path, inside: Path, words: tuple[str, ...], problem: str
) -> None:
    before = json.loads(run("status", "--json").stdout)["revision"]
    done = run("index", indexed, *words)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(run("status", "--json").stdout)["revision"] == before


def test_captions_alone_make_no_library(run: Command, tmp_path: Path) -> None:
    done = run("index", "--captions", said(tmp_path / "c.csv", "a.png,red"))
    assert done.exit_code == 2
    assert "say what to index" in done.stderr
    assert not (tmp_path / "library").exists()


def test_pictures_captions_and_weight_may_come_with_one_command(
    run: Command, photos: Path, model: Path
) -> None:
    file = said(photos / "c.csv", "red.png,blue")
    words = ("index", photos, "--captions", file, "--fuse", "caption=0.5", "--model", model)
    done = run(*words, "--json")
    shown = {name: n for name, n in json.loads(done.stdout).items() if n}
    assert shown == {"new": 3, "encoded": 3, "captioned": 1, "fused": 1}


# Killed


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_every_vector_is_wholly_one_or_the_other(
    process: Process, run: Command, captions: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, first_state = captions.parents[1] / "library", captions.parents[1] / "before"
    shutil.copytree(library, first_state)
    own = searched(library)
    words = ("index", "--captions", captions, "--fuse", "caption=0.5", "-q")
    assert run(*words).exit_code == 0
    fused = searched(library)
    assert len({name for name in own if own[name] != fused[name]}) == 2
    for nth in range(1, 20):
        shutil.rmtree(library)
        shutil.copytree(first_state, library)
        monkeypatch.setenv(VARIABLE, f"{place}:{nth}")
        killed = process(*words)
        monkeypatch.delenv(VARIABLE)
        check_whole(library, own, fused)
        assert run(*words).exit_code == 0
        assert searched(library) == fused
        assert run("check").exit_code == 0
        if killed.returncode == 0:
            break
    assert nth > 1, "nothing was killed"
    assert killed.returncode == 0, "never reached its end"


def searched(library: Path) -> dict[str, bytes]:
    """Return the bytes of the pictures' vectors by name, read without mmsearch."""
    return {name: vector for name, vector, *_ in rows(library)}


def check_whole(library: Path, own: dict[str, bytes], fused: dict[str, bytes]) -> None:
    """Compare every picture with what it is alone and with its captions."""
    for name, vector, weight, digest, kept, texts in rows(library):
        if kept is None:
            assert vector == own[name]
        else:
            assert (vector, weight, kept) == (fused[name], 0.5, own[name])
            spoken = json.dumps(texts.split("\n"), ensure_ascii=False, separators=(",", ":"))
            assert digest == hashlib.sha256(spoken.encode()).digest()


def rows(library: Path) -> list[tuple[str, bytes, float, bytes, bytes | None, str]]:
    query = """SELECT CAST(path AS TEXT), vectors_1_image.vector, weight, fused.captions,
        fused.vector, (SELECT group_concat(text, char(10)) FROM captions WHERE item_id = items.id)
        FROM items JOIN vectors_1_image ON vectors_1_image.item_id = id
        LEFT JOIN fused ON fused.item_id = id"""
    with closing(sqlite3.connect(library / "catalog.sqlite")) as connection:
        return [(Path(row[0]).stem, *row[1:]) for row in connection.execute(query)]
