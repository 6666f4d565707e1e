"""How a question is answered, worked out by hand in three dimensions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.drawing import draw
from tests.retrieval.fakes import FakeEncoder, unit_rows
from tests.retrieval.toy import PICTURES, ToyEncoder, digest, toy_library

from mmsearch.conditions import AnyOf, Compare, Not, Operator
from mmsearch.core import (
    Cutoff,
    Hit,
    ImageTerm,
    ItemTerm,
    Matches,
    Modality,
    Mode,
    Negation,
    Query,
    Term,
    TextTerm,
)
from mmsearch.errors import ConfigError, InputError
from mmsearch.index import generation as files
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import Policy
from mmsearch.index.rows import Batch, Generation, MovedRow, Stamp
from mmsearch.index.sources import Way
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.asking import Asking
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.query import combine

RED = np.full((2, 2, 3), (255, 0, 0), dtype=np.uint8)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Pictures x 1, y 2, z 3, xy 4 (0.6, 0.8, 0), xz 5 (0.8, 0, 0.6)."""
    with toy_library(tmp_path / "toy") as made:
        yield made


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Library]:
    """The pictures, and sentences 6 (0.96, 0.28, 0) and 7 (0, 0.28, 0.96)."""
    sentences = {"an x": (0.96, 0.28, 0.0), "a z": (0.0, 0.28, 0.96)}
    with toy_library(tmp_path / "toy", sentences=sentences) as made:
        yield made


def _found(hits: list[Hit]) -> list[tuple[int, object]]:
    """Return ids and scores, which compare with an error of half precision."""
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [(hit.item.id, pytest.approx(hit.score, abs=1e-3)) for hit in hits]


def _ids(hits: list[Hit]) -> list[int]:
    return [hit.item.id for hit in hits]


def test_weights_count_in_the_sum(library: Library) -> None:
    # q = (2, 1, 0) / sqrt 5 = (0.894, 0.447, 0)
    assert _found(library.search("2:x +:y")) == [
        (1, 0.894),
        (4, 0.894),
        (5, 0.716),
        (2, 0.447),
        (3, 0.0),
    ]


def test_a_negative_term_is_taken_off_the_sum_by_half_unless_it_says_otherwise(
    library: Library,
) -> None:
    # q = (1, -0.5, 0) / 1.118 = (0.894, -0.447, 0)
    expected = [(1, 0.894), (5, 0.716), (4, 0.179), (3, 0.0), (2, -0.447)]
    assert _found(library.search("x -:y")) == expected
    assert _found(library.search("x -0.5:y")) == expected
    # q = (1, -1, 0) / 1.414
    assert _found(library.search("x -1:y"))[-1] == (2, -0.707)


def test_a_negative_term_is_projected_out_when_asked_for(library: Library) -> None:
    # Of (0.6, 0.8, 0) is left (1, 0, 0), so that y and z are as far as each other.
    query = Query((ItemTerm(4), TextTerm("y", -1.0)), negation=Negation.PROJECT)
    assert _found(library.search(query)) == [(1, 1.0), (5, 0.8), (2, 0.0), (3, 0.0)]


def test_text_image_and_item_terms_go_together(library: Library) -> None:
    # q = (1 + 0.8, 1, 0.6) / 2.145 = (0.839, 0.466, 0.280)
    query = Query((TextTerm("y"), ImageTerm(RED), ItemTerm(5)))
    assert _found(library.search(query)) == [(4, 0.876), (1, 0.839), (2, 0.466), (3, 0.28)]


def test_an_item_is_no_answer_to_itself_and_all_others_are(library: Library) -> None:
    assert _ids(library.search("item:1", k=4)) == [5, 4, 2, 3]
    assert _ids(library.search("item:1", k=1)) == [5]
    assert _ids(library.search("item:1 -:item:2", k=9)) == [5, 4, 3]
    assert _ids(library.search(Query((ItemTerm(1),), own=True)))[0] == 1


