"""`mmsearch query`."""

import csv
import io
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image
from tests.commands.conftest import Command, Process
from tests.faults.processes import gone_after
from tests.retrieval.drawing import RED, draw
from tests.retrieval.onnx_models import make_model

from mmsearch.core import Negation, Vectors
from mmsearch.errors import InputError
from mmsearch.retrieval.query import Direction, combine


def test_answers_are_score_tab_path_best_first(run: Command, indexed: Path) -> None:
    done = run("query", "a red car", "--top", "2")
    assert done.exit_code == 0
    assert 'the model does not know "car"' in done.stderr
    first, second = done.stdout.splitlines()
    # "a" and "car" are unknown, 0.25 each: 1 / sqrt(1 + 0.5²) = 0.894.
    assert first == f"0.894\t{indexed / 'red.png'}"
    assert second.split("\t")[0] == "0.000"


def test_texts_are_found_by_sentences_and_pictures(run: Command, indexed: Path) -> None:
    by_text = run("query", "blue", "--for", "texts", "-k", "1")
    assert by_text.stdout == "1.000\tblue blue blue\n"
    by_picture = run("query", "--image", indexed / "red.png", "-k", "1")
    # "a" and "rose" are unknown as well: 0.8944, stored in half precision as 0.8945.
    assert by_picture.stdout == "0.895\ta red rose\n"


def test_look_alikes_are_found_when_asked_for(run: Command, indexed: Path) -> None:
    draw(indexed / "more.png", (0, 200, 0))
    run("index")
    done = run("query", "--image", indexed / "green.png", "--for", "images", "-k", "1")
    assert done.stdout == f"1.000\t{indexed / 'more.png'}\n"


def test_a_sentence_and_a_picture_are_looked_for_together(run: Command, indexed: Path) -> None:
    done = run("query", "blue", "--image", indexed / "red.png", "-k", "2")
    assert done.stdout.splitlines() == [
        f"0.707\t{indexed / 'blue.png'}",
        f"0.000\t{indexed / 'green.png'}",
    ]


def test_json_is_an_array_and_the_same_every_time(run: Command, indexed: Path) -> None:
    done = run("query", "red", "--json", "-k", "1")
    (hit,) = json.loads(done.stdout)
    path = indexed / "red.png"
    with Image.open(path) as picture:
        width, height = picture.size
    written = datetime.fromtimestamp(path.stat().st_mtime).isoformat(timespec="seconds")  # noqa: DTZ006 - local
    assert hit == {
        "rank": 1,
        "score": 1.0,
        "id": hit["id"],
        "modality": "image",
        "path": str(path),
        "date": written,
        "width": width,
        "height": height,
    }
    assert run("query", "red", "--json", "-k", "1").stdout == done.stdout
    (text,) = json.loads(run("query", "red", "--json", "-k", "1", "--for", "texts").stdout)
    assert text["text"] == "a red rose"
    assert "path" not in text


def test_csv_has_a_header(run: Command, indexed: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("query", "green", "--csv", "-k", "1").stdout)))
    assert [(row["rank"], row["score"], row["modality"]) for row in rows] == [
        ("1", "1.000000", "image")
    ]
    assert rows[0]["path"] == str(indexed / "green.png")


def test_paths_alone(run: Command, indexed: Path) -> None:
    assert run("query", "blue", "--paths", "-k", "1").stdout == f"{indexed / 'blue.png'}\n"
    assert run("query", "blue", "-0", "-k", "1").stdout == f"{indexed / 'blue.png'}\0"
    assert run("query", "blue", "--paths", "--null", "-k", "1").stdout.endswith("\0")


