"""The fault matrix at the size of a test run; `make soak` runs the same cases many times."""

from pathlib import Path

import pytest
from tests.faults.matrix import SCENARIOS, Scenario, generator

CASES = [
    pytest.param(
        scenario,
        case,
        id=f"{scenario.name}-{case}",
        marks=pytest.mark.skipif(bool(scenario.skip), reason=scenario.skip),
    )
    for scenario in SCENARIOS
    for case in range(scenario.ci_cases)
]


@pytest.mark.parametrize(("scenario", "case"), CASES)
def test_nothing_acknowledged_is_lost(scenario: Scenario, case: int, tmp_path: Path) -> None:
    scenario.run(generator(scenario.name, case), tmp_path)
