"""The words of a question, and what they find."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.index.conftest import SPACE, one_hot, picture

from mmsearch.core import (
    Ids,
    ImageTerm,
    ItemTerm,
    Matches,
    Modality,
    Mode,
    Query,
    Term,
    TextTerm,
)
from mmsearch.errors import InputError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, RootKind
from mmsearch.retrieval.terms import parse_line, show_line
from mmsearch.retrieval.wording import (
    MOST_WORDS,
    Wording,
    meaningless,
    read_wording,
    telling_matches,
    text_matches,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a dog on the beach", ("dog", "beach")),
        ("on the", ("on", "the")),
        ("Dog, dog DOG", ("Dog",)),
        ('a "dog on the beach" and a cat', ("dog on the beach", "cat")),
        ('an open "quote', ("open", "quote")),
        ('"" " " ! ?', ()),
        ("black-and-white IMG_0001.jpg", ("black-and-white", "IMG_0001.jpg")),
        ("what is this?", ("what",)),
        ("", ()),
    ],
)
def test_a_text_has_words_and_phrases(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_words_without_end(text: str) -> None:
    words = words_of(text)
    assert len(words) <= MOST_WORDS
    assert all(any(map(str.isalnum, word)) for word in words)


def _query(mode: Mode | None, *terms: Term) -> Query:
    return Query(terms, mode=mode)


DOG, BEACH, NO_CAT = TextTerm("a dog"), TextTerm("the beach", 0.5), TextTerm("a fat cat", -1)


def test_all_texts_of_a_question_are_looked_for_and_the_negative_ones_left_out() -> None:
    for mode in (Mode.TEXT, Mode.HYBRID):
        wording = read_wording(_query(mode, DOG, BEACH, NO_CAT), ())
        assert wording == Wording(mode, ("dog", "beach"), (("fat", "cat"),))


def test_a_quoted_term_is_a_phrase() -> None:
    terms = parse_line('"on the beach" -:"fat cat" +:dog')
    texts = [term for term in terms if isinstance(term, TextTerm)]
    wording = read_wording(_query(Mode.TEXT, *texts), ())
    assert wording == Wording(Mode.TEXT, ("on the beach", "dog"), (("fat cat",),))
    assert parse_line(show_line(terms))[0] == TextTerm("on the beach")
    assert show_line(terms) == '"on the beach" -:"fat cat" +:dog'


def test_only_a_question_with_words_can_be_asked_by_words() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    for terms in ((ItemTerm(1),), (ImageTerm(pixels),), (TextTerm("?!"),), (NO_CAT,)):
        with pytest.raises(InputError, match="give a text"):
            read_wording(_query(Mode.TEXT, *terms), ())
        assert read_wording(_query(Mode.HYBRID, *terms), ()) is None


def test_without_a_mode_only_unknown_words_are_looked_for() -> None:
    assert read_wording(_query(None, DOG), ()) is None
    assert read_wording(_query(None, DOG), ("a",)) is None
    text = TextTerm("a zebra on the grass")
    wording = read_wording(_query(None, text), ("a", "zebra"))
    assert wording == Wording(Mode.HYBRID, ("zebra",), (), ("zebra",))


def test_a_word_that_the_model_does_not_know_counts_once_in_however_many_terms() -> None:
    terms = (TextTerm("a zebra"), TextTerm("ZEBRA on a beach", 0.5))
    wording = read_wording(_query(None, *terms), ("zebra", "ZEBRA"))
    assert wording == Wording(Mode.HYBRID, ("zebra",), (), ("zebra",))


def test_of_words_that_the_model_does_not_know_no_more_than_of_others_are_looked_for() -> None:
    strange = tuple(f"w{n}" for n in range(MOST_WORDS + 6))
    wording = read_wording(_query(None, TextTerm(" ".join(strange)), ItemTerm(1)), strange)
    assert wording is not None
    assert (wording.wanted, wording.unknown) == (strange[:MOST_WORDS], strange)


@pytest.mark.parametrize("mode", [None, Mode.TEXT, Mode.HYBRID])
def test_a_model_that_knows_a_word_beyond_those_looked_for_is_not_blind(mode: Mode | None) -> None:
    strange = tuple(f"w{n}" for n in range(MOST_WORDS))
    wording = read_wording(_query(mode, TextTerm(" ".join((*strange, "dog")))), strange)
    assert wording is not None
    assert wording.wanted == strange
    assert not wording.blind


@pytest.mark.parametrize("mode", [None, Mode.HYBRID, Mode.TEXT])
def test_where_the_model_knows_no_word_what_was_written_is_looked_for(mode: Mode | None) -> None:
    terms = (TextTerm('a IMG_0412.jpg "golden gate"'), TextTerm("sky line", phrase=True))
    unknown = ("IMG_0412", "jpg", "golden", "gate", "sky", "line")
    wording = read_wording(_query(mode, *terms), unknown)
    assert wording is not None
    assert wording.wanted == ("IMG_0412.jpg", "golden gate", "sky line")


@pytest.mark.parametrize("mode", [None, Mode.HYBRID])
def test_where_the_model_knows_no_word_the_words_rank_alone(mode: Mode | None) -> None:
    text = TextTerm("a Zebra, an okapi-calf")
    for more in ((), (TextTerm("it is"),), (TextTerm("a zebra-and-okapi"),)):
        wording = read_wording(_query(mode, text, *more), ("Zebra", "okapi", "calf"))
        assert wording is not None
        assert (wording.mode, wording.blind) == (Mode.TEXT, True), more
    with_item = read_wording(_query(mode, text, ItemTerm(1)), ("Zebra", "okapi", "calf"))
    assert with_item is not None
    assert (with_item.mode, with_item.blind) == (Mode.HYBRID, False)


@pytest.mark.parametrize(
    ("terms", "unknown", "places"),
    [
        ((DOG, TextTerm("a zebra")), {1: ("zebra",)}, [1]),
        ((DOG, TextTerm("a zebra", -0.5)), {1: ("zebra",)}, [1]),
        ((DOG, TextTerm("zebra crossing")), {1: ("zebra",)}, []),
        ((ItemTerm(1), TextTerm("zebra")), {1: ("zebra",)}, [1]),
        ((ItemTerm(1, -1.0), TextTerm("zebra")), {1: ("zebra",)}, []),
        ((TextTerm("zebra"), TextTerm("okapi")), {0: ("zebra",), 1: ("okapi",)}, []),
        ((TextTerm("zebra", -1.0), TextTerm("dog", -1.0)), {0: ("zebra",)}, [0]),
        ((DOG, TextTerm("a")), {1: ("a",)}, []),
    ],
)
def test_texts_mean_nothing_of_which_the_model_knows_no_word_beside_what_is_wanted(
    terms: tuple[Term, ...], unknown: dict[int, tuple[str, ...]], places: list[int]
) -> None:
    assert meaningless(terms, unknown) == places


def _captioned(catalog: Catalog, captions: dict[int, str], total: int) -> None:
    """Write pictures 1 to `total`, of which some have a caption."""
    catalog.set_space(SPACE)
    catalog.add_root("/photos", RootKind.FOLDER)
    rows = [picture(f"/photos/{n}.jpg", one_hot(0), content=str(n)) for n in range(1, total + 1)]
    catalog.commit(Batch(files=tuple(rows)))
    attributes.set_captions(catalog, {number: (text,) for number, text in captions.items()})


NOTHING: Ids = np.empty(0, dtype=np.int64)


def _found(matches: Matches) -> list[int]:
    return [int(number) for number in matches.ids]


def test_one_of_the_words_is_enough_and_more_come_first(catalog: Catalog) -> None:
    _captioned(catalog, {1: "sea", 2: "dog sea", 3: "dog", 4: "cat"}, total=9)
    wording = Wording(Mode.TEXT, ("dog", "sea"))
    assert _found(text_matches(catalog, wording, Modality.IMAGE, 9, None)) == [2, 1, 3]
    assert _found(text_matches(catalog, wording, Modality.IMAGE, 2, None)) == [2, 1]


def test_the_filter_is_applied_before_the_k_best_are_taken(catalog: Catalog) -> None:
    _captioned(catalog, {1: "sea", 2: "dog sea", 3: "dog"}, total=9)
    wording = Wording(Mode.TEXT, ("dog", "sea"))
    among: Ids = np.array([1, 3, 5])
    assert _found(text_matches(catalog, wording, Modality.IMAGE, 1, among)) == [1]
    assert _found(telling_matches(catalog, wording, Modality.IMAGE, among, NOTHING)) == [1, 3]


def test_what_has_an_unwanted_word_is_left_out(catalog: Catalog) -> None:
    _captioned(catalog, {1: "sea", 2: "dog sea", 3: "dog"}, total=9)
    wording = Wording(Mode.TEXT, ("sea",), (("dog",),))
    assert _found(text_matches(catalog, wording, Modality.IMAGE, 9, None)) == [1]
    assert _found(telling_matches(catalog, wording, Modality.IMAGE, None, NOTHING)) == [1]


@pytest.fixture
def full_of_dogs(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Ten of twenty pictures show a dog, two of them surfing; more than 2 is many."""
    monkeypatch.setattr("mmsearch.retrieval.wording._MANY", 2)
    captions = dict.fromkeys(range(1, 11), "dog") | {
        3: "surfing dog",
        7: "dog surfing",
        15: "surfing",
    }
    _captioned(catalog, captions, total=20)
    return catalog


