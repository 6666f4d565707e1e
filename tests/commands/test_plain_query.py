"""The flags of a query, read without typer."""

from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.choices import Cutoff, Mode, Negation
from mmsearch.commands import answering
from mmsearch.commands.application import build
from mmsearch.commands.filters import Aspect, FilterFlags
from mmsearch.commands.plain_query import SWITCHES, VALUES, Flags, Target, parse

WORDS = [
    *SWITCHES,
    *VALUES,
    *(
        [
            "a red car",
            "-",
            "--",
            "",
            "5",
            "05",
            "-3",
            "many",
            "images",
            "texts",
            "any",
            "a.png",
            "é\udcff",
        ]
    ),
    *(["0.5", "5.", ".5", "nan", "mark", "hybrid", "project", "square", "2:dog", "-:dog", "1,2"]),
    *(
        [
            "-k5",
            "--top=5",
            "--image=a.png",
            "-h",
            "--help",
            "--colour",
            "--jso",
            "-j",
            "٣",
            "9" * 5000,
        ]
    ),
]


def _typer_reads(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Flags | None:
    """Return the flags that typer hands to the work; None when it does not get there."""
    seen: list[Flags] = []

    def note(flags: Flags) -> int:
        seen.append(flags)
        return 0

    monkeypatch.setattr(answering, "answer", note)
    command: Any = typer.main.get_command(build(["search"]))
    with pytest.raises(SystemExit):
        command.main(["query", *words])
    return seen[0] if seen else None


def test_every_flag_is_read() -> None:
    words = (
        "dog --for texts -k 3 --json --csv --paths --null --online --html p.html --library l "
        "--model m --image a.png --image b.png --plus 2:x --plus y --minus z --item 3 --own "
        "--negation project --mode hybrid --min-score 0.25 --cutoff drop --explain "
        "--under a --under b --after 2024 --before 2025 --camera canon --near 1,2,3km "
        "--label cat --size 1MP.. --aspect square --where id>1 --where id<9"
    )
    assert parse(words.split()) == Flags(
        text="dog",
        image=(Path("a.png"), Path("b.png")),
        plus=("2:x", "y"),
        minus=("z",),
        item=(3,),
        own=True,
        negation=Negation.PROJECT,
        mode=Mode.HYBRID,
        min_score=0.25,
        cutoff=Cutoff.DROP,
        explain=True,
        filters=FilterFlags(
            under=(Path("a"), Path("b")),
            after="2024",
            before="2025",
            camera="canon",
            near="1,2,3km",
            label=("cat",),
            size="1MP..",
            aspect=Aspect.SQUARE,
            where=("id>1", "id<9"),
        ),
        target=Target.TEXTS,
        k=3,
        as_json=True,
        as_csv=True,
        paths=True,
        null=True,
        html=Path("p.html"),
        online=True,
        library=Path("l"),
        model="m",
    )
    assert parse(["-"]) == Flags(text="-")
    assert parse([]) == Flags()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["two", "texts"],
        ["--top=3"],
        ["-k3"],
        ["-k", "-3"],
        ["-k", "three"],
        ["-k"],
        ["--for", "videos"],
        ["--min-score", "-0.5"],
        ["--min-score", "1e3"],
        ["--min-score", "."],
        ["--min-score", "nan"],
        ["--mode", "both"],
        ["--cutoff", "0.5"],
        ["--aspect", "round"],
        ["--item", "x"],
        ["--minus", "-2:x"],
        ["--library", ""],
        ["--colour", "red"],
        ["--", "-5 degrees"],
    ],
)
def test_what_is_not_plain_is_left_to_typer(words: list[str]) -> None:
    assert parse(words) is None


def test_shell_completion_is_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MMSEARCH_COMPLETE", "complete_bash")
    assert parse(["dog"]) is None


@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_read_means_what_typer_reads(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = parse(words)
    if read is not None:
        assert read == _typer_reads(words, monkeypatch)


def test_every_flag_of_the_command_is_known_here() -> None:
    command: Any = typer.main.get_command(build(["search"]))
    options = {
        word
        for each in command.commands["query"].params
        for word in each.opts
        if word.startswith("-") and word not in {"-h", "--help"}
    }
    assert options == {*SWITCHES, *VALUES}