def test_a_picture_and_its_copies_are_no_answer_to_it(tmp_path: Path) -> None:
    pictures = {**PICTURES, "x.2": (1.0, 0.0, 0.0), "x.3": (1.0, 0.0, 0.0)}
    with toy_library(tmp_path / "toy", pictures) as library:
        term = ImageTerm(RED, digest=digest("x"))
        assert _ids(library.search(Query((term,), k=3))) == [5, 4, 2]
        assert _ids(library.search(Query((term,), k=3, own=True))) == [1, 6, 7]
        assert _ids(library.search(Query((ImageTerm(RED),), k=3))) == [1, 6, 7]
        where = Compare("id", Operator.BELOW, 4)
        assert _ids(library.search(Query((term,), k=2, where=where))) == [2, 3]


def test_a_picture_is_left_out_by_the_bytes_of_its_file(tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "red.png", (255, 0, 0))
    draw(tmp_path / "photos" / "other.png", (200, 0, 0))
    Catalog.open(tmp_path / "library", write=True).close()
    catalog = Catalog.open(tmp_path / "library")
    with Library(catalog, IndexStore(catalog, tmp_path / "library"), FakeEncoder()) as library:
        library.add(tmp_path / "photos")
        elsewhere = tmp_path / "elsewhere.png"
        elsewhere.write_bytes((tmp_path / "photos" / "red.png").read_bytes())
        for file in (tmp_path / "photos" / "red.png", elsewhere):
            hits = library.search(file, k=2)
            assert [Path(hit.item.path or "").name for hit in hits] == ["other.png"]


def test_an_item_that_is_not_there_is_an_error(library: Library) -> None:
    with pytest.raises(InputError, match="no item 99"):
        library.search("x +:item:99")


def test_both_kinds_come_by_turns_the_better_one_first(both: Library) -> None:
    # Pictures 1 (1.0), 5 (0.8), 4 (0.6), 2, 3 (0.0); sentences 6 (0.96), 7 (0.0).
    query = Query((TextTerm("x"),), k=5, target=None)
    assert _found(both.search(query)) == [(1, 1.0), (6, 0.96), (5, 0.8), (7, 0.0), (4, 0.6)]
    assert _ids(both.search(Query((TextTerm("x"),), k=1, target=None))) == [1]


def test_what_is_below_the_least_score_is_left_out(both: Library) -> None:
    def ids(least: float, target: Modality | None = Modality.IMAGE, k: int = 10) -> list[int]:
        return _ids(both.search(Query((TextTerm("x"),), k, target, min_score=least)))

    assert ids(0.7) == [1, 5]
    assert ids(0.0) == [1, 5, 4, 2, 3]
    assert ids(0.7, k=1) == [1]
    assert ids(1.0) == [1]
    assert ids(0.7, target=None) == [1, 6, 5]
    with pytest.raises(ConfigError, match="from -1 to 1"):
        ids(25.0)


def test_a_condition_holds_for_every_answer_and_k_are_found(library: Library) -> None:
    where = Not(Compare("name", Operator.LIKE, "x%"))
    assert _ids(library.search("x", k=2, where=where)) == [2, 3]
    assert _ids(library.search("x", k=2, where="NOT name LIKE 'x%'")) == [2, 3]
    assert _ids(library.search("item:2", k=2, where="NOT name LIKE 'x%'")) == [3]


@pytest.mark.parametrize("beside", [{"where": "id = 1"}, {"target": Modality.TEXT}])
def test_a_condition_beside_a_whole_query_is_refused_rather_than_passed_over(
    library: Library, beside: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="set them there"):
        library.search(Query((TextTerm("x"),)), **beside)
    with pytest.raises(ConfigError, match="set them there"):
        library.explain(Query((TextTerm("x"),)), **beside)


def test_a_condition_that_holds_for_nothing_finds_nothing(library: Library) -> None:
    assert library.search("x", where=AnyOf(())) == []
    assert library.search("x", where="id > 99") == []


def test_pictures_of_which_little_is_known_are_said_when_a_condition_asks(
    library: Library,
) -> None:
    library.search("x", where="name = 'x.jpg'")
    assert library.warnings == []
    assert library.search("x", where="width > 10") == []
    (said,) = library.warnings
    assert "of 5 pictures nothing is known but the file" in said


