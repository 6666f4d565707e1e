"""The section of the results on indexing."""

from importlib import import_module
from typing import Any

import pytest

RUN = {"wall": 10.0, "wall_min": 9.0, "wall_max": 11.0, "cpu": 20.0, "peak": 900_000_000, "runs": 1}
STAGES = ("total", "scan", "read", "decode", "preprocess", "encode", "commit")
COMPARED = {
    "files": 300,
    "pixels": [640, 480],
    "bytes": 110_000,
    "rates": {"fp32": 30.0, "rclip": 20.0},
    "ratios": {"fp32": 1.5, "rclip": 1.0},
    "stages": {"fp32": {**dict.fromkeys(STAGES, 2.0), "waited: the network": 9.0}},
    "limits": {"fp32": {"batch": 8, "network": 33.0, "decoder": 220.0}},
    "fp32": RUN,
    "rclip": RUN,
}


@pytest.fixture
def page() -> Any:
    return import_module("results_indexing").indexing


def test_rates_stages_and_limits_are_shown(page: Any) -> None:
    shown = page({"rclip-index-640x480": COMPARED})
    assert "| 640 x 480, 110 kB a file | mmsearch, fp32 | 30.0 | 1.50 | 900 MB |" in shown
    assert "| 640 x 480, 110 kB, fp32 | 2 s | 2 s | 2 s | 2 s | 2 s | 2 s | 2 s |" in shown
    assert "| 640 x 480, 110 kB, fp32 | 33.0 | 220.0 |" in shown


def test_small_pictures_and_files_come_before_large_ones(page: Any) -> None:
    large = {**COMPARED, "pixels": [4000, 3000], "bytes": 3_500_000}
    light = {**large, "bytes": 2_200_000}
    names = ("4000x3000", "4000x3000-light", "640x480")
    found = zip(names, (large, light, COMPARED), strict=True)
    shown = page({f"rclip-index-{name}": facts for name, facts in found})
    assert shown.index("640 x 480") < shown.index("2.2 MB a file") < shown.index("3.5 MB a file")


def test_memory_and_drift_are_shown(page: Any) -> None:
    grown = {"model": "mini", "runs": {"1000": {"wall": 9, "peak": 2e8}}, "ratio": 1.0}
    moved = {"photos": 40, "mean": 0.00002, "p95": 0.00005, "largest": 0.0001}
    shown = page({"index-growth-1000": grown, "drift": {"models": {"mini": moved}}})
    assert "| 1,000 | 9 s | 200 MB |" in shown
    assert "| mini | 40 | 0.00002 | 0.00005 | 0.00010 |" in shown


def test_what_was_not_measured_is_not_shown(page: Any) -> None:
    assert page({}) == ""