def test_names_that_are_not_text_pass_through_and_line_ends_are_shown_as_escapes(
    process: Process, photos: Path, model: Path
) -> None:
    for file in photos.iterdir():
        file.unlink()
    odd = os.fsencode(photos) + b"/caf\xe9\n.png"
    os.rename(draw(photos / "a.png", RED), odd)  # noqa: PTH104 - not a valid name
    assert process("index", photos, "--model", model).returncode == 0
    escaped = os.fsencode(photos) + b"/caf\xe9\\n.png"
    assert process("query", "red").stdout == b"1.000\t" + escaped + b"\n"
    assert process("query", "red", "-0").stdout == odd + b"\0"
    assert process("query", "red", "--paths").stdout == odd + b"\n"
    (hit,) = json.loads(process("query", "red", "--json").stdout)
    assert os.fsencode(hit["path"]) == odd
    assert process("query", "red", "--csv").returncode == 0
    assert process("query", "--image", odd, "-k", "1").returncode == 1  # there is no other
    assert process("status").returncode == 0
    assert process("query", "red", "--html", photos / "page.html").returncode == 0


def test_a_dash_reads_one_question_a_line(run: Command, indexed: Path) -> None:
    lines = "red\n\n  blue \n"
    done = run("query", "-", "-k", "1", stdin=lines)
    assert done.stdout.splitlines() == [
        f"1.000\t{indexed / 'red.png'}\tred",
        f"1.000\t{indexed / 'blue.png'}\tblue",
    ]
    answers = [json.loads(x) for x in run("query", "-", "--json", stdin=lines).stdout.splitlines()]
    assert [answer["query"] for answer in answers] == ["red", "blue"]
    assert [len(answer["hits"]) for answer in answers] == [3, 3]
    table = run("query", "-", "--csv", "-k", "1", stdin=lines).stdout.splitlines()
    assert table[0] == "query,rank,score,id,modality,path,text"
    assert [row.split(",")[0] for row in table[1:]] == ["red", "blue"]


def test_a_byte_order_mark_is_no_part_of_a_question(run: Command, indexed: Path) -> None:
    done = run("query", "-", "-k", "1", stdin="\ufeffred\r\n")
    assert done.stdout == f"1.000\t{indexed / 'red.png'}\tred\n"


def test_a_dash_answers_each_line_before_the_next_is_written(indexed: Path) -> None:
    command = [sys.executable, "-m", "mmsearch", "query", "-", "-k", "1", "--json"]
    pipe = subprocess.PIPE
    with gone_after(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)) as asked:
        assert asked.stdin is not None
        assert asked.stdout is not None
        for word in ("red", "blue"):
            asked.stdin.write(f"{word}\n")
            asked.stdin.flush()
            answer = json.loads(asked.stdout.readline())
            assert answer["query"] == word
            assert answer["hits"][0]["path"] == str(indexed / f"{word}.png")
        asked.stdin.close()
        assert asked.wait(timeout=300) == 0