def test_a_frequent_word_ranks_and_does_not_find_beside_a_rarer_one(full_of_dogs: Catalog) -> None:
    def found(*words: str) -> list[int]:
        wording = Wording(Mode.TEXT, words)
        return _found(text_matches(full_of_dogs, wording, Modality.IMAGE, 20, None))

    assert found("dog", "surfing") == [15, 3, 7]  # the shorter one first: half have "dog"
    assert found("dog") == found("dog", "yacht") == [1, 2, 4, 5, 6, 8, 9, 10, 3, 7]


def test_of_equally_frequent_words_none_is_the_rarer_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsearch.retrieval.wording._MANY", 2)
    _captioned(catalog, dict.fromkeys((1, 2, 3), "dog") | dict.fromkeys((4, 5, 6), "cat"), total=20)
    for words in (("dog", "cat"), ("cat", "dog")):
        wording = Wording(Mode.TEXT, words)
        found = _found(text_matches(catalog, wording, Modality.IMAGE, 20, None))
        assert found == [1, 2, 3, 4, 5, 6]


def test_beside_the_vectors_half_of_what_the_words_tell_is_needed(catalog: Catalog) -> None:
    # Of 20 items 8 have man, 2 boat, 1 red: ln(1 + (20 - n + 0.5) / (n + 0.5)) tells
    tells = {word: math.log1p((20.5 - n) / (n + 0.5)) for word, n in (("man", 8), ("boat", 2))}
    assert tells["man"] < tells["boat"]
    captions = dict.fromkeys(range(1, 8), "man") | {8: "man boat", 9: "boat", 10: "red"}
    _captioned(catalog, captions, total=20)

    def found(*words: str) -> list[int]:
        wording = Wording(Mode.HYBRID, words)
        return sorted(_found(telling_matches(catalog, wording, Modality.IMAGE, None, NOTHING)))

    assert found("man", "boat") == [8, 9]
    assert found("man", "boat", "red") == [8]  # 0.87 + 2.10 of 5.63; red alone tells 2.64
    assert found("man") == list(range(1, 9))
    assert found("man", "yacht") == list(range(1, 9))  # what no item has does not count
    assert found("yacht") == []
    assert found() == []