class _Level:
    """Chance reaches 0.5 among pictures, and 0.97 among sentences."""

    def threshold(self, modality: Modality, kinds: frozenset[Modality]) -> float:
        assert kinds == {Modality.TEXT}
        return 0.5 if modality is Modality.IMAGE else 0.97


def test_answers_that_are_no_better_than_chance_are_marked_or_dropped(both: Library) -> None:
    asking = Asking(both.catalog, both._indexes, both.encoder, both.encoder.space)
    asking.__dict__["_backgrounds"] = _Level()

    def ask(cutoff: Cutoff, mode: Mode | None = None) -> list[tuple[int, bool]]:
        query = Query((TextTerm("x"),), 5, None, cutoff=cutoff, mode=mode)
        return [
            (hit.item.id, hit.weak) for hit in asking.ask(query, lambda answered: answered.hits)
        ]

    assert ask(Cutoff.OFF) == [(1, False), (6, False), (5, False), (7, False), (4, False)]
    assert ask(Cutoff.MARK) == [(1, False), (6, True), (5, False), (7, True), (4, False)]
    assert ask(Cutoff.DROP) == [(1, False), (5, False), (4, False)]
    # The word x is in the sentence 6, and in the name of the picture 1: that is no chance.
    assert (6, False) in ask(Cutoff.DROP, Mode.HYBRID)


def test_what_words_rank_is_cut_off_without_losing_better_answers(tmp_path: Path) -> None:
    """All 40 fit the word alike and come by id; those that are near enough begin with id 31.

    q = (1, 1, 1) / sqrt 3 + (1, 0, 0), as a unit row (0.888, 0.325, 0.325).
    """
    pictures = {f"dog.{n}": (0.0, 1.0, 0.0) if n < 30 else (1.0, 0.0, 0.0) for n in range(40)}
    with toy_library(tmp_path / "toy", pictures) as library:
        query = Query((TextTerm("dog"), TextTerm("x")), 5, mode=Mode.TEXT, min_score=0.5)
        found = _found(library.search(query))
        assert found == [(number, 0.888) for number in (31, 32, 33, 34, 35)]


def test_a_commit_between_selecting_and_ranking_lets_nothing_through(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "name LIKE 'x%'"
    expected = library.search("x", where=where)
    search = IndexStore.search

    def with_a_commit(store: IndexStore, *args: Any, **flags: Any) -> list[Matches]:
        """Let another process move one picture to a name that does not fit, and delete one."""
        monkeypatch.setattr(IndexStore, "search", search)
        with Catalog.open(library.directory, write=True) as writer:
            writer.commit(Batch(moved=(MovedRow(1, b"/photos/z.2.jpg", 1, 1),), gone=(5,)))
        return search(store, *args, **flags)

    monkeypatch.setattr(IndexStore, "search", with_a_commit)
    assert library.search("x", where=where) == expected
    assert _ids(library.search("x", where=where)) == [4]


def test_an_index_file_that_is_replaced_between_selecting_and_ranking_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(changes=1, scan_below=0, few=2, few_opened=2)
    vectors = unit_rows(np.random.default_rng(0).normal(size=(200, 3)).tolist())
    pictures = {f"p{n}": row for n, row in enumerate(vectors.tolist())}
    toy_library(tmp_path / "toy", pictures).close()

    def write(gone: tuple[int, ...]) -> None:
        with Catalog.open(tmp_path / "toy", write=True) as writer:
            writer.commit(Batch(gone=gone))
            IndexStore(writer, tmp_path / "toy", policy).refresh(ToyEncoder.space)

    write((1,))
    check = files.check

    def replaced_meanwhile(path: Path, known: Generation) -> Stamp | None:
        monkeypatch.setattr(files, "check", check)
        write(tuple(range(2, 101)))
        return check(path, known)

    monkeypatch.setattr(files, "check", replaced_meanwhile)
    catalog = Catalog.open(tmp_path / "toy")
    store = IndexStore(catalog, tmp_path / "toy", policy)
    with Library(catalog, store, ToyEncoder()) as library:
        found = _ids(library.search("x", where="id > 50"))
        assert library.warnings == []
        assert found == _by_brute_force(library, Query((TextTerm("x"),)))
        assert store.routes[Modality.IMAGE].way is Way.INDEX


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), 1001.0, -1001.0])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        Query((TextTerm("x", weight),))


