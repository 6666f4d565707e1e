import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from mmsearch.core import Matches


@pytest.fixture
def measuring() -> Any:
    return import_module("measuring")


def test_a_process_is_measured_apart_from_the_memory_of_whoever_starts_it(measuring: Any) -> None:
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])

    run = measuring.measure([sys.executable, "-I", "-S", "-c", "print('here')"])

    assert run.output == "here\n"
    assert 0 < run.peak < 100_000_000
    assert 0 < run.cpu < 60
    assert run.wall > 0


def test_memory_that_a_process_uses_is_in_its_peak(measuring: Any) -> None:
    code = "b = bytearray(150_000_000); b[::4096] = b'x' * len(b[::4096])"

    assert measuring.measure([sys.executable, "-c", code]).peak > 150_000_000


def test_an_unexpected_exit_code_is_an_error_that_shows_what_was_said(measuring: Any) -> None:
    code = "import sys; print('no luck', file=sys.stderr); sys.exit(3)"

    with pytest.raises(measuring.FailedError, match=r"ended with 3: no luck"):
        measuring.measure([sys.executable, "-c", code])
    assert measuring.measure([sys.executable, "-c", code], codes=(3,)).output == ""


def test_commands_take_turns_and_the_first_round_does_not_count(measuring: Any) -> None:
    asked: list[tuple[str, int]] = []

    def command(name: str) -> Any:
        def run(turn: int) -> Any:
            asked.append((name, turn))
            return measuring.Run(wall=100.0 if turn == 0 else turn, cpu=1.0, peak=turn, output="")

        return run

    found = measuring.alternate({"one": command("one"), "two": command("two")}, 3)

    assert asked == [(name, turn) for turn in range(4) for name in ("one", "two")]
    assert (found["one"].wall, found["one"].wall_max, found["one"].peak) == (2, 3, 3)


def test_a_table_is_markdown(measuring: Any) -> None:
    assert measuring.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_units_are_those_people_read(measuring: Any) -> None:
    assert [measuring.size(n) for n in (12, 1500, 2_340_000, 5e9)] == [
        "12 B",
        "1.5 kB",
        "2.34 MB",
        "5 GB",
    ]
    assert [measuring.seconds(n) for n in (0.0012, 0.25, 12.34)] == ["1.2 ms", "250 ms", "12.3 s"]


def test_recall_counts_equal_scores_and_ignores_what_cannot_be_found() -> None:
    searching = import_module("searching")
    truth = np.array([[0.9, 0.8, 0.7], [0.5, -np.inf, -np.inf]], dtype=np.float32)

    def matches(*scores: float) -> Matches:
        return Matches(np.arange(len(scores)), np.array(scores, dtype=np.float32))

    assert searching.recall([matches(0.9, 0.8, 0.7), matches(0.5)], truth) == 1.0
    assert searching.recall([matches(0.9, 0.7, 0.6), matches(0.5)], truth) == 0.75
    assert searching.recall([matches(), matches()], truth) == 0.0


def test_a_peers_speed_is_read_off_between_two_settings() -> None:
    ann = import_module("against_ann")
    points = [
        ann.Point("p", "a", recall=0.8, single=400.0, batched=400.0),
        ann.Point("p", "b", recall=1.0, single=100.0, batched=25.0),
    ]

    single, batched = ann.at_recall(points, 0.9)
    assert (round(single, 6), round(batched, 6)) == (200.0, 100.0)
    assert ann.at_recall(points, 0.7) == (400.0, 400.0)
    assert ann.at_recall(points[:1], 0.9) is None
