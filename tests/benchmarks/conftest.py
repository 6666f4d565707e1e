"""The scripts of benchmarks/ import each other by their bare names, as they do when run."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    own = {file.stem for file in BENCHMARKS.glob("*.py")}
    for name in own & set(sys.modules):
        del sys.modules[name]