_terms: st.SearchStrategy[Term] = st.one_of(
    st.builds(TextTerm, st.sampled_from(["x", "y z", "x y z"]), st.floats(-3, 3)),
    st.builds(ItemTerm, st.integers(1, 40), st.floats(-3, 3)),
    st.builds(
        ImageTerm,
        st.tuples(*[st.integers(1, 255)] * 3).map(
            lambda colour: np.full((2, 2, 3), colour, dtype=np.uint8)
        ),
        st.floats(-3, 3),
        st.sampled_from([None, digest("a"), digest("b"), digest("none")]),
    ),
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """30 pictures, of which every third is a copy of a or b, and 10 sentences."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(40, 3)).tolist())
    names = [f"{'ab'[n % 2]}.{n}" if n % 3 == 0 else f"p{n}" for n in range(30)]
    pictures = dict(zip(names, vectors[:30].tolist(), strict=True))
    sentences = {f"sentence {n}": row for n, row in enumerate(vectors[30:].tolist())}
    with toy_library(tmp_path_factory.mktemp("many") / "toy", pictures, sentences) as library:
        yield library


def _by_brute_force(library: Library, query: Query) -> list[int]:
    """Answer a query with a look at every item."""
    encoder, catalog = ToyEncoder(), library.catalog
    stored = {modality: catalog.all_vectors(encoder.space, modality) for modality in Modality}
    rows = []
    own: set[int] = set()
    everything = {
        number: vector
        for ids, vectors in stored.values()
        for number, vector in zip(ids.tolist(), vectors, strict=True)
    }
    items = catalog.items(list(everything))
    for term in query.terms:
        match term:
            case TextTerm():
                rows.append(encoder.encode_texts([term.text])[0])
            case ImageTerm():
                rows.append(encoder.encode_images([term.pixels])[0])
                own |= {n for n, item in items.items() if item.path and item.digest == term.digest}
            case ItemTerm():
                rows.append(everything[term.id])
                own.add(term.id)
    weights = [term.weight for term in query.terms]
    vector = combine(np.stack(rows), weights, query.negation).vector[0].astype(np.float64)
    rankings = []
    for modality in [query.target] if query.target else Modality:
        scored = [
            (-float(np.float32(row.astype(np.float64) @ vector)), number)
            for number, row in zip(stored[modality][0].tolist(), stored[modality][1], strict=True)
            if query.own or number not in own
        ]
        least = -2.0 if query.min_score is None else float(np.float32(query.min_score))
        rankings.append(sorted(pair for pair in scored if -pair[0] >= least)[: query.k])
    merged = sorted((place, *pair) for ranking in rankings for place, pair in enumerate(ranking))
    return [number for _, _, number in merged[: query.k]]


_queries = st.fixed_dictionaries(
    {
        "terms": st.lists(_terms, min_size=1, max_size=4).map(tuple),
        "k": st.integers(1, 50),
        "target": st.sampled_from([*Modality, None]),
        "negation": st.sampled_from(Negation),
        "own": st.booleans(),
        "min_score": st.one_of(st.none(), st.floats(-1, 1)),
    }
)


@given(given_query=_queries)
@settings(max_examples=200, deadline=None)
def test_any_terms_find_what_a_look_at_every_item_finds(
    many: Library, given_query: dict[str, Any]
) -> None:
    try:
        query = Query(**given_query)
        expected = _by_brute_force(many, query)
    except InputError:  # a weight of 0, or terms that cancel out
        return
    hits = many.search(query)
    assert _ids(hits) == expected
    assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
