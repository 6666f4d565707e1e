"""The mining schedule, step by step."""

from mmsearch.retrieval.vse.config import Mining
from mmsearch.retrieval.vse.mining import MiningSchedule


def schedule(wanted: Mining, patience: int = 10) -> MiningSchedule:
    return MiningSchedule(wanted, margin=0.2, threshold=0.0, patience=patience)


def test_auto_starts_semi_hard_and_turns_to_the_hardest_when_the_gap_clears() -> None:
    assert schedule(Mining.AUTO).mode is Mining.SEMI_HARD
    auto = schedule(Mining.AUTO)
    messages = [auto.observe(0.05, 0.3) for _ in range(50)]
    assert auto.mode is Mining.HARDEST
    assert messages[-1] is not None
    assert "hardest" in messages[-1]
    assert not any(messages[:-1])


def test_auto_stays_semi_hard_while_the_gap_is_negative() -> None:
    auto = schedule(Mining.AUTO)
    assert not any(auto.observe(-0.05, 0.3) for _ in range(500))
    assert auto.mode is Mining.SEMI_HARD


def test_the_plateau_is_warned_of_and_left() -> None:
    hardest = schedule(Mining.HARDEST, patience=10)
    messages = [hardest.observe(0.0, 0.4) for _ in range(10)]
    assert messages[:9] == [None] * 9
    assert messages[9] is not None
    assert "collapsed" in messages[9]
    assert hardest.mode is Mining.SEMI_HARD


def test_after_a_fall_back_the_hardest_returns_when_the_gap_clears() -> None:
    hardest = schedule(Mining.HARDEST, patience=10)
    for _ in range(10):
        hardest.observe(0.0, 0.4)
    for _ in range(60):
        hardest.observe(0.1, 0.2)
    assert hardest.mode is Mining.HARDEST


def test_a_loss_that_leaves_the_plateau_for_a_step_starts_the_count_again() -> None:
    hardest = schedule(Mining.HARDEST, patience=10)
    for step in range(100):
        assert hardest.observe(0.0, 0.3 if step % 9 == 8 else 0.4) is None


def test_all_negatives_are_never_changed() -> None:
    everything = schedule(Mining.ALL)
    assert not any(everything.observe(0.5, 0.4) for _ in range(300))
    assert everything.mode is Mining.ALL


def test_a_restored_schedule_goes_on_as_the_first() -> None:
    one, other = schedule(Mining.AUTO), schedule(Mining.AUTO)
    for _ in range(30):
        one.observe(0.01, 0.3)
    other.load_state_dict(one.state_dict())
    told = [(one.observe(0.02, 0.3), other.observe(0.02, 0.3)) for _ in range(40)]
    assert all(a == b for a, b in told)
    assert one.state == other.state


def test_a_batch_without_negatives_is_passed_over() -> None:
    auto = schedule(Mining.AUTO)
    auto.observe(-0.1, 0.3)
    before = auto.state_dict()
    assert auto.observe(float("inf"), 0.0) is None
    assert auto.state_dict() == before
