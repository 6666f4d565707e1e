"""The command line of labels."""

import csv
import io
import json
import os
from pathlib import Path

import pytest
from tests.commands.conftest import Command, Process

from mmsearch.index.catalog import Catalog


def _lines(text: str) -> list[str]:
    return text.splitlines()


def test_a_folder_is_labelled_and_its_labels_are_listed(run: Command, indexed: Path) -> None:
    done = run("label", indexed, "--add", "Trip", "--add", "sea  side")
    assert (done.exit_code, done.stdout) == (0, "3 items: 6 labels given, 0 taken away\n")
    assert run("label", "--list").stdout == "3\tTrip\n3\tsea side\n"
    taken = run("label", indexed / "red.png", "--remove", "trip", "--json")
    assert json.loads(taken.stdout) == {"items": 1, "given": 0, "taken": 1, "problems": []}
    rows = json.loads(run("label", "--list", "--json").stdout)
    assert rows == [{"label": "Trip", "items": 2}, {"label": "sea side", "items": 3}]
    assert run("label", "--list", "--csv").stdout == "label,items\nTrip,2\nsea side,3\n"


def test_an_item_alone_shows_its_labels(run: Command, indexed: Path) -> None:
    run("label", indexed / "red.png", "--add", "rose; red", "--add", "a")
    red = indexed / "red.png"
    assert run("label", red).stdout == f"{red}\ta; rose; red\n"
    assert _lines(run("label", indexed).stdout)[0] == f"{indexed / 'blue.png'}\t"
    (record,) = json.loads(run("label", red, "--json").stdout)
    assert record["path"] == str(red)
    assert record["labels"][1] == {"name": "rose; red", "source": "user", "score": None}
    rows = list(csv.DictReader(io.StringIO(run("label", red, "--csv").stdout)))
    assert [(row["id"], row["label"]) for row in rows] == [
        (str(record["id"]), "a"),
        (str(record["id"]), "rose; red"),
    ]


def test_ids_and_sentences_can_be_labelled(run: Command, indexed: Path, texts: Path) -> None:
    assert run("label", "4", "5", "--add", "x").stdout.startswith("2 items: 2 labels")
    assert run("label", texts, "--add", "y").stdout.startswith("3 items: 3 labels")
    shown = run("label", "--where", "label = 'y'")
    assert _lines(shown.stdout) == ["a red rose\ty", "a green field\ty", "blue blue blue\ty"]


def test_a_condition_chooses_what_is_labelled(run: Command, indexed: Path) -> None:
    done = run("label", "--where", "name = 'red.png' or name = 'blue.png'", "--add", "x")
    assert done.stdout.startswith("2 items: 2 labels")
    both = run("label", indexed, "--where", "name = 'red.png'", "--add", "x")
    assert both.stdout == "1 item: 0 labels given, 0 taken away\n"
    wrong = run("label", "--where", "nonsense ~ 3", "--add", "x")
    assert wrong.exit_code == 2
    assert len(_lines(wrong.stderr)) == 1


def test_a_folder_of_digits_is_not_taken_for_an_item(
    run: Command, inside: Path, indexed: Path, model: Path
) -> None:
    for name in ("1", "2024"):
        (inside / name).mkdir()
        (inside / name / "copy.png").write_bytes((indexed / "red.png").read_bytes())
    assert run("index", inside / "1", inside / "2024", "--model", model).exit_code == 0
    refused = run("label", "1", "--add", "x")
    assert refused.exit_code == 2
    assert "write the path as ./1" in refused.stderr
    assert run("label", "./1", "--add", "x").exit_code == 0
    assert run("label", "2024", "--add", "x").exit_code == 0
    shown = run("label", "--where", "label = 'x'")
    assert [line.partition("\t")[0] for line in _lines(shown.stdout)] == [
        str(inside / name / "copy.png") for name in ("1", "2024")
    ]


def test_a_file_labels_and_what_it_names_in_vain_is_said_with_the_line(
    run: Command, indexed: Path
) -> None:
    file = indexed / "labels.csv"
    file.write_text("path,keywords\nred.png,rose|warm\nnone.png,x\ngreen.png,field\n")
    done = run("label", "--from", file)
    assert (done.exit_code, done.stdout) == (2, "2 items: 3 labels given, 0 taken away\n")
    assert done.stderr == f"mmsearch: error: {file}:3: the library has no picture none.png\n"
    record = json.loads(run("label", "--from", file, "--json").stdout)
    assert (record["items"], record["given"]) == (2, 0)
    assert record["problems"] == [
        {"where": f"{file}:3", "reason": "the library has no picture none.png"}
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "say what to do"),
        (["--add", "x"], "say what to label"),
        (["1", "--list"], "exclude each other"),
        (["1", "--add", " "], "empty"),
        (["99", "--add", "x"], "no item 99"),
        (["nowhere", "--add", "x"], "holds nothing"),
        (["--from", "none.csv"], "cannot read"),
        (["--list", "--json", "--csv"], "exclude each other"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    run: Command, indexed: Path, words: list[str], reason: str
) -> None:
    done = run("label", *words)
    assert done.exit_code == 2
    assert reason in done.stderr
    assert len(_lines(done.stderr)) == 1
    assert run("label", "--list").exit_code == 1


