"""Any question whatever, in any mode, is answered as a look at every row of the catalog would.

Ids, order, scores and weakness are compared, scores to the last bit where nothing is rounded
before. `MMSEARCH_EXAMPLES=3000` asks that many questions at random; otherwise they are the same
ones each time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.retrieval.query_oracle import Answer, Asked, Limits, answers
from tests.retrieval.query_strategies import questions
from tests.retrieval.worded_libraries import AWAY, POLICIES, SEEDS, Libraries

from mmsearch.core import Mode
from mmsearch.errors import InputError

_LIMITS = (Limits(), Limits(many=20), Limits(many=5), Limits(depth=10), Limits(5, 10))
_ROUNDING = 2e-6  # of cosines that are not exact


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libraries]:
    for path in AWAY:
        if os.path.lexists(path):
            pytest.skip(f"{path!r} is there; it stands for what is not")
    made = Libraries(tmp_path_factory.mktemp("libraries"))
    yield made
    made.close()


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Let limits that are made for large libraries be reached in small ones as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmsearch.retrieval.wording._MANY", limits.many)
        patch.setattr("mmsearch.retrieval.hybrid._MANY", limits.many)
        patch.setattr("mmsearch.retrieval.hybrid.DEPTH", limits.depth)
        yield


@settings(
    max_examples=int(os.environ.get("MMSEARCH_EXAMPLES", "1500")),
    deadline=None,
    derandomize="MMSEARCH_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(
    seed=st.sampled_from(SEEDS),
    policy=st.sampled_from(range(len(POLICIES))),
    limits=st.sampled_from(_LIMITS),
    data=st.data(),
)
def test_any_question_is_answered_as_a_look_at_every_row_would(
    libraries: Libraries, seed: int, policy: int, limits: Limits, data: st.DataObject
) -> None:
    known = libraries.of(seed, policy)
    drawn = data.draw(questions(known))
    asked = Asked(known, drawn.query, drawn.words, limits)
    expected = answers(asked)
    if drawn.query.mode is Mode.TEXT and not asked.looked.wanted:
        with pytest.raises(InputError, match="give a text"):
            known.library.search(drawn.query)
        return
    with limited(limits):
        hits = known.library.search(drawn.query)
    event(f"{asked.mode}, {'exact' if asked.is_exact else 'rounded'}, {min(len(hits), 2)} hits")
    found = [Answer(hit.item.id, hit.score, hit.weak) for hit in hits]
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [(one.id, one.weak) for one in found] == [(one.id, one.weak) for one in expected]
    scores = [one.score for one in expected]
    rounding = 0 if asked.is_exact else _ROUNDING
    assert [one.score for one in found] == pytest.approx(scores, abs=rounding, rel=0)
