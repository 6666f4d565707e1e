"""How fast a run is just now, and what it waits for."""

import time

import pytest

from mmsearch.retrieval.timing import Pace, Progress, Slow, Timing, waiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_rate_is_that_of_the_last_ten_seconds(clock: list[float]) -> None:
    pace = Pace(1000)
    for second in range(1, 31):  # ten a second, then two a second
        clock[0] = 100.0 + second
        done = 10 * min(second, 15) + 2 * max(second - 15, 0)
        shown = pace.progress(done, Timing())
        if second == 10:
            assert shown == Progress(100, 1000, 10.0)
    assert shown.images_per_second == pytest.approx(2.0)
    assert shown.seconds_left == pytest.approx((1000 - done) / 2)


def test_what_is_slow_is_what_was_waited_for_most_of_late(clock: list[float]) -> None:
    pace, timing = Pace(1000), Timing()
    for second in range(1, 31):
        clock[0] = 100.0 + second
        timing.wait(Slow.DECODING if second <= 12 else Slow.NETWORK, 0.9)
        timing.wait(Slow.DISK, 0.1)
        slow = pace.progress(second, timing).waiting_for
        assert slow is (Slow.DECODING if second <= 16 else slow)
    assert slow is Slow.NETWORK


def test_nothing_is_slow_while_nothing_was_waited_for(clock: list[float]) -> None:
    assert Pace(10).progress(1, Timing()).waiting_for is None


def test_waiting_is_counted_even_when_it_ends_in_an_error(clock: list[float]) -> None:
    timing = Timing()

    def fail() -> None:
        with waiting(timing, Slow.NETWORK):
            clock[0] += 3
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert timing.waited == {Slow.NETWORK: 3}


def test_runs_add_up() -> None:
    one = Timing(total=1, encode=2, waited={Slow.DISK: 1})
    one.merge(Timing(total=3, decode=4, waited={Slow.DISK: 1, Slow.NETWORK: 5}))
    assert one == Timing(total=4, encode=2, decode=4, waited={Slow.DISK: 2, Slow.NETWORK: 5})
    assert one.as_dict()["waited: the network"] == 5
