from importlib import import_module
from typing import Any

from tests.benchmarks.test_results import MACHINE, RUN


def test_networks_stand_side_by_side_with_what_8_bits_lose() -> None:
    rates = {"simplified": 33.0, "8 bits": 96.04}
    facts: dict[str, Any] = {
        "machine": MACHINE,
        "rates": {"image": {"8": rates}, "text": {"1": {"simplified": 100.0, "8 bits": 210.0}}},
        "cold": {"simplified": RUN, "8 bits": {**RUN, "peak": 120_000_000}},
        "figures": {
            "image": {
                "kept": True,
                "recipe": "dynamic by row",
                "cosine": 0.99969,
                "neighbours": 0.98,
                "bytes": 88_000_000,
            },
            "text": {"kept": False, "why": ["too far away"]},
        },
    }
    page = import_module("results").page({"precision": facts})
    assert "| images a second, 8 at once | 33.0 | 96.0 |" in page
    assert "| texts a second, 1 at once | 100.0 | 210.0 |" in page
    assert "| its peak memory | 200 MB | 120 MB |" in page
    assert "The image network in 8 bits (dynamic by row): mean cosine 0.9997, 98%" in page
    assert "The text network in 8 bits" not in page
    assert "Networks by themselves" not in import_module("results").page({})
