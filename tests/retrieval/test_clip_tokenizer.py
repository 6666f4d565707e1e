"""CLIP's tokenizer as a tokenizer.json, against the Python code of open_clip."""

import gzip
import importlib.util
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mmsearch.errors import ModelError
from mmsearch.retrieval.cleaning import clean_text
from mmsearch.retrieval.clip_tokenizer import CLIP_LENGTH, clip_tokenizer, read_byte_pairs
from mmsearch.retrieval.convert.open_clip_tokenizer import CLEANING, text_way
from mmsearch.retrieval.convert.samples import ODD_SENTENCES

NAMES = ("<start_of_text>", "<end_of_text>")
ODD = [
    *ODD_SENTENCES,
    *NAMES,
    "x<end_of_text>y <start_of_text><end_of_text>",
    "!<end_of_text> ((<start_of_text>))",
    "<START_OF_TEXT> <End_Of_Text>",
    "<\u017ftart_of_text> <end_of_text <end_of_text><",
    "it's IT'S it'\u017f it\u2019s we're they'll I'd I'm don't've ''s '",
    "\ufb01 \ufb00 \ufb06 \u00df \u1e9e \u0130 \u01c5 \u212a",
    "\u00bd \u00b2\u00b3 \u2167 \u0663\u0664 \u4e00\u4e8c \U0001d7d8",
    "\x00\x07\x1b[0m\x1c\x1d\x7f\x85\u2028\u2029\ufeff\u200b",
    "a\u0345b !\u0345! e\u0301\u0308\u20d0",
    "\ud83d\ude00 \ud800 x\udfff",
    "&lt;end_of_text&gt; &amp;lt;b&amp;gt; &#x1F600; &nosuch; &#0; &#xD800;",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \u2764\ufe0f\u200d\U0001f525",
    "x" * 5000,
]


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        pytest.skip("open_clip, which brings the vocabulary, is not installed")
    return Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


@pytest.fixture(scope="module")
def theirs() -> Any:
    return pytest.importorskip("open_clip").SimpleTokenizer()


@pytest.fixture(scope="module")
def ours(vocabulary: Path) -> Tokenizer:
    tokenizer = clip_tokenizer(read_byte_pairs(vocabulary))
    tokenizer.enable_truncation(CLIP_LENGTH)
    return tokenizer


def ids(tokenizer: Tokenizer, text: str, clean: str = "lower") -> list[int]:
    """The row of token ids that open_clip would give, filled up with 0."""
    found = tokenizer.encode(clean_text(text, CLEANING[clean])).ids
    return found + [0] * (CLIP_LENGTH - len(found))


def test_the_vocabulary_is_read_as_open_clip_reads_it(vocabulary: Path, theirs: Any) -> None:
    pairs = read_byte_pairs(vocabulary)
    assert dict(pairs.ids) == theirs.encoder
    assert {pair: rank for rank, pair in enumerate(pairs.merges)} == theirs.bpe_ranks
    way = text_way(theirs, "lower")
    assert way.tokenizer.to_str() == clip_tokenizer(pairs).to_str()
    assert (way.length, way.pad, way.left) == (77, 0, False)


@pytest.mark.parametrize("text", ODD, ids=lambda text: ascii(text)[:30])
def test_odd_sentences_have_the_same_ids(ours: Tokenizer, theirs: Any, text: str) -> None:
    assert ids(ours, text) == theirs([text])[0].tolist()


def test_ids_are_those_of_the_paper(ours: Tokenizer) -> None:
    assert ours.encode("a diagram").ids == [49406, 320, 22697, 49407]
    assert ours.encode("").ids == [49406, 49407]
    long = ours.encode("dog " * 100).ids
    assert len(long) == CLIP_LENGTH
    assert long[-1] == 49407


def known(text: str) -> bool:
    """Whether all characters are of a Unicode version that every library here knows."""
    return all(unicodedata.category(c) != "Cn" for c in text)


pieces = st.one_of(
    st.characters(),
    st.text(alphabet="abcsSTDrRevmlL'\u017f<>_of end", max_size=6),
    st.sampled_from([*NAMES, "&amp;", "&#39;", "\u00c3\u00a9", "\u0345", "\u00a0", "'re", "12"]),
)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(pieces, max_size=25).map("".join).filter(known))
def test_any_sentence_has_the_same_ids(ours: Tokenizer, theirs: Any, text: str) -> None:
    assert ids(ours, text) == theirs([text])[0].tolist()


@pytest.mark.parametrize("clean", sorted(CLEANING))
def test_every_cleaning_is_that_of_open_clip(ours: Tokenizer, theirs: Any, clean: str) -> None:
    tokenizer = type(theirs)(clean=clean)
    for text in (*ODD, "Snow_Covered Hills, 3.5 m/s (50%)!", "__a--b__"):
        assert ids(ours, text, clean) == tokenizer([text])[0].tolist()


def test_every_character_is_split_alike(ours: Tokenizer, theirs: Any) -> None:
    """Each by itself, between letters, and between symbols; all that Unicode 14 has."""
    chosen = [chr(n) for n in range(0x110000) if n % 7 == 0 or n < 0x3000]
    chosen = [c for c in chosen if unicodedata.category(c) not in {"Cn", "Cs", "Co"}]
    ours.no_truncation()
    try:
        for start in range(0, len(chosen), 50):
            text = " ".join(f"{c} a{c}a !{c}!" for c in chosen[start : start + 50])
            found = ours.encode(clean_text(text, CLEANING["lower"])).ids
            assert found[1:-1] == theirs.encode(text)
    finally:
        ours.enable_truncation(CLIP_LENGTH)


def test_a_file_that_is_not_the_vocabulary_is_refused(vocabulary: Path, tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.txt.gz"
    whole = vocabulary.read_bytes()
    for content in (b"", b"plain text", whole[:1000], gzip.compress(b"a b\n" * 100)):
        file.write_bytes(content)
        with pytest.raises(ModelError, match="not CLIP's vocabulary"):
            read_byte_pairs(file)
    with pytest.raises(ModelError, match="not CLIP's vocabulary"):
        read_byte_pairs(tmp_path / "absent")
