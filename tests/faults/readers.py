"""Commands that read a library while it is written: what they print belongs to one moment.

`ask` runs them by turns and keeps what they say; `check` compares it with what the library held
after each of its commits, which nobody knows before the writer has ended.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from tests.faults import oracle
from tests.faults.oracle import State
from tests.faults.processes import Ended, run
from typer.testing import CliRunner

from mmsearch.cli import app

K: Final = 7
_ROUNDING: Final = 1e-4
_PROCESS_EVERY: Final = 5  # and six commands, so that each has its turn
_UNKNOWN: Final = re.compile(r'mmsearch: warning: the model does not know "photos"; names, .*')
_SUMMARY: Final = re.compile(r"mmsearch: 0 exact groups; [0-9,]+ near groups? among .*")

Said: TypeAlias = Any  # JSON
Check: TypeAlias = "Callable[[Said, History], None]"


@dataclass(frozen=True, slots=True)
class History:
    """What a library held after each commit: pictures, and the ids that "red" finds."""

    images: dict[int, int]
    answers: list[list[int]]

    @classmethod
    def of(cls, state: State) -> "History":
        """Return the history of a library to which pictures were added, and nothing else."""
        ids, matrix = oracle.stacked(state, "image")
        revisions = np.array([state.written[int(number)] for number in ids])
        red = np.eye(1, matrix.shape[1], dtype=np.float32)[0]
        images, answers = {}, []
        for revision in sorted(set(revisions.tolist())):
            held = revisions <= revision
            images[revision] = int(held.sum())
            answers.append([n for n, _ in oracle.brute_force(ids[held], matrix[held], red, K)])
        return cls(images, answers)


@dataclass(frozen=True, slots=True)
class Reading:
    """A command that reads, what it may say on stderr, and what must hold of its output."""

    words: tuple[str, ...]
    check: Check
    remark: re.Pattern[str] | None = None
    codes: tuple[int, ...] = (0,)


@dataclass(slots=True)
class Readers:
    """Asks a library by turns, beginning with the `first` command."""

    library: Path
    first: int = 0
    said: list[tuple[Reading, Said]] = field(default_factory=list)

    def ask(self) -> None:
        """Run the next command; it must end well and say nothing but what it may.

        One in so many is a process of its own; there is time for many more in this one.
        """
        number = self.first + len(self.said)
        reading = READINGS[number % len(READINGS)]
        begin = run if number % _PROCESS_EVERY == 0 else _run_here
        ending = begin(*reading.words, "--json", "--library", self.library)
        _check_ending(reading, ending)
        self.said.append((reading, json.loads(ending.out)))

    def check(self, state: State) -> None:
        """Compare all that was said with the history of the library."""
        history = History.of(state)
        for reading, said in self.said:
            reading.check(said, history)


def _run_here(*arguments: str | Path) -> Ended:
    """Run `mmsearch ARGUMENTS` in this process; raise what it fails with."""
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def _check_ending(reading: Reading, ending: Ended) -> None:
    assert ending.code in reading.codes, (reading.words, ending)
    for line in ending.err.splitlines():
        assert reading.remark is not None, (reading.words, ending)
        assert reading.remark.fullmatch(line), (reading.words, ending)


def _found(said: Said, history: History) -> None:
    assert [hit["id"] for hit in said] in history.answers, "an answer that no commit explains"


def _explained(said: Said, history: History) -> None:
    """Expect an answer that its terms explain, of as many rows as there were then."""
    (searched,) = said["explanation"]["searched"]
    assert searched["rows"] in history.images.values(), searched
    _check_sums(said["explanation"]["hits"])


def _filtered(said: Said, history: History) -> None:
    """Expect a condition that holds for everything to choose as much as was searched."""
    _explained(said, history)
    _found(said["hits"], history)
    (searched,) = said["explanation"]["searched"]
    assert searched["matching"] == searched["rows"], searched


def _worded(said: Said, history: History) -> None:
    """Expect a word that all pictures have to find as many as were searched."""
    _explained(said, history)
    (searched,) = said["explanation"]["searched"]
    assert searched["found_by_words"] == searched["rows"], searched
    assert all(hit["rank_by_words"] == 1 for hit in said["explanation"]["hits"])


def _check_sums(hits: Sequence[Said]) -> None:
    assert hits
    for hit in hits:
        total = sum(term["contribution"] for term in hit["terms"])
        assert abs(total - hit["score"]) < _ROUNDING, hit


def _counted(said: Said, history: History) -> None:
    assert (said["waiting"], said["failed"], said["offline"], said["texts"]) == (0, 0, 0, 0), said
    seen = max(revision for revision in history.images if revision <= said["revision"])
    assert said["images"] == said["items"] == history.images[seen], said


def _grouped(said: Said, _: History) -> None:
    """Expect no copies, and nothing in two groups: every picture was drawn once."""
    assert said["exact"] == []
    ids = [member["id"] for group in said["near"] for member in group["members"]]
    assert len(ids) == len(set(ids)), said


def _sound(said: Said, _: History) -> None:
    assert said == {"sound": True, "findings": []}


READINGS: Final = (
    Reading(("query", "red", "-k", str(K)), _found),
    Reading(("query", "red photos", "--mode", "hybrid", "--explain"), _worded, _UNKNOWN),
    Reading(("status",), _counted),
    Reading(("query", "red", "--where", "id > 0", "--explain", "-k", str(K)), _filtered),
    Reading(("duplicates",), _grouped, _SUMMARY, (0, 1)),
    Reading(("check",), _sound),
)