def test_a_line_that_is_no_question_does_not_end_the_others(
    run: Command, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fussy(vectors: Vectors, weights: Sequence[float], negation: Negation) -> Direction:
        if abs(vectors[0]).argmax() == 1:  # green
            raise InputError("not this one")
        return combine(vectors, weights, negation)

    monkeypatch.setattr("mmsearch.retrieval.asking.combine", fussy)
    done = run("query", "-", "-k", "1", stdin="red\n\ngreen\nblue\n")
    assert done.exit_code == 2
    assert [line.split("\t")[2] for line in done.stdout.splitlines()] == ["red", "blue"]
    assert done.stderr == "mmsearch: error: line 3: not this one\n"
    answers = run("query", "-", "-k", "1", "--json", stdin="green\nblue\n").stdout.splitlines()
    failed, answered = map(json.loads, answers)
    assert failed == {"query": "green", "hits": [], "error": "not this one"}
    assert len(answered["hits"]) == 1


@pytest.mark.parametrize("stdin", [b"", b"\n\n"])
def test_a_dash_without_questions_is_an_input_error(
    run: Command, indexed: Path, stdin: bytes
) -> None:
    done = run("query", "-", stdin=stdin)
    assert done.exit_code == 2
    assert "no question" in done.stderr


def test_questions_that_are_not_utf8_do_no_harm(run: Command, indexed: Path) -> None:
    assert run("query", "-", stdin=b"red \xff\xfe\n").exit_code == 0


def test_a_gallery_is_written_beside_the_answers(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = run("query", "red", "--html", page)
    assert len(done.stdout.splitlines()) == 3
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 3
    assert run("query", "-", "--html", page, stdin="red\nblue\n").exit_code == 0
    assert page.read_text(encoding="utf-8").count("<h1>") == 2


def test_any_number_of_answers_may_be_asked_for(run: Command, indexed: Path) -> None:
    assert len(run("query", "red", "-k", "1000000000").stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to look for"),
        ([""], "query is empty"),
        (["  "], "query is empty"),
        (["red", "-k", "0"], "at least 1"),
        (["red", "-k", "-3"], "at least 1"),
        (["red", "-k", "many"], "--top"),
        (["red", "--for", "videos"], "--for"),
        (["red", "--colour", "blue"], "--colour"),
        (["red", "--json", "--csv"], "exclude each other"),
        (["--image", "texts.txt"], "texts.txt"),
        (["--image", "none.png"], "no such file"),
        (["--image", "."], "a folder"),
        (["red", "--html", "none/page.html"], "cannot write"),
        (["red", "--library", "none"], "mmsearch index"),
        (["red", "--model", "maxi"], "there is no model 'maxi'"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("indexed", "inside")
def test_bad_input_is_one_line_on_stderr(run: Command, arguments: list[str], message: str) -> None:
    done = run("query", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("mmsearch: error: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_model_of_another_space_is_refused_with_the_command(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "other", name="other")
    done = run("query", "red", "--model", tmp_path / "other")
    assert done.exit_code == 2
    command = done.stderr.strip().partition("mmsearch index ")[2]
    flags = f"--model {tmp_path / 'other'} --library {tmp_path / 'library'}"
    assert command == f"--reindex {flags}"
    assert run("index", *shlex.split(command)).exit_code == 0


def test_nothing_found_is_exit_code_one_with_a_hint(
    run: Command, photos: Path, texts: Path, model: Path
) -> None:
    run("index", "--texts", texts, "--model", model)
    images = run("query", "red", "--for", "images")
    assert (images.exit_code, images.stdout) == (1, "")
    assert "--for texts" in images.stderr
    texts.write_text("")
    run("index")
    empty = run("query", "red", "--json")
    assert (empty.exit_code, empty.stdout) == (1, "[]\n")
    assert "mmsearch index" in empty.stderr
    run("index", photos)
    none = run("query", "red", "--for", "texts")
    assert none.exit_code == 1
    assert "--texts FILE" in none.stderr


def test_a_damaged_library_is_exit_code_three(run: Command, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "catalog.sqlite").write_bytes(b"no database at all" * 1000)
    done = run("query", "red")
    assert done.exit_code == 3
    assert done.stderr.startswith("mmsearch: error: ")


def test_a_library_of_a_newer_version_is_exit_code_three(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    database = sqlite3.connect(tmp_path / "library" / "catalog.sqlite")
    database.execute("PRAGMA user_version = 999")
    database.close()
    for command in (["query", "red"], ["status"], ["index"], ["failures"]):
        done = run(*command)
        assert done.exit_code == 3, command
        assert "newer" in done.stderr


def test_answers_are_called_partial_while_encoding_anew_is_not_finished(
    run: Command, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "other", name="other")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmsearch.retrieval.pipeline.read_task", interrupted)
        done = run("index", "--reindex", "--model", tmp_path / "other")
    assert done.exit_code == 130
    assert "3 items have no vector of this model yet" in run("query", "red").stderr
    assert run("index", "--reindex", "--model", tmp_path / "other").exit_code == 0
    assert run("query", "red").stderr == ""


def test_what_is_not_there_now_is_left_out_when_asked(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    assert run("query", "red", "--online").stdout == run("query", "red").stdout
    indexed.rename(tmp_path / "away")
    assert run("query", "red").exit_code == 0
    done = run("query", "red", "--online")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was found among what is there now" in done.stderr
    assert run("query", "red", "--online", "--for", "texts").exit_code == 0
