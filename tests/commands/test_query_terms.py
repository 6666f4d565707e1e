"""`mmsearch query` with terms, weights, filters, cut-offs and `--explain`."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Command, Process
from tests.retrieval.drawing import draw


def _names(output: str) -> list[str]:
    return [line.split("\t")[1].rpartition("/")[2] for line in output.splitlines()]


def _scores(output: str) -> list[str]:
    return [line.split("\t")[0] for line in output.splitlines()]


def test_weighted_terms_stand_in_the_text_or_in_flags(run: Command, indexed: Path) -> None:
    # q = (2, 1, -0.5) / 2.291 = (0.873, 0.436, -0.218)
    line = run("query", "2:red +:green -:blue")
    assert _names(line.stdout) == ["red.png", "green.png", "blue.png"]
    assert _scores(line.stdout) == ["0.873", "0.436", "-0.218"]
    flags = run("query", "2:red", "--plus", "green", "--minus", "blue")
    assert flags.stdout == line.stdout
    alone = run("query", "--plus", "2:red", "--plus", "green", "--minus", "0.5:blue")
    assert alone.stdout == line.stdout


def test_every_line_of_stdin_is_read_the_same_and_has_the_flags_beside(
    run: Command, indexed: Path
) -> None:
    done = run("query", "-", "--minus", "blue", "-k", "1", stdin="2:red +:green\nitem:x\nblue:\n")
    rows = done.stdout.splitlines()
    assert rows[0] == f"0.873\t{indexed / 'red.png'}\t2:red +:green"
    assert "line 2: 'item:x' names no item" in done.stderr
    assert done.exit_code == 2
    assert len(rows) == 2


def test_pictures_and_items_are_terms_of_a_line(run: Command, indexed: Path) -> None:
    (green,) = json.loads(run("query", "green", "--json", "-k", "1").stdout)
    line = f"image:{indexed / 'red.png'} -:item:{green['id']}"
    assert _names(run("query", line, "--for", "images").stdout) == ["blue.png"]
    own = run("query", line, "--for", "images", "--own")
    assert _names(own.stdout) == ["red.png", "blue.png", "green.png"]
    assert _scores(own.stdout) == ["0.894", "0.000", "-0.447"]
    flags = run("query", "--image", indexed / "red.png", "--item", green["id"], "--for", "images")
    assert _names(flags.stdout) == ["blue.png"]


def test_any_kind_may_answer(run: Command, indexed: Path) -> None:
    done = run("query", "2:red +:blue", "--for", "any", "-k", "3")
    # Pictures 0.894, 0.447, 0; "a red rose" is 2 / sqrt 5 of 0.8945, "blue blue blue" 0.447.
    assert done.stdout.splitlines()[:2] == [f"0.894\t{indexed / 'red.png'}", "0.800\ta red rose"]
    assert _scores(done.stdout)[2] == "0.447"


def test_negation_is_chosen(run: Command, indexed: Path, tmp_path: Path) -> None:
    draw(indexed / "yellow.png", (255, 255, 0))
    run("index")
    picture = f"--image={tmp_path / 'photos' / 'yellow.png'}"
    base = ("query", picture, "--minus", "1:green", "--for", "images")
    assert _scores(run(*base, "--negation", "project").stdout)[0] == "1.000"
    # (0.707, 0.707) - (0, 1) = (0.707, -0.293), of length 0.765
    assert _scores(run(*base, "--negation", "subtract").stdout)[0] == "0.924"


def test_filters_narrow_what_may_answer(run: Command, indexed: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "sub" / "dark.png", (90, 0, 0))
    run("index")
    below = run("query", "red", "--under", indexed / "sub")
    assert _names(below.stdout) == ["dark.png"]
    some = run("query", "red", "--where", "name != 'red.png'", "-k", "1")
    assert _names(some.stdout) == ["dark.png"]
    nothing = run("query", "red", "--where", "id > 999")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "nothing was found that the filters let through" in nothing.stderr


def test_low_scores_are_left_out(run: Command, indexed: Path) -> None:
    assert _names(run("query", "red", "--min-score", "0.5").stdout) == ["red.png"]
    none = run("query", "red", "--min-score", "0.5", "--minus", "red")
    assert none.exit_code == 0
    far = run("query", "red", "--plus", "green", "--plus", "blue", "--min-score", "0.9")
    assert far.exit_code == 1
    assert "nothing was found with a score of 0.9 or more" in far.stderr


def test_what_is_no_better_than_chance_is_marked_or_dropped(run: Command, indexed: Path) -> None:
    marked = run("query", "red", "--cutoff", "mark")
    assert marked.exit_code == 0
    assert [score.endswith("?") for score in _scores(marked.stdout)] == [False, True, True]
    records = json.loads(run("query", "red", "--cutoff", "mark", "--json").stdout)
    assert [record["weak"] for record in records] == [False, True, True]
    table = run("query", "-", "--cutoff", "mark", "--csv", stdin="red\n").stdout.splitlines()
    assert table[0] == "query,rank,score,id,modality,path,text,weak"
    assert [row.rpartition(",")[2] for row in table[1:]] == ["no", "yes", "yes"]
    assert _names(run("query", "red", "--cutoff", "drop").stdout) == ["red.png"]


def test_an_explanation_goes_to_stderr_beside_lines(run: Command, indexed: Path) -> None:
    plain = run("query", "2:red -:blue", "-k", "2")
    done = run("query", "2:red -:blue", "-k", "2", "--explain")
    assert done.stdout == plain.stdout
    lines = done.stderr.splitlines()
    assert lines[0] == "terms, as coefficient (weight) and content:"
    assert lines[1:3] == ["  +0.970 (+2)  red", "  -0.243 (-0.5)  blue"]
    assert "negative terms: subtract" in lines
    assert "images: 3 vectors, all compared" in lines
    red = f"    1 +0.970 = +0.970 x 1.000 -0.243 x 0.000  {indexed / 'red.png'}"
    assert red in lines


def test_an_explanation_is_a_part_of_json(run: Command, indexed: Path) -> None:
    plain = json.loads(run("query", "2:red -:blue", "--json").stdout)
    done = run("query", "2:red -:blue", "--json", "--explain", "--under", indexed)
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert told["hits"] == plain
    explanation = told["explanation"]
    assert explanation["searched"][0]["matching"] == 3
    for hit, shares in zip(told["hits"], explanation["hits"], strict=True):
        assert shares["id"] == hit["id"]
        total = sum(term["contribution"] for term in shares["terms"])
        assert total == pytest.approx(hit["score"], abs=5e-6)
    several = run("query", "-", "--json", "--explain", stdin="red\nblue\n").stdout.splitlines()
    assert [list(json.loads(line)) for line in several] == [["query", "hits", "explanation"]] * 2


def test_an_explanation_tells_the_filter_and_what_was_left_out(run: Command, indexed: Path) -> None:
    red = indexed / "red.png"
    done = run("query", "--image", red, "--for", "images", "--under", indexed, "--explain")
    assert f"filter: 3 of 3 images: under('{indexed}')" in done.stderr
    assert "left out, as the question is made of it: item " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0:red"], "the weight 0 of '0:red' is out of range"),
        (["red -2000:blue"], "out of range"),
        (["red", "--minus", "-1:blue"], "without a sign"),
        (["red", "--plus", "-1:blue"], "give what '-1:blue' means to --minus"),
        (["red", "--plus", ""], "query is empty"),
        (["image:none.png"], "none.png"),
        (["red", "--item", "999"], "no item 999"),
        (["red", "--min-score", "7"], "from -1 to 1"),
        (["red", "--min-score", "nan"], "from -1 to 1"),
        (["red", "--where", "colour = 'red'"], "colour"),
        (["red", "--negation", "divide"], "--negation"),
        (["red -1:red"], "cancel each other out"),
        (["--image", "photos/red.png", "--mode", "text"], "words"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("indexed", "inside")
def test_bad_questions_are_one_line_on_stderr(
    run: Command, arguments: list[str], message: str
) -> None:
    done = run("query", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_page_says_what_else_was_asked(run: Command, indexed: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run(
        *("query", "red", "--minus", "blue", "--under", indexed, "--min-score", "0.1"),
        *("--html", page),
    )
    content = page.read_text(encoding="utf-8")
    assert "--minus blue" in content
    assert "--min-score 0.1" in content
    assert "--where under(" in content


@pytest.mark.parametrize(
    ("words", "heading"),
    [
        (["query", "red", "--plus", "2:green"], "<h1>red</h1>"),
        (["query", "--plus", "2:green", "--minus", "red"], "<h1>2:green, not red</h1>"),
        (["query", "--item", "1"], "<h1>item 1</h1>"),
        (["query", "--image", "photos/red.png", "--minus", "blue"], "<h1>Like this picture</h1>"),
        (["similar", "photos/red.png"], "<h1>photos/red.png</h1>"),
    ],
)
@pytest.mark.usefixtures("indexed")
def test_a_page_is_headed_with_the_question(
    run: Command, inside: Path, words: list[str], heading: str
) -> None:
    assert run(*words, "--for", "images", "--html", "page.html").exit_code == 0
    assert heading in (inside / "page.html").read_text(encoding="utf-8")


def test_a_value_may_begin_with_a_sign(run: Command, indexed: Path) -> None:
    done = run("query", "red", "--near", "-33.8,151.2,5km")
    assert (done.exit_code, done.stdout) == (1, "")
    assert _names(run("query", "red", "--min-score", "-0.5", "-k", "1").stdout) == ["red.png"]
    assert _names(run("query", "--plus", "red", "--", "-:blue").stdout)[-1] == "blue.png"


def test_a_process_of_its_own_reads_all_of_it_without_typer(
    process: Process, indexed: Path
) -> None:
    done = process("query", "2:red +:green", "--minus", "blue", "--under", indexed, "--explain")
    assert done.returncode == 0
    assert done.stdout.startswith(b"0.873\t")
    assert b"answers, as rank" in done.stderr
