"""Rankings by words and by vectors, put together."""

import csv
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.conftest import SPACE, one_hot, picture, unit_rows
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.worded_libraries import Signpost

import mmsearch
from mmsearch.core import Ids, ItemTerm, Matches, Modality, Mode, Negation, Query, TextTerm
from mmsearch.errors import InputError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, LabelChange, LabelSource, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.hybrid import DEPTH, Blending, Search, fuse_rankings
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.wording import Wording, telling_matches


def _matches(ids: Sequence[int], scores: Sequence[float]) -> Matches:
    return Matches(np.array(ids, dtype=np.int64), np.array(scores, dtype=np.float32))


def test_the_value_is_the_sum_of_reciprocal_ranks() -> None:
    near = _matches([7, 3, 5], [0.9, 0.8, 0.1])
    text = _matches([5, 9], [4.0, 2.0])
    fused = fuse_rankings(near, text)
    assert fused.ids.tolist() == [3, 5, 7, 9]
    np.testing.assert_allclose(fused.values, [1 / 62, 1 / 63 + 1 / 61, 1 / 61, 1 / 62])
    assert fused.by_vectors.tolist() == [2, 3, 1, 0]
    assert fused.by_words.tolist() == [0, 1, 0, 2]
    halved = fuse_rankings(near, text, weight=0.5)
    np.testing.assert_allclose(halved.values, [1 / 62, 1 / 63 + 0.5 / 61, 1 / 61, 0.5 / 62])


def test_items_of_equal_score_share_the_rank_of_the_first() -> None:
    text = _matches([1, 2, 3, 4], [2.0, 1.0, 1.0, 0.5])
    assert fuse_rankings(_matches([], []), text).by_words.tolist() == [1, 2, 2, 4]


