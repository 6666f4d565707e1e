"""Items by words, on a library small enough to rank by hand."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.conftest import one_hot, picture, sentence

from mmsearch.core import Ids, Modality
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, LabelChange, LabelSource
from mmsearch.index.words import WEIGHTS, Wanted, count, found, having, held, held_by, ranked


def _ids(*numbers: int) -> Ids:
    return np.array(numbers, dtype=np.int64)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Five pictures in /photos, of which 1 to 3 have words of their own, and a sentence, 6."""
    names = ["sea/beach.jpg", "town/IMG_0002.jpg", "town/IMG_0003.jpg", "a.jpg", "b.jpg"]
    files = [picture(f"/photos/{name}", one_hot(n)) for n, name in enumerate(names)]
    catalog.commit(Batch(files=tuple(files), texts=(sentence("a red boat", one_hot(0)),)))
    attributes.set_captions(catalog, {2: ("a boat on the beach",)})
    attributes.set_labels(catalog, [LabelChange(3, "Beach", LabelSource.USER, None)])
    return catalog


def _bm25(
    rows: Sequence[Mapping[str, Sequence[str]]], row: Mapping[str, Sequence[str]], words: set[str]
) -> float:
    """Return BM25 as the manual of FTS5 defines it; `rows` have their columns as lists of words."""
    lengths = [sum(map(len, each.values())) for each in rows]
    total = 0.0
    for word in words:
        holding = sum(any(word in column for column in each.values()) for each in rows)
        idf = max(1e-6, math.log((len(rows) - holding + 0.5) / (holding + 0.5)))
        times = sum(WEIGHTS[name] * list(column).count(word) for name, column in row.items())
        share = sum(map(len, row.values())) / (sum(lengths) / len(rows))
        total += idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * share))
    return total


# What the fixture's rows hold: the folder of the root counts, as `photos`.
_ROWS = [
    {"name": ["beach", "jpg"], "folder": ["photos", "sea"]},
    {
        "name": ["img", "0002", "jpg"],
        "folder": ["photos", "town"],
        "caption": ["a", "boat", "on", "the", "beach"],
    },
    {"name": ["img", "0003", "jpg"], "folder": ["photos", "town"], "label": ["beach"]},
    {"name": ["a", "jpg"], "folder": ["photos"]},
    {"name": ["b", "jpg"], "folder": ["photos"]},
    {"text": ["a", "red", "boat"]},
]


def test_the_score_is_bm25_with_weighted_columns(filled: Catalog) -> None:
    best = ranked(filled, Wanted(("boat", "town")), Modality.IMAGE, None)
    expected = {n: _bm25(_ROWS, _ROWS[n - 1], {"boat", "town"}) for n in (2, 3)}
    assert best.ids.tolist() == sorted(expected, key=lambda n: -expected[n]) == [2, 3]
    np.testing.assert_allclose(best.scores, [expected[2], expected[3]], rtol=1e-6)


def test_a_label_counts_more_than_a_caption_and_that_more_than_a_name(catalog: Catalog) -> None:
    names = ["boat", "p2", "p3", "q4", "q5", "q6", "q7", "q8", "q9"]
    files = [picture(f"/photos/{n}.jpg", one_hot(0), content=n) for n in names]
    catalog.commit(Batch(files=tuple(files)))
    attributes.set_captions(catalog, {2: ("boat",)})
    attributes.set_labels(catalog, [LabelChange(3, "boat", LabelSource.USER, None)])
    assert ranked(catalog, Wanted(("boat",)), Modality.IMAGE, None).ids.tolist() == [3, 2, 1]


def test_what_only_ranks_finds_nothing_by_itself(filled: Catalog) -> None:
    both = ranked(filled, Wanted(("boat", "sea")), Modality.IMAGE, None)
    assert sorted(both.ids.tolist()) == [1, 2]
    some = ranked(filled, Wanted(("boat",), ("sea",)), Modality.IMAGE, None)
    assert some.ids.tolist() == [2]
    assert some.scores[0] == both.scores[both.ids == 2][0]


def test_what_has_all_words_of_an_unwanted_group_is_left_out(filled: Catalog) -> None:
    def left(*without: tuple[str, ...]) -> list[int]:
        wanted = Wanted(("beach", "town"), (), without)
        return sorted(ranked(filled, wanted, Modality.IMAGE, None).ids.tolist())

    assert left() == [1, 2, 3]
    assert left(("boat",)) == [1, 3]
    assert left(("boat", "sea")) == [1, 2, 3]
    assert left(("boat",), ("sea",)) == [3]


