"""How a question is written."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.core import ItemTerm, TextTerm
from mmsearch.errors import InputError, QueryError
from mmsearch.retrieval.terms import (
    FileTerm,
    WrittenTerm,
    parse_line,
    parse_minus,
    parse_plus,
    show,
    show_line,
)

PLAIN = [
    "a dog on grass",
    "3:10 to Yuma",
    "the 3:10 to Yuma at 16:9",
    "16:9",
    "a ratio of 1:1, or 2:3",
    "7:30am, before breakfast",
    "3: a dog",
    "chapter 2:",
    "see https://example.org/2:dog?x=-1:y#z",
    "https://example.org:8080/a",
    "happy -:) and sad -:( and +:/ faces",
    ":-) 2:)",
    '\'70s car, "vintage" style',
    '"Stop!" she said',
    'he said "2:dog" and left',
    'a 2:"dog" in the middle',
    'a 6" ruler',
    '"unclosed',
    "rock 'n' roll — déjà vu… (live)",
    "dog - cat + bird",
    "-5 degrees +3 degrees",
    "C++: a language; C#: another",
    "2,5:dog",
    "1e3:dog",
    "nan:dog inf:dog",
    "2:-dog",
    "2:(dog)",
    "a-0.5:people",
    "one to many +1:1",
    "image of a dog",
    "Image:dog.png",
    "image: a dog",
    "an image:dog.png",
    "item: three",
    "an item:12",
    "text:dog",
    "\u0663:dog",
    "犬と草",
    "🐶: good",
    "\u2212:people",
    "50% off! @home #tag & more; <b>bold</b> \\ / | ~ ` ^ * _ = $",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
weights = st.floats(0.001, 1000).map(lambda w: float(f"{w:.15g}"))
signed = st.tuples(weights, st.sampled_from([1.0, -1.0])).map(lambda pair: pair[0] * pair[1])
written: st.SearchStrategy[WrittenTerm] = st.one_of(
    st.builds(TextTerm, texts, signed),
    st.builds(FileTerm, st.builds(Path, texts.filter(lambda t: "\0" not in t)), signed),
    st.builds(ItemTerm, st.integers(0, 10**18 - 1), signed),
)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_sentence_is_one_text_of_weight_one(text: str) -> None:
    assert parse_line(text) == (TextTerm(text),)


def test_a_sign_beyond_ascii_may_follow_the_colon() -> None:
    assert parse_line("2:🐶 -:“dog”") == (TextTerm("🐶", 2.0), TextTerm("“dog”", -0.5))
    assert parse_line("2:\u00a0dog") == (TextTerm("2:\u00a0dog"),)  # white space
    assert parse_line("2:\u0663 dogs") == (TextTerm("2:\u0663 dogs"),)  # a digit


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("2:dog", 2.0),
        ("+2:dog", 2.0),
        ("-2:dog", -2.0),
        ("+:dog", 1.0),
        ("-:dog", -0.5),
        ("-1:dog", -1.0),
        (".5:dog", 0.5),
        ("0.25:dog", 0.25),
        ("2.:dog", 2.0),
        ("007:dog", 7.0),
        ("1000:dog", 1000.0),
        ("-1000:dog", -1000.0),
    ],
)
def test_a_weight_is_a_number_a_sign_or_both(text: str, weight: float) -> None:
    assert parse_line(text) == (TextTerm("dog", weight),)


@pytest.mark.parametrize("weight", ["0", "-0.0", "1000.1", "-1001", "2001", "9" * 400])
def test_a_weight_that_is_none_or_beyond_all_measure_is_refused(weight: str) -> None:
    with pytest.raises(QueryError, match=r"out of range.*in quotes"):
        parse_line(f"{weight}:a space odyssey")


def test_later_terms_begin_with_a_sign() -> None:
    assert parse_line("2:dog on grass  +0.5:beach\t-:people 3:x") == (
        TextTerm("dog on grass", 2.0),
        TextTerm("beach", 0.5),
        TextTerm("people 3:x", -0.5),
    )
    assert parse_line("+:a -:b") == (TextTerm("a"), TextTerm("b", -0.5))


def test_a_single_term_is_not_cut() -> None:
    assert parse_plus("0.5:dog -:people") == TextTerm("dog -:people", 0.5)
    assert parse_minus("dog +:people") == TextTerm("dog +:people", -0.5)


def test_pictures_and_items_are_terms() -> None:
    assert parse_line("image:/my photos/a.jpg -0.5:image:b.png +:item:12 -:item:7") == (
        FileTerm(Path("/my photos/a.jpg")),
        FileTerm(Path("b.png"), -0.5),
        ItemTerm(12),
        ItemTerm(7, -0.5),
    )
    assert parse_line("2:item:3") == (ItemTerm(3, 2.0),)


def test_what_is_quoted_is_text_and_nothing_else() -> None:
    assert parse_line('"2:dog"') == (TextTerm("2:dog"),)
    assert parse_line('2:"item:3 -:x" -:"2 dogs"') == (
        TextTerm("item:3 -:x", 2.0),
        TextTerm("2 dogs", -0.5),
    )
    assert parse_line(r'"a \"big\" \\ dog\n"') == (TextTerm('a "big" \\ dog\\n'),)
    assert parse_line('image:"a -:b.png" -:dog') == (
        FileTerm(Path("a -:b.png")),
        TextTerm("dog", -0.5),
    )


@pytest.mark.parametrize("text", ['""', '" "', '2:""', 'image:""', 'dog -:""'])
def test_an_empty_term_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is empty"):
        parse_line(text)


@pytest.mark.parametrize("text", ["item:dog", "2:item:-3", "item:" + "9" * 19, "item:1.5"])
def test_an_item_is_named_by_its_number(text: str) -> None:
    with pytest.raises(QueryError, match="names no item"):
        parse_line(text)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_question_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the query is empty"):
        parse_line(text)


def test_a_term_of_its_own_is_looked_for_or_pushed_away() -> None:
    assert parse_plus("dog") == parse_plus("+:dog") == TextTerm("dog")
    assert parse_plus("+2:image:a.png") == FileTerm(Path("a.png"), 2.0)
    assert parse_minus("dog") == TextTerm("dog", -0.5)
    assert parse_minus("1:dog") == TextTerm("dog", -1.0)
    assert parse_minus("0.25:item:3") == ItemTerm(3, -0.25)
    assert parse_minus("16:9") == TextTerm("16:9", -0.5)


@pytest.mark.parametrize("text", ["-:dog", "-0.5:dog", "+:dog", "+2:dog"])
def test_what_is_pushed_away_has_no_sign(text: str) -> None:
    with pytest.raises(QueryError, match="without a sign"):
        parse_minus(text)


def test_what_is_looked_for_has_no_weight_below_zero() -> None:
    with pytest.raises(QueryError, match="--minus"):
        parse_plus("-2:dog")


def test_terms_are_shown_as_they_may_be_written() -> None:
    line = '2:dog on grass +0.5:"2 dogs" -:people +:item:12 -0.25:image:/a b.png'
    assert show_line(parse_line(line)) == line
    assert show(TextTerm("2:dog")) == '"2:dog"'
    assert show(TextTerm("dog", -0.5)) == "-:dog"
    assert show(TextTerm("dog", -1.0)) == "-1:dog"


@given(terms=st.lists(written, min_size=1, max_size=5).map(tuple))
def test_what_is_shown_is_read_as_the_same(terms: tuple[WrittenTerm, ...]) -> None:
    assert parse_line(show_line(terms)) == terms
    assert parse_line(show(terms[0])) == terms[:1]


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        terms = parse_line(text)
    except InputError:
        return
    assert parse_line(show_line(terms)) == terms


@pytest.mark.shared_data
def test_every_caption_of_flickr8k_is_one_plain_text(shared_data: Path) -> None:
    captions = 0
    for name in ("captions_dev.csv", "captions_train.csv"):
        with (shared_data / "flickr8k" / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                caption = row["caption"].strip()
                assert parse_line(caption) == (TextTerm(caption),)
                captions += 1
    assert captions == 35_000
