"""Whatever the condition, the catalog selects what a look at every row does."""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.where import catalogs
from tests.index.where.oracle import Row, holds
from tests.index.where.strategies import conditions, terms

from mmsearch.conditions import Condition, Not
from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.where.grammar import parse_condition
from mmsearch.index.where.select import select
from mmsearch.index.where.show import show

SEEDS = 6
many = settings(
    max_examples=int(os.environ.get("MMSEARCH_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module", autouse=True)
def half_an_hour_off() -> Iterator[None]:
    """Live where the local clock is never set: `modified` is in local time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> "Libraries":
    return Libraries(tmp_path_factory.mktemp("libraries"))


class Libraries:
    """Random libraries by seed, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.of = cache(self._of)

    def _of(self, seed: int) -> tuple[Catalog, list[Row]]:
        rows = catalogs.make(self._folder / str(seed), seed)
        return Catalog.open(self._folder / str(seed)), rows


def selected(catalog: Catalog, condition: Condition) -> list[int]:
    return sorted(
        number
        for modality in Modality
        for number in select(catalog, condition, modality).ids.tolist()
    )


@many
@given(seed=st.integers(0, SEEDS - 1), condition=conditions)
def test_a_condition_selects_what_a_look_at_every_row_does(
    libraries: Libraries, seed: int, condition: Condition
) -> None:
    catalog, rows = libraries.of(seed)
    assert selected(catalog, condition) == [row.id for row in rows if holds(condition, row)]


@many
@given(seed=st.integers(0, SEEDS - 1), term=terms)
def test_a_term_and_its_opposite_share_out_all_items(
    libraries: Libraries, seed: int, term: Condition
) -> None:
    catalog, rows = libraries.of(seed)
    some, others = selected(catalog, term), selected(catalog, Not(term))
    assert some == [row.id for row in rows if holds(term, row)]
    assert sorted(some + others) == [row.id for row in rows]


@many
@given(seed=st.integers(0, SEEDS - 1), condition=conditions)
def test_a_condition_that_is_shown_and_read_again_selects_the_same(
    libraries: Libraries, seed: int, condition: Condition
) -> None:
    again = parse_condition(show(condition))
    assert again == condition
    catalog, rows = libraries.of(seed)
    assert selected(catalog, again) == [row.id for row in rows if holds(condition, row)]