def test_each_modality_is_ranked_by_itself(filled: Catalog) -> None:
    assert ranked(filled, Wanted(("boat",)), Modality.TEXT, None).ids.tolist() == [6]
    assert ranked(filled, Wanted(("boat",)), Modality.IMAGE, None).ids.tolist() == [2]


def test_a_filter_comes_first_and_an_empty_one_finds_nothing(filled: Catalog) -> None:
    wanted = Wanted(("beach",))
    assert sorted(ranked(filled, wanted, Modality.IMAGE, None).ids.tolist()) == [1, 2, 3]
    assert ranked(filled, wanted, Modality.IMAGE, _ids(1, 4)).ids.tolist() == [1]
    assert ranked(filled, wanted, Modality.IMAGE, _ids()).ids.tolist() == []
    assert ranked(filled, Wanted(()), Modality.IMAGE, None).ids.tolist() == []


@pytest.mark.parametrize("few", [0, 4096])
def test_a_filter_of_many_ids_finds_what_one_of_few_does(
    filled: Catalog, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("mmsearch.index.words._FEW", few)
    best = ranked(filled, Wanted(("beach",)), Modality.IMAGE, _ids(1, 3, 9))
    assert sorted(best.ids.tolist()) == [1, 3]


def test_ties_are_ordered_by_id(catalog: Catalog) -> None:
    files = [picture(f"/photos/beach {n}.jpg", one_hot(0), content=str(n)) for n in range(9, 0, -1)]
    others = [picture(f"/photos/other {n}.jpg", one_hot(0), content=f"o{n}") for n in range(20)]
    catalog.commit(Batch(files=(*files, *others)))
    best = ranked(catalog, Wanted(("beach",)), Modality.IMAGE, None)
    assert best.ids.tolist() == sorted(best.ids.tolist())
    assert len({*best.scores.tolist()}) == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("BEACH", [1, 2, 3]),
        ("Béach", [1, 2, 3]),
        ("img_0002", [2]),
        ("0002.jpg", [2]),
        ("on the beach", [2]),
        ("the on beach", []),
        ("bea", []),
        ("bea*", []),
    ],
)
def test_words_are_compared_whole_without_case_and_accents(
    filled: Catalog, word: str, expected: list[int]
) -> None:
    assert having(filled, word).tolist() == expected
    assert count(filled, word) == len(expected)


def test_syntax_of_the_search_engine_is_plain_words(filled: Catalog) -> None:
    for word in ('"', "*", "^a", "name:beach", "{name} : beach", "(beach", "beach)", "", "\0", "-"):
        count(filled, word)
    for word in ("beach OR boat", "boat NOT red", "NEAR(boat red)", "text:boat", "label:beach"):
        assert count(filled, word) == 0, word


def test_items_are_counted_and_told_from_others(filled: Catalog) -> None:
    assert held(filled) == 6
    assert held_by(_ids(5, 1, 3), _ids(1, 2, 3)).tolist() == [False, True, True]
    assert held_by(_ids(5, 1), _ids()).tolist() == [False, False]
    assert held_by(_ids(5, 1), None).tolist() == [True, True]
    assert held_by(_ids(), _ids(1)).tolist() == []


def test_what_is_found_is_what_is_ranked(filled: Catalog) -> None:
    for among in (None, _ids(1, 3, 6), _ids()):
        for wanted in (Wanted(("beach",)), Wanted(("boat", "sea"), (), (("town",),)), Wanted(())):
            for modality in Modality:
                some = found(filled, wanted, modality, among)
                assert some.tolist() == sorted(ranked(filled, wanted, modality, among).ids.tolist())


_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    ['"', '""', "*", "AND", "a AND", "NEAR/2", "-red", "+red", "name : red", "\ud800", "e\u0301"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    finding=st.lists(_ANY_TEXT, min_size=1, max_size=5),
    ranking=st.lists(_ANY_TEXT, max_size=3),
    without=st.lists(st.lists(_ANY_TEXT, min_size=1, max_size=3).map(tuple), max_size=3),
)
def test_no_word_is_an_error(
    filled: Catalog, finding: list[str], ranking: list[str], without: list[tuple[str, ...]]
) -> None:
    wanted = Wanted(tuple(finding), tuple(ranking), tuple(without))
    best = ranked(filled, wanted, Modality.IMAGE, None)
    assert {*best.ids.tolist()} <= {1, 2, 3, 4, 5}
    assert np.isfinite(best.scores).all()
