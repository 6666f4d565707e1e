"""Why answers are what they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.fakes import unit_rows
from tests.retrieval.toy import SPACE, ToyEncoder, digest, toy_library

from mmsearch.conditions import Compare, Operator
from mmsearch.core import (
    ImageTerm,
    ItemTerm,
    Modality,
    Mode,
    Negation,
    Query,
    TextTerm,
)
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.sources import Way
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.explaining import Explanation
from mmsearch.retrieval.library import Library

RED = np.full((2, 2, 3), (255, 0, 0), dtype=np.uint8)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Pictures x 1, y 2, z 3, xy 4 (0.6, 0.8, 0), xz 5 (0.8, 0, 0.6)."""
    with toy_library(tmp_path / "toy") as made:
        yield made


def _scores_are_sums(explanation: Explanation) -> None:
    scores = [hit.score for hit in explanation.hits]
    assert explanation.contributions.sum(axis=1).tolist() == pytest.approx(scores, abs=1e-6)


def test_each_term_has_a_share_of_the_score(library: Library) -> None:
    # q = (1, -0.5, 0) / 1.118: coefficients 0.894 and -0.447
    query = Query((TextTerm("x"), TextTerm("y", -0.5)), k=3, negation=Negation.SUBTRACT)
    explanation = library.explain(query)
    assert explanation.hits == tuple(library.search(query))
    assert explanation.terms == ("x", "y")
    np.testing.assert_allclose(explanation.coefficients, [0.894, -0.447], atol=1e-3)
    # Of 1, 5 (0.8, 0, 0.6) and 4 (0.6, 0.8, 0).
    np.testing.assert_allclose(explanation.cosines, [[1.0, 0.0], [0.8, 0.0], [0.6, 0.8]], atol=1e-3)
    np.testing.assert_allclose(
        explanation.contributions, [[0.894, 0.0], [0.716, 0.0], [0.537, -0.358]], atol=1e-3
    )
    _scores_are_sums(explanation)


def test_what_projection_takes_out_is_the_share_of_the_negative_term(library: Library) -> None:
    # xy - 0.8 y = (0.6, 0, 0), of length 0.6: coefficients 1 / 0.6 and -0.8 / 0.6
    query = Query((TextTerm("x"), TextTerm("y", -1.0)), negation=Negation.PROJECT)
    np.testing.assert_allclose(library.explain(query).coefficients, [1.0, 0.0], atol=1e-6)
    query = Query((ItemTerm(4), TextTerm("y", -1.0)), negation=Negation.PROJECT)
    explanation = library.explain(query)
    np.testing.assert_allclose(explanation.coefficients, [1.667, -1.333], atol=2e-3)
    _scores_are_sums(explanation)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 5),
    negation=st.sampled_from(Negation),
)
@settings(max_examples=50, deadline=None)
def test_the_shares_sum_to_the_score_whatever_is_asked(
    many: Library, seed: int, count: int, negation: Negation
) -> None:
    rng = np.random.default_rng(seed)
    terms = tuple(
        ItemTerm(int(number), float(weight))
        for number, weight in zip(
            rng.integers(1, 30, count), rng.uniform(-2, 2, count), strict=True
        )
    )
    try:
        explanation = many.explain(Query(terms, negation=negation, target=None))
    except InputError:
        return
    _scores_are_sums(explanation)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """30 pictures and 10 sentences."""
    vectors = unit_rows(np.random.default_rng(0).normal(size=(40, 3)).tolist()).tolist()
    pictures = {f"p{n}": vectors[n] for n in range(30)}
    sentences = {f"sentence {n}": vectors[n] for n in range(30, 40)}
    with toy_library(tmp_path_factory.mktemp("many") / "toy", pictures, sentences) as library:
        yield library


def test_it_tells_what_was_asked_and_what_was_left_out(library: Library) -> None:
    terms = (TextTerm("2:y"), ImageTerm(RED, digest=digest("x")), ItemTerm(5, 0.5))
    query = Query(terms, 2, where=Compare("id", Operator.AT_LEAST, 2), min_score=-1.0)
    told = library.explain(query).as_dict()
    assert told["own_left_out"] == [1, 5]
    named = told["terms"]
    assert isinstance(named, list)
    assert [(term["term"], term["weight"]) for term in named] == [
        ('"2:y"', 1.0),
        ("picture 1", 1.0),
        ("item:5", 0.5),
    ]
    assert told["negation"] == "subtract"
    assert told["mode"] == "vector"
    assert told["searched"] == [
        {
            "modality": "image",
            "rows": 5,
            "way": "few",
            "filter": "4 of 5 images: id >= 2",
            "matching": 4,
        }
    ]


def test_it_tells_the_ranks_by_vectors_and_by_words(library: Library) -> None:
    # The name of picture 2 has the word; it is far behind by vectors.
    query = Query((TextTerm("x"), TextTerm("y", -0.1)), mode=Mode.HYBRID)
    explanation = library.explain(Query((TextTerm("y"),), mode=Mode.HYBRID))
    assert explanation.mode is Mode.HYBRID
    first = explanation.hits[0]
    assert first.item.id == 2
    assert explanation.ranks(first) == {"rank_by_vectors": 1, "rank_by_words": 1}
    others = [explanation.ranks(hit)["rank_by_words"] for hit in explanation.hits[1:]]
    assert others == [None] * 4
    _scores_are_sums(explanation)
    _scores_are_sums(library.explain(query))


def test_it_tells_which_index_answered(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(400, 3)).tolist())
    directory = tmp_path / "library"
    policy = Policy(kind=IndexKind.FLAT, scan_below=10, few=5)
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        root = catalog.add_root("/photos", RootKind.FOLDER)

        def rows(start: int, stop: int) -> Batch:
            return Batch(
                files=tuple(
                    FileRow(f"/photos/{n}.jpg".encode(), root, 1, 1, f"{n:064x}", vectors[n])
                    for n in range(start, stop)
                )
            )

        catalog.commit(rows(0, 390))
        store = IndexStore(catalog, directory, policy)
        store.refresh(SPACE)
        catalog.commit(rows(390, 400))
    catalog = Catalog.open(directory)
    with Library(catalog, IndexStore(catalog, directory, policy), ToyEncoder()) as library:
        explanation = library.explain(Query((TextTerm("x"),), k=3))
        (ranking,) = explanation.answered.rankings
        assert ranking.route is not None
        assert ranking.route.way is Way.INDEX
        assert (ranking.route.rows, ranking.route.newer) == (400, 10)
        assert explanation.as_dict()["searched"] == [
            {
                "modality": "image",
                "rows": 400,
                "way": "index",
                "index": "flat",
                "generation": 1,
                "newer": 10,
            }
        ]
        few = library.explain(Query((TextTerm("x"),), where=Compare("id", Operator.BELOW, 4)))
        (ranking,) = few.answered.rankings
        assert ranking.route is not None
        assert ranking.route.way is Way.FEW
        deep = library.explain(Query((TextTerm("x"),), k=300)).answered.rankings[0].route
        assert deep is not None
        assert deep.way is Way.ALL


def test_an_empty_library_has_nothing_to_explain(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "empty", write=True).close()
    catalog = Catalog.open(tmp_path / "empty")
    with (
        Library(catalog, IndexStore(catalog, tmp_path / "empty"), ToyEncoder()) as library,
        pytest.raises(InputError, match="is empty"),
    ):
        library.explain(Query((TextTerm("x"),), target=Modality.IMAGE))
