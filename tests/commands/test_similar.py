"""`mmsearch similar`."""

import json
import os
from pathlib import Path

import pytest
from tests.commands.conftest import Command
from tests.retrieval.drawing import draw


@pytest.fixture
def shades(indexed: Path, run: Command) -> Path:
    """Red, green and blue, and what lies between red and the others."""
    draw(indexed / "orange.png", (255, 90, 0))
    draw(indexed / "purple.png", (255, 0, 140))
    assert run("index").exit_code == 0
    return indexed


def _names(output: str) -> list[str]:
    return [os.path.basename(line.split("\t")[1]) for line in output.splitlines()]  # noqa: PTH119


def test_the_most_similar_come_first_without_the_item_itself(run: Command, shades: Path) -> None:
    done = run("similar", shades / "red.png")
    assert done.exit_code == 0
    assert _names(done.stdout) == ["orange.png", "purple.png", "blue.png", "green.png"]
    # (1, 0.353, 0) / 1.060 and (1, 0, 0.549) / 1.141, in half precision
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[:2]] == ["0.943", "0.876"]
    assert _names(run("similar", shades / "red.png", "-k", "1").stdout) == ["orange.png"]


def test_an_item_is_named_by_its_id_or_path(
    run: Command, shades: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (red,) = json.loads(run("query", "red", "--json", "-k", "1").stdout)
    expected = run("similar", shades / "red.png").stdout
    assert run("similar", str(red["id"])).stdout == expected
    monkeypatch.chdir(shades)
    assert run("similar", "red.png").stdout == expected
    assert run("similar", "../photos/./red.png").stdout == expected


def test_of_several_items_what_is_like_all_comes_first(run: Command, shades: Path) -> None:
    done = run("similar", shades / "red.png", shades / "blue.png")
    assert _names(done.stdout) == ["purple.png", "orange.png", "green.png"]


def test_answers_are_of_the_kind_that_the_item_is_unless_asked(run: Command, shades: Path) -> None:
    (rose,) = json.loads(run("query", "red", "--for", "texts", "--json", "-k", "1").stdout)
    like_a_text = run("similar", str(rose["id"]))
    assert sorted(line.split("\t")[1] for line in like_a_text.stdout.splitlines()) == [
        "a green field",
        "blue blue blue",
    ]
    pictures = run("similar", str(rose["id"]), "--for", "images", "-k", "1")
    assert _names(pictures.stdout) == ["red.png"]
    either = run("similar", shades / "red.png", "--for", "any", "-k", "2")
    assert sorted(_names(either.stdout)) == ["a red rose", "orange.png"]


def test_filters_and_forms_are_those_of_a_query(run: Command, shades: Path) -> None:
    red = shades / "red.png"
    kept = run("similar", red, "--where", "name != 'orange.png'", "--paths", "-k", "1")
    assert kept.stdout == f"{shades / 'purple.png'}\n"
    records = json.loads(run("similar", red, "--json", "--explain", "--min-score", "0.9").stdout)
    assert [os.path.basename(hit["path"]) for hit in records["hits"]] == ["orange.png"]  # noqa: PTH119
    assert records["explanation"]["own_left_out"]


def test_no_network_is_run(run: Command, shades: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a network was run")

    monkeypatch.setattr("mmsearch.retrieval.encoder.OnnxEncoder.encode_images", never)
    monkeypatch.setattr("mmsearch.retrieval.encoder.OnnxEncoder.encode_texts", never)
    assert run("similar", shades / "red.png").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ITEM"),
        (["999"], "no item 999"),
        (["photos"], "photos is not in the library"),
        (["texts.txt"], "texts.txt is not in the library"),
        (["none.png"], "mmsearch query --image"),
        (["photos/red.png", "999"], "no item 999"),
        (["photos/red.png", "--top", "0"], "at least 1"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("indexed", "inside")
def test_bad_input_is_one_line_on_stderr(run: Command, arguments: list[str], message: str) -> None:
    done = run("similar", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_picture_alone_has_nothing_similar(run: Command, photos: Path, model: Path) -> None:
    for name in ("green", "blue"):
        (photos / f"{name}.png").unlink()
    run("index", photos, "--model", model)
    done = run("similar", photos / "red.png")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was found" in done.stderr
