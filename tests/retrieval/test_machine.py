"""What is measured once and kept."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality
from mmsearch.retrieval.machine import (
    BATCH_SIZES,
    DEFAULT_BATCH,
    Machine,
    batch_size,
    best_batch,
    this_machine,
)


@pytest.fixture(autouse=True)
def a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs beside the tests."""
    monkeypatch.setattr("mmsearch.retrieval.machine.quiet", lambda: True)


class TimedEncoder(FakeEncoder):
    """A batch takes 10 ms and 1 ms an item, beyond eight items 3 ms an item."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def subject(self, tower: Modality, /) -> str:
        return f"{tower.value}-network"

    def seconds(self, tower: Modality, count: int, /) -> float:
        self.counts.append(count)
        return 0.01 + 0.001 * count + 0.002 * max(0, count - 8)


def test_the_batch_of_the_best_throughput_is_measured_once(tmp_path: Path) -> None:
    encoder, machine = TimedEncoder(), Machine(tmp_path / "machine.json")
    assert batch_size(encoder, Modality.IMAGE, machine=machine) == 8  # 8 / 18 ms; 16 / 42 ms
    measured = len(encoder.counts)
    again = Machine(tmp_path / "machine.json")
    assert batch_size(encoder, Modality.IMAGE, machine=again) == 8
    assert len(encoder.counts) == measured
    batch_size(encoder, Modality.TEXT, machine=again)
    assert len(encoder.counts) > measured


def test_what_a_busy_machine_likes_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsearch.retrieval.machine.quiet", lambda: False)
    machine = Machine(tmp_path / "machine.json")
    assert batch_size(TimedEncoder(), Modality.IMAGE, machine=machine) == 8
    assert machine.recall("image-network", "batch_size") is None


def test_a_measurement_is_announced_and_a_reading_is_not(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        machine = Machine(tmp_path / "machine.json")
        batch_size(TimedEncoder(), Modality.IMAGE, machine=machine, say=said.append)
    assert len(said) == 1
    assert "images" in said[0]


def test_an_encoder_that_cannot_be_timed_gets_the_default(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine.json")
    assert batch_size(FakeEncoder(), Modality.IMAGE, machine=machine) == DEFAULT_BATCH
    assert not machine.file.exists()


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (lambda count: 0.001 * count, 1),  # no gain: the least memory
        (lambda count: 0.001, 64),  # a whole batch for the price of one
        (lambda count: 0.001 * count + 0.0001, 16),  # 909/s, 952/s, 976/s, 988/s, 994/s ... 998/s
    ],
)
def test_the_smallest_batch_near_the_best_is_taken(
    seconds: Callable[[int], float], best: int
) -> None:
    assert best_batch(seconds) == best


def test_a_slow_network_is_not_measured_beyond_the_budget() -> None:
    counts: list[int] = []

    def seconds(count: int) -> float:
        counts.append(count)
        return 0.3 * count

    assert best_batch(seconds, budget=2.0) == 1
    # 0.6 s for one picture twice; two pictures twice would take 1.2 s more, four 2.4 s.
    assert counts == [1, 1, 2, 2]


def test_measuring_ends_when_larger_batches_get_worse() -> None:
    counts: list[int] = []

    def seconds(count: int) -> float:
        counts.append(count)
        return 0.0001 * count**2

    assert best_batch(seconds) == 1
    assert max(counts) == 4


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1, "measured": 3}', b"\xff\0"]
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "machine.json"
    file.write_bytes(content)
    assert Machine(file).recall("network", "batch_size") is None
    Machine(file).keep("network", "batch_size", 8)
    assert Machine(file).recall("network", "batch_size") == 8


@pytest.mark.parametrize("value", ["8", 0, 7, None, True, [8]])
def test_a_size_that_makes_no_sense_is_measured_again(tmp_path: Path, value: object) -> None:
    machine = Machine(tmp_path / "machine.json")
    machine.keep("image-network", "batch_size", value)
    assert batch_size(TimedEncoder(), Modality.IMAGE, machine=machine) == 8


def test_a_place_that_takes_no_file_costs_only_another_measurement(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    machine = Machine(tmp_path / "taken" / "machine.json")
    encoder = TimedEncoder()
    assert batch_size(encoder, Modality.IMAGE, machine=machine) == 8
    measured = len(encoder.counts)
    assert batch_size(encoder, Modality.IMAGE, machine=machine) == 8
    assert len(encoder.counts) == measured  # kept in memory


def test_what_another_process_kept_meanwhile_stays(tmp_path: Path) -> None:
    one, other = Machine(tmp_path / "machine.json"), Machine(tmp_path / "machine.json")
    assert one.recall("a", "batch_size") is None
    other.keep("b", "batch_size", 4)
    one.keep("a", "batch_size", 2)
    assert json.loads(one.file.read_text())["measured"] == {
        "a": {"batch_size": 2},
        "b": {"batch_size": 4},
    }


def test_the_file_does_not_grow_without_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine.json")
    for number in range(210):
        machine.keep(str(number), "batch_size", 1)
    kept = json.loads(machine.file.read_text())["measured"]
    assert list(kept) == [str(number) for number in range(10, 210)]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    Machine(file).keep("network", "batch_size", 1)
    ended = threading.Event()
    seen: list[object] = []

    def read() -> None:
        while not ended.is_set():
            seen.append(Machine(file).recall("network", "batch_size"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(100):
            Machine(file).keep("network", "batch_size", BATCH_SIZES[number % 7])
    finally:
        ended.set()
        reader.join()
    assert seen
    assert set(seen) <= set(BATCH_SIZES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["machine.json"]


def test_the_file_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MMSEARCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert this_machine().file.parent.is_relative_to(tmp_path)
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "own"))
    assert this_machine().file == tmp_path / "own" / "machine.json"
