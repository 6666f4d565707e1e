"""How many processors there are."""

import os
from pathlib import Path

import pytest

from mmsearch.retrieval.processors import available_processors, cgroup_quota, quiet, sums_overflow


@pytest.mark.parametrize(
    ("content", "processors"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("5000 100000\n", 1),
        ("1 0\n", None),
        ("", None),
        ("many\n", None),
    ],
)
def test_a_quota_is_rounded_up_to_whole_processors(
    tmp_path: Path, content: str, processors: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert cgroup_quota(tmp_path / "cpu.max") == processors


def test_without_a_control_group_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "cpu.max") is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be bound here")
def test_a_process_bound_to_one_processor_has_one() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("content", "overflow"),
    [
        ("processor: 0\nflags\t\t: fpu sse2 avx2\n", True),
        ("processor: 0\nflags\t\t: fpu avx2 avx_vnni sse2\n", False),
        ("flags\t\t: avx512_vnni\n\nflags\t\t: fpu\n", False),
        ("processor: 0\nFeatures: asimd asimddp\n", False),  # another family
        ("", False),
    ],
)
def test_sums_overflow_without_vnni(tmp_path: Path, content: str, overflow: bool) -> None:
    (tmp_path / "cpuinfo").write_text(content)
    assert sums_overflow(tmp_path / "cpuinfo") is overflow
    assert sums_overflow(tmp_path / "absent") is False


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="the system counts no load")
def test_a_machine_is_quiet_while_processors_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert quiet()
    monkeypatch.setattr(os, "getloadavg", lambda: (float(available_processors()), 0.0, 0.0))
    assert not quiet()