class _Encoder(FakeEncoder):
    """Knows the colours, as words."""

    def unknown_words(self, text: str, /) -> tuple[str, ...]:
        return tuple(word for word in text.split() if word not in {"red", "green", "blue"})


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three pictures and nine more; 2, the green one, has the label zebra, 3 a caption of it."""
    photos = tmp_path / "photos"
    for n, colour in enumerate((RED, GREEN, BLUE)):
        draw(photos / f"a{n}.png", colour)
    for n in range(9):
        draw(photos / f"b{n}.png", (9 * n, 9 * n, 9 * n))
    Catalog.open(tmp_path / "library", write=True).close()
    catalog = Catalog.open(tmp_path / "library")
    made = Library(catalog, IndexStore(catalog, tmp_path / "library"), _Encoder())
    made.add(photos)
    with Catalog.open(tmp_path / "library", write=True) as writing:
        attributes.set_labels(writing, [LabelChange(2, "zebra", LabelSource.USER, None)])
        attributes.set_captions(writing, {3: ("a zebra far away",)})
    return made


def _ids(library: Library, text: str, mode: Mode | None = None, k: int = 3) -> list[int]:
    return [hit.item.id for hit in library.search(Query((TextTerm(text),), k, mode=mode))]


def test_words_rank_alone_in_the_mode_text_with_cosines_as_scores(library: Library) -> None:
    hits = library.search(Query((TextTerm("green zebra"),), mode=Mode.TEXT))
    assert [hit.item.id for hit in hits] == [2, 3]
    np.testing.assert_allclose([hit.score for hit in hits], [1.0, 0.0], atol=1e-3)
    assert library.warnings == []


def test_both_rank_in_the_mode_hybrid(library: Library) -> None:
    # By vectors 1 is first, by words 2 and then 3. 2 and 3 are nearest after 1 or share a rank.
    assert _ids(library, "red zebra", Mode.HYBRID) == [2, 3, 1]
    assert _ids(library, "red", Mode.HYBRID) == _ids(library, "red", Mode.VECTOR)


def test_a_word_that_the_model_does_not_know_is_looked_for_as_text(library: Library) -> None:
    assert _ids(library, "red zebra") == [2, 3, 1]
    assert library.warnings == [
        'the model does not know "zebra"; names, captions and labels were searched for it as well'
    ]


def test_the_mode_vector_is_respected(library: Library) -> None:
    assert _ids(library, "red zebra", Mode.VECTOR, k=1) == [1]


def test_a_question_of_unknown_words_is_answered_by_words_alone(library: Library) -> None:
    hits = library.search(Query((TextTerm("a zebra"),)))
    assert [(hit.item.id, hit.score) for hit in hits] == [(2, 0.0), (3, 0.0)]
    assert library.warnings == [
        'the model does not know "zebra"; names, captions and labels were searched for it'
    ]


def test_a_word_that_nobody_knows_is_said_to_be_left_out(library: Library) -> None:
    assert _ids(library, "red okapi", k=1) == [1]
    assert _ids(library, "okapi gnu") == []
    assert _ids(library, "okapi gnu", Mode.HYBRID) == []
    nowhere = "and no name, caption or label has"
    assert library.warnings == [
        f'the model does not know "okapi", {nowhere} it: it was left out',
        f'the model does not know "okapi" and "gnu", {nowhere} them',
    ]


def test_a_term_of_unknown_words_leaves_the_vectors_to_the_others(library: Library) -> None:
    # Away from what the model does not know, (1, ..., 1) of length one, red would be 1.24 x 1
    # - 0.62 x 0.35 = 1.02 and not 1; beside it, less than 1.
    for weight in (1.0, -0.5):
        for negation in Negation:
            terms = (TextTerm("red"), TextTerm("an okapi", weight))
            why = library.explain(Query(terms, 1, negation=negation))
            assert [(hit.item.id, hit.score) for hit in why.hits] == [(1, 1.0)]
            assert why.cosines.tolist() == [[1.0, 0.0]]
    assert library.warnings == [
        'the model does not know "okapi", and no name, caption or label has it: it was left out',
        'the model does not know "okapi", and cannot turn away from it',
    ]


def test_a_negative_term_that_the_model_knows_in_part_turns_away_and_says_so(
    library: Library,
) -> None:
    terms = (TextTerm("blue"), TextTerm("red okapi with a gnu", -1.0))
    assert library.explain(Query(terms, 1)).cosines.tolist() == [[1.0, 0.0]]
    assert library.search(Query(terms, 1))[0].score == pytest.approx(0.5**0.5)
    assert library.warnings == [
        'the model does not know "okapi" and "gnu", and cannot turn away from them'
    ]


def test_the_words_of_a_negative_term_are_no_riddle_to_words_or_vectors_alone(
    library: Library,
) -> None:
    terms = (TextTerm("a0"), TextTerm("okapi", -0.5))
    assert [hit.item.id for hit in library.search(Query(terms, mode=Mode.TEXT))] == [1]
    library.search(Query((TextTerm("red"), TextTerm("okapi", -0.5)), mode=Mode.VECTOR))
    assert library.warnings == []


def test_a_warning_names_few_words_and_no_long_ones(library: Library) -> None:
    _ids(library, "q" * 30_000)
    _ids(library, "aa bb cc dd ee ff gg")
    long, many = library.warnings
    assert long.startswith(f'the model does not know "{"q" * 40}...", and no name')
    assert '"aa", "bb", "cc", "dd", "ee" and 2 more words, and no name' in many


def test_what_a_negative_term_has_is_left_out_of_the_words(library: Library) -> None:
    terms = (TextTerm("zebra"), TextTerm("far away", -0.5))
    hits = library.search(Query(terms, mode=Mode.TEXT))
    assert [hit.item.id for hit in hits] == [2]


def test_the_mode_text_needs_a_text(library: Library) -> None:
    with pytest.raises(InputError, match="give a text"):
        library.search(Query((ItemTerm(1),), mode=Mode.TEXT))


def test_an_item_without_a_vector_is_found_by_its_words_with_a_score_of_0(
    library: Library,
) -> None:
    with Catalog.open(library.directory, write=True) as writing:
        writing.commit(Batch(blank=(2,)))
    for mode in (Mode.TEXT, Mode.HYBRID):
        hits = library.search(Query((TextTerm("zebra green"),), 3, mode=mode))
        assert (2, 0.0) in [(hit.item.id, hit.score) for hit in hits]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(st.characters(exclude_categories=()), min_size=1, max_size=40),
    mode=st.sampled_from([None, *Mode]),
    phrase=st.booleans(),
)
def test_any_text_is_answered_or_refused_in_one_sentence(
    library: Library, text: str, mode: Mode | None, *, phrase: bool
) -> None:
    refused = suppress(InputError) if mode is Mode.TEXT else nullcontext()
    with refused:
        hits = library.search(Query((TextTerm(text, phrase=phrase),), mode=mode))
        assert len({hit.item.id for hit in hits}) == len(hits)
        assert all(-1.001 <= hit.score <= 1.001 for hit in hits)


def _reference(
    wording: Wording, nearest: Search, catalog: Catalog, k: int, among: Ids | None
) -> list[tuple[int, float]]:
    """Return (id, value) of the k best, by the definition."""
    near = nearest(max(DEPTH, 10 * k), among)
    text = telling_matches(catalog, wording, Modality.IMAGE, among, np.empty(0, dtype=np.int64))
    everything = nearest(10**6, among)
    cosines = dict(zip(everything.ids.tolist(), everything.scores.tolist(), strict=True))
    values: dict[int, float] = dict.fromkeys([*near.ids.tolist(), *text.ids.tolist()], 0.0)
    for matches in (near, text):
        scores = matches.scores.tolist()
        for number, score in zip(matches.ids.tolist(), scores, strict=True):
            values[number] += 1 / (60 + 1 + sum(other > score for other in scores))
    order = sorted(values, key=lambda n: (-values[n], -cosines.get(n, 0.0), n))
    return [(number, cosines.get(number, 0.0)) for number in order[:k]]


@pytest.fixture
def many(catalog: Catalog) -> Catalog:
    """600 pictures, most of which share their words with others; one in 9 has no vector."""
    catalog.set_space(SPACE)
    catalog.add_root("/photos", RootKind.FOLDER)
    rows = unit_rows(600, SPACE.dim, seed=3)
    names = [f"{('sea', 'town', 'dog')[n % 3]}/{n % 7} {'boat' * (n % 5 == 0)}" for n in range(600)]
    files = [picture(f"/photos/{name} p{n}", rows[n]) for n, name in enumerate(names)]
    catalog.commit(Batch(files=tuple(files)))
    catalog.commit(Batch(blank=tuple(range(9, 600, 9))))
    return catalog


@pytest.mark.parametrize("several", [1, 1000])
@pytest.mark.parametrize("narrow", [False, True])
def test_the_fused_answers_are_those_of_the_definition(
    many: Catalog, monkeypatch: pytest.MonkeyPatch, *, narrow: bool, several: int
) -> None:
    monkeypatch.setattr("mmsearch.retrieval.hybrid._MANY", several)
    store = IndexStore(many, many.directory)
    among = np.arange(50, 550, dtype=np.int64) if narrow else None
    for seed, words in enumerate(
        (("boat",), ("sea", "boat"), ("dog", "3"), ("p17",), ("nowhere",))
    ):
        vector = unit_rows(1, SPACE.dim, seed=seed)

        def nearest(k: int, among: Ids | None, vector: np.ndarray = vector) -> Matches:
            return store.search(SPACE, Modality.IMAGE, vector, k, among=among)[0]

        def best(search: Search, k: int) -> Matches:
            return search(k, among)

        wording = Wording(Mode.HYBRID, words)
        for k in (1, 10, 70):
            matches, blend = Blending(many, wording, Modality.IMAGE).rank(nearest, best, k)
            found = list(zip(matches.ids.tolist(), matches.scores.tolist(), strict=True))
            assert found == _reference(wording, nearest, many, k, among), (words, k)
            assert {*blend.by_vectors, *blend.by_words} == {*matches.ids.tolist()}


@pytest.mark.parametrize("several", [1, 1000])
def test_what_has_no_vector_comes_before_negative_cosines_among_equals(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, several: int
) -> None:
    """Pictures 102 to 111 are boats on the other side, of which the last one has no vector."""
    monkeypatch.setattr("mmsearch.retrieval.hybrid._MANY", several)
    catalog.set_space(SPACE)
    catalog.add_root("/photos", RootKind.FOLDER)
    towards = Signpost().encode_texts(["boat"])[0]
    names = [f"{n}.jpg" for n in range(1, 102)] + [f"boat{' ' * n}.jpg" for n in range(10)]
    sides = [towards] + [one_hot(0)] * 100 + [-towards] * 10
    files = [picture(f"/photos/{name}", side) for name, side in zip(names, sides, strict=True)]
    catalog.commit(Batch(files=tuple(files)))
    catalog.commit(Batch(blank=(111,)))
    library = Library(catalog, IndexStore(catalog, catalog.directory), Signpost())
    hits = library.search(Query((TextTerm("boat"),), 3, mode=Mode.HYBRID))
    found = [(hit.item.id, hit.score) for hit in hits]
    assert found == [(1, 1), (111, 0), (102, -1)]  # each has 1/61, the others 1/62


def test_what_is_cut_off_does_not_change_how_much_of_the_ranking_by_vectors_counts(
    catalog: Catalog,
) -> None:
    """By vectors the order is that of the ids; 150 is second by words, and 300 first."""
    catalog.set_space(SPACE)
    catalog.add_root("/photos", RootKind.FOLDER)
    towards = Signpost().encode_texts(["boat"])[0]
    away = np.array([towards[1], -towards[0], towards[3], -towards[2]])
    angles = np.linspace(0.4, 1.5, 300)  # float16 tells their cosines apart
    names = [{150: "a small boat", 300: "boat"}.get(n, str(n)) for n in range(1, 301)]
    files = [
        picture(f"/photos/{name}", np.cos(angle) * towards + np.sin(angle) * away)
        for name, angle in zip(names, angles, strict=True)
    ]
    catalog.commit(Batch(files=tuple(files)))
    library = Library(catalog, IndexStore(catalog, catalog.directory), Signpost())
    query = Query((TextTerm("boat"),), mode=Mode.HYBRID)
    first = [hit.item.id for hit in library.search(query)][:5]
    assert first == [1, 300, 2, 150, 3]  # 1/61, 1/61, 1/62, 1/62, 1/63
    kept = [hit.item.id for hit in library.search(replace(query, min_score=0.1))][:5]
    assert kept == [1, 2, 150, 3, 4]


@given(near=st.lists(st.integers(0, 5), max_size=8), text=st.lists(st.integers(0, 5), max_size=8))
def test_fusing_keeps_what_is_first_in_both_first(near: list[int], text: list[int]) -> None:
    def ranking(scores: list[int]) -> Matches:
        return _matches(range(len(scores)), sorted(scores, reverse=True))

    fused = fuse_rankings(ranking(near), ranking(text))
    assert len(fused.ids) == max(len(near), len(text))
    if near and text:
        assert fused.values[0] == fused.values.max() == 2 / 61


@pytest.mark.shared_data
def test_captions_find_photos_that_the_vectors_miss(shared_data: Path, tmp_path: Path) -> None:
    captions: dict[str, list[str]] = {}
    with (shared_data / "flickr8k" / "captions_dev.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            captions.setdefault(row["image"], []).append(row["caption"])
    names = sorted(captions)[:100]
    with mmsearch.open(tmp_path / "library", model="mini") as library:
        library.add(shared_data / "flickr8k" / "images" / name for name in names)
        rows_of = library.catalog.rows("SELECT path, id FROM items")
        ids = {Path(os.fsdecode(path)).name: number for path, number in rows_of}
        with Catalog.open(library.directory, write=True) as writing:
            attributes.set_captions(writing, {ids[name]: (captions[name][0],) for name in names})

        def found(mode: Mode) -> int:
            """Return how many photos are the first answer to their second caption."""
            queries = {name: Query((TextTerm(captions[name][1]),), 1, mode=mode) for name in names}
            return sum(library.search(query)[0].item.id == ids[n] for n, query in queries.items())

        by_vectors, by_both = found(Mode.VECTOR), found(Mode.HYBRID)
    assert by_both > 1.5 * by_vectors