def test_words_that_most_items_have_tell_nothing_beside_the_vectors(full_of_dogs: Catalog) -> None:
    wording = Wording(Mode.HYBRID, ("jpg",))
    assert _found(telling_matches(full_of_dogs, wording, Modality.IMAGE, None, NOTHING)) == []


def test_what_is_left_out_does_not_count_among_what_many_have_in_common(
    full_of_dogs: Catalog,
) -> None:
    """Two of them are still an order, three are not."""
    wording = Wording(Mode.HYBRID, ("surfing",))

    def scores(*left_out: int) -> dict[int, float]:
        ids: Ids = np.array(left_out, dtype=np.int64)
        best = telling_matches(full_of_dogs, wording, Modality.IMAGE, None, ids)
        return dict(zip(best.ids.tolist(), best.scores.tolist(), strict=True))

    assert scores() == {3: 0.0, 7: 0.0, 15: 0.0}
    assert [*scores(7)] == [15, 3]
    assert min(scores(7).values()) > 0
    assert scores(3, 7, 15) == {}


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_found_beside_the_vectors_is_what_the_definition_says(seed: int) -> None:
    """The shortcut by frequent words changes nothing."""
    from mmsearch.retrieval.wording import _essential

    generator = np.random.default_rng(seed)
    tells = {str(n): float(w) for n, w in enumerate(generator.exponential(size=6))}
    enough = 0.5 * sum(tells.values())
    finding, others = _essential(tells, enough)
    assert {*finding, *others} == {*tells}
    assert sum(tells[word] for word in others) < enough
    smallest = min(finding, key=tells.__getitem__)
    assert sum(tells[word] for word in (*others, smallest)) >= enough
