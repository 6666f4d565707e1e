from importlib import import_module
from typing import Any

import pytest

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gb": 8.0,
    "system": "Linux",
    "python": "3.12.0",
    "packages": {"numpy": "2.0"},
    "load": 0.0,
}
RUN = {"wall": 0.5, "wall_min": 0.4, "wall_max": 0.6, "cpu": 0.3, "peak": 200_000_000, "runs": 3}


@pytest.fixture
def results() -> Any:
    return import_module("results")


def _scale(rows: int) -> dict[str, Any]:
    warm = {"name": "all", "rows": rows, "recall": 0.995, "per_second": 400.0}
    return {
        "rows": rows,
        "machine": MACHINE,
        "page_cache": "warm",
        "build": {"write_seconds": 60.0, "index_seconds": 120.0},
        "disk": {"catalog": rows * 1500, "index": rows * 600},
        "index": {"kind": "ivf-sq8", "parameters": None},
        "cold": {"ViT-B/32": RUN},
        "warm": [{**warm, "p50": 0.002, "p99": 0.004, "batched": 500.0}],
    }


def test_a_page_shows_what_was_measured_and_nothing_else(results: Any) -> None:
    page = results.page({"scale-10000": _scale(10_000)})

    row = "| 10,000, ivf-sq8 | ViT-B/32 | 500 ms | 400 ms to 600 ms | 300 ms | 200 MB |"
    assert row in page
    assert "0.9950" in page
    assert "rclip" not in page
    assert "by arithmetic" not in page
    assert page.endswith("|\n")


def test_a_projection_multiplies_bytes_and_seconds_and_says_so(results: Any) -> None:
    page = results.page({"scale-1000000": _scale(1_000_000)})

    assert "Not measured" in page
    assert "| 10,000,000, ivf-sq8 | 1,000,000 | 6 GB | 15 GB | 10 min | 20 min |" in page


def test_libraries_are_ordered_by_size(results: Any) -> None:
    page = results.page({f"scale-{n}": _scale(n) for n in (100_000, 20_000)})

    assert page.index("| 20,000, ivf-sq8 |") < page.index("| 100,000, ivf-sq8 |")


def test_ratios_to_rclip_are_those_of_the_file(results: Any) -> None:
    query = {"rows": 50, "ratio": 0.25, "machine": MACHINE, "mmsearch": RUN, "rclip": RUN}
    rename = {"files": 90, "renamed": 30, "ratio": 4.0, "rclip_seconds": 2.0}
    page = results.page(
        {
            "rclip-query-50": query,
            "rclip-rename-30": {**rename, "machine": MACHINE, "mmsearch": RUN, "rclip": RUN},
        }
    )

    assert "| 50 | 500 ms | 200 MB | 500 ms | 200 MB | 0.250 |" in page
    assert "| renamed folder, 30 of 90 files | 500 ms | 2 s | 4.0 |" in page


def test_growth_is_an_exponent_between_the_ends(results: Any) -> None:
    growth = import_module("growth")
    costs = [{"rows": 1000, "open": 0.002, "catalog": 10}, {"rows": 100_000, "open": 0.02}]

    assert growth.exponent(costs, "open") == pytest.approx(0.5)
    assert growth.exponent(costs, "catalog") is None
    table = results.growth({"costs": costs})
    assert "| open | 2 ms | 20 ms | 0.50 |" in table
    assert "| catalog | 10 B | not measured |  |" in table