def test_a_library_without_labels_says_how_to_give_one(run: Command, indexed: Path) -> None:
    done = run("label", "--list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--add NAME" in done.stderr


def test_an_absent_library_is_not_made(run: Command, inside: Path) -> None:
    (inside / "labels.csv").write_text("path,label\n")
    for words in (["1", "--add", "x"], ["--from", "labels.csv"], ["--list"]):
        assert run("label", *words).exit_code == 2
    assert not (inside / "library").exists()


def test_a_library_that_is_written_to_is_busy(run: Command, indexed: Path) -> None:
    with Catalog.open(Path(os.environ["MMSEARCH_LIBRARY"]), write=True):
        done = run("label", "1", "--add", "x")
    assert done.exit_code == 2
    assert "writing" in done.stderr


def test_labels_are_found_by_words(run: Command, indexed: Path) -> None:
    run("label", indexed / "green.png", "--add", "Meadow")
    found = run("query", "meadow", "--paths")
    assert found.stdout == f"{indexed / 'green.png'}\n"
    assert 'the model does not know "meadow"; names, captions and labels' in found.stderr


def test_the_model_gives_labels_above_a_cosine(run: Command, indexed: Path, inside: Path) -> None:
    """The toy model knows colours: a red picture is the word red."""
    (inside / "names.txt").write_text("red\nblue\n\nRED\n")
    dry = run("label", "--auto", "names.txt", "--threshold", "0.9", "--dry-run")
    assert dry.exit_code == 0
    assert [line.split()[:5] for line in _lines(dry.stdout)] == [
        ["red", "1", "from", "0.900", "red.png"],
        ["blue", "1", "from", "0.900", "blue.png"],
    ]
    assert "dry run" in dry.stderr
    assert run("label", "--list").exit_code == 1
    done = run("label", "--auto", "names.txt", "--threshold", "0.9", "--json")
    record = json.loads(done.stdout)
    assert not record["dry_run"]
    assert [(row["label"], row["pictures"]) for row in record["labels"]] == [
        ("red", 1),
        ("blue", 1),
    ]
    assert record["labels"][0]["examples"][0]["path"] == str(indexed / "red.png")
    (shown,) = json.loads(run("label", indexed / "red.png", "--json").stdout)
    assert [(label["name"], label["source"]) for label in shown["labels"]] == [("red", "auto")]
    assert shown["labels"][0]["score"] > 0.9


def test_labels_that_fit_nothing_end_with_1(run: Command, indexed: Path, inside: Path) -> None:
    (inside / "names.txt").write_text("red\n")
    none = run("label", "--auto", "names.txt", "--threshold", "1", "--template", "green {} blue")
    assert (none.exit_code, none.stdout.split()[:2]) == (1, ["red", "0"])


def test_labels_from_the_model_are_refused_with_a_reason(
    run: Command, indexed: Path, inside: Path
) -> None:
    (inside / "names.txt").write_text("red\n")
    (inside / "empty.txt").write_text("\n\n")
    for words, said in {
        ("--auto", "names.txt"): "3 pictures",
        ("--auto", "empty.txt"): "no label",
        ("--auto", "none.txt"): "cannot be read",
        ("--auto", "names.txt", "--threshold", "7"): "from -1 to 1",
        ("--auto", "names.txt", "--template", "a photo"): "hold {} once",
        ("--auto", "names.txt", "--list"): "exclude each other",
        ("--list", "--dry-run"): "belong to --auto",
        (str(indexed), "--threshold", "0.5"): "belong to --auto",
    }.items():
        done = run("label", *words)
        assert (done.exit_code, done.stdout) == (2, ""), words
        assert said in done.stderr, words
        assert len(_lines(done.stderr)) == 1, words


def test_names_that_are_no_text_can_be_labelled(
    run: Command, process: Process, indexed: Path, model: Path
) -> None:
    odd = os.path.join(os.fsencode(indexed), b"caf\xe9\n.png")  # noqa: PTH118 - bytes
    os.rename(indexed / "red.png", odd)  # noqa: PTH104 - bytes
    assert run("index", indexed, "--model", model).exit_code == 0
    assert process("label", odd, "--add", "odd").returncode == 0
    shown = process("label", odd).stdout
    assert shown == os.fsencode(indexed) + b"/caf\xe9\\n.png\todd\n"
    assert process("label", odd, "--csv").stdout.count(odd) == 1
    (record,) = json.loads(process("label", "--where", "label = 'odd'", "--json").stdout)
    assert os.fsencode(record["path"]) == odd
