"""Tokenizers of transformers inside open_clip: cleaning, length, separators, padding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.retrieval.convert.open_clip_models import FAMILIES
from tokenizers import Tokenizer

from mmsearch.errors import ModelError
from mmsearch.retrieval.cleaning import clean_text
from mmsearch.retrieval.convert.open_clip_text import load_tokenizer
from mmsearch.retrieval.convert.open_clip_tokenizer import TextWay, text_way
from mmsearch.retrieval.convert.samples import ODD_SENTENCES

pytest.importorskip("open_clip")

SPECIAL = "[SEP] a [CLS] b [PAD] </s> <s> <pad> <eos> <unk> [MASK] <mask> <bos>"


@dataclass(frozen=True)
class Pair:
    """A tokenizer of open_clip, and ours."""

    theirs: Any
    way: TextWay
    tokenizer: Tokenizer

    def ids(self, text: str) -> list[int]:
        """The row of ids that our way gives, filled up to the full length."""
        way = self.way
        found = self.tokenizer.encode(clean_text(text, way.cleaning)).ids[: way.length]
        found = [0 if n == way.separator else n for n in found]
        filling = [way.pad] * (way.length - len(found))
        return filling + found if way.left else found + filling


@pytest.fixture(scope="module", params=["siglip", "siglip2", "clipa", "xlm-roberta", "mt5"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family = FAMILIES[request.param]
    path = tmp_path_factory.mktemp(request.param)
    assert family.files is not None
    family.files(path)
    theirs, clean = load_tokenizer(family.model["text_cfg"], path)
    way = text_way(theirs, clean)
    tokenizer = Tokenizer.from_str(way.tokenizer.to_str())
    tokenizer.enable_truncation(way.length)
    return Pair(theirs, way, tokenizer)


@pytest.mark.parametrize("text", [*ODD_SENTENCES, SPECIAL], ids=lambda text: ascii(text)[:30])
def test_odd_sentences_have_the_same_ids(pair: Pair, text: str) -> None:
    assert pair.ids(text) == pair.theirs([text])[0].tolist()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["cat", "[SEP]", "</s>", " ", "_", "&amp;", "B", "\u72d7"])).map(
        "".join
    )
)
def test_any_sentence_has_the_same_ids(pair: Pair, text: str) -> None:
    assert pair.ids(text) == pair.theirs([text])[0].tolist()


def test_a_batch_is_filled_up_alike(pair: Pair) -> None:
    texts = ["a cat", "", "two dogs play with a ball"]
    assert [pair.ids(text) for text in texts] == pair.theirs(texts).tolist()


def test_the_tokenizer_neither_fills_up_nor_cuts_by_itself(pair: Pair) -> None:
    assert pair.way.tokenizer.padding is None
    assert pair.way.tokenizer.truncation is None


class Slow:
    """A tokenizer that runs on Python code."""

    pad_token_id = 0
    padding_side = truncation_side = "right"
    context_length = 16
    strip_sep_token = False

    @property
    def tokenizer(self) -> "Slow":
        return self


def test_a_tokenizer_that_cannot_be_written_is_refused(pair: Pair) -> None:
    with pytest.raises(ModelError, match="has no fast version"):
        text_way(Slow(), "lower")
    pair.theirs.tokenizer.truncation_side = "left"
    try:
        with pytest.raises(ModelError, match="cuts sentences on the left"):
            text_way(pair.theirs, "lower")
    finally:
        pair.theirs.tokenizer.truncation_side = "right"


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be read") as caught:
        load_tokenizer({"hf_tokenizer_name": "nobody/words"}, tmp_path)
    assert "\n" not in str(caught.value)
