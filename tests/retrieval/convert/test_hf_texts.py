"""Tokenizers of transformers as tokenizer.json: the same ids for whatever is typed."""

import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.retrieval.convert.hf_models import (
    SENTENCES,
    bert_tokenizer,
    clip_tokenizer,
    gemma_tokenizer,
    sentencepiece,
    xlmr_tokenizer,
)
from tests.retrieval.convert.hf_reference import ODD
from tokenizers import Tokenizer

from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.convert import hf_texts
from mmsearch.retrieval.convert.hf_texts import (
    ODD_SENTENCES,
    check_tokens,
    convert_tokenizer,
    load_tokenizer,
)


def siglip_tokenizer(path: Path, **settings: Any) -> Any:
    import transformers

    chosen = {
        "normalization_rule_name": settings.pop("rule", "nmt_nfkc"),
        "byte_fallback": settings.pop("bytes", False),
    }
    file = sentencepiece(path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **chosen)
    return transformers.SiglipTokenizer(str(file), model_max_length=20, **settings)


TOKENIZERS: dict[str, Callable[[Path], Any]] = {
    "clip": lambda path: clip_tokenizer(),
    "bert": lambda path: bert_tokenizer(length=24),
    "xlmr": lambda path: xlmr_tokenizer(path, length=24),
    "gemma": lambda path: gemma_tokenizer(lower=False),
    "gemma lowered": lambda path: gemma_tokenizer(model_max_length=24),
    "siglip": siglip_tokenizer,
    "siglip identity": lambda path: siglip_tokenizer(path, rule="identity"),
    "siglip bytes": lambda path: siglip_tokenizer(path, bytes=True),
    "siglip cased": lambda path: siglip_tokenizer(path, do_lower_case=False),
}

LETTERS = [
    chr(code)
    for first, last in [
        (0x00, 0x250), (0x370, 0x400), (0x400, 0x460), (0x5D0, 0x5EB), (0x620, 0x64B),
        (0x904, 0x93A), (0x2000, 0x2070), (0x2190, 0x21A0), (0x3040, 0x30FF), (0x4E00, 0x4E40),
        (0xAC00, 0xAC40), (0xFF01, 0xFF5E), (0x1F600, 0x1F640),
    ]
    for code in range(first, last)
]  # fmt: skip
ODDITIES = [
    "ΚΑΛΗΜΕΡΑΣ ΣΑΣ Σ",
    "İstanbul",
    "ﬁne",
    "½",
    "&amp;",
    "<b>",
    "…",
    "e\u0301",
    "\u200b",
    "\x1c",
]


def odd_sentences(seed: int, count: int) -> list[str]:
    """Return sentences with foreign letters, control characters and odd spaces strewn in."""
    rng = random.Random(seed)
    sentences = []
    for n in range(count):
        words = rng.choice(SENTENCES).split()
        match n % 4:
            case 0:
                words = ["".join(rng.choices([*LETTERS, *" " * 80], k=rng.randint(0, 40)))]
            case 1:
                words = ["".join(rng.choices(string.printable, k=rng.randint(0, 80)))]
            case 2:
                words.insert(rng.randint(0, len(words)), rng.choice(ODDITIES))
            case _:
                words = [rng.choice([word, word.upper(), word.title()]) for word in words]
        sentences.append(rng.choice([" ", "  ", "\t", "\n"]).join(words))
    return sentences


@pytest.fixture(scope="module", params=TOKENIZERS)
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return TOKENIZERS[request.param](tmp_path_factory.mktemp("tokenizer"))


def test_the_ids_are_those_of_transformers(theirs: Any) -> None:
    words = convert_tokenizer(theirs, positions=24, fixed=False)
    sentences = [*ODD, *odd_sentences(1, 600)]
    check_tokens(theirs, words, sentences)
    reread = Tokenizer.from_str(words.tokenizer.to_str())
    assert [reread.encode(sentence).ids for sentence in sentences] == [
        words.tokenizer.encode(sentence).ids for sentence in sentences
    ]


def test_the_length_is_the_smaller_of_two_limits(theirs: Any) -> None:
    words = convert_tokenizer(theirs, positions=11, fixed=True)
    assert words.spec.length == 11
    assert words.spec.pad == theirs.pad_token_id
    assert words.spec.cleaning == ()
    assert len(words.tokenizer.encode("word " * 40).ids) == 11
    longest = convert_tokenizer(theirs, positions=2000, fixed=False).spec.length
    assert longest == min(theirs.model_max_length, 2000)


def test_a_sentence_with_other_ids_is_named() -> None:
    theirs = clip_tokenizer()
    words = convert_tokenizer(theirs, positions=24, fixed=False)
    words.tokenizer.normalizer = None
    with pytest.raises(ModelError, match=r"' ' gets other ids|'  Two .* gets other ids"):
        check_tokens(theirs, words, ODD_SENTENCES)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"truncation_side": "left"}, "cuts sentences at their start"),
        ({"split_special_tokens": True}, "splits its special tokens"),
        ({"pad_token": None}, "no padding token"),
    ],
)
def test_a_setting_without_counterpart_is_refused(change: dict[str, Any], reason: str) -> None:
    theirs = bert_tokenizer(length=24)
    for name, value in change.items():
        setattr(theirs, name, value)
    with pytest.raises(ModelError, match=reason):
        convert_tokenizer(theirs, positions=24, fixed=False)


def test_a_tokenizer_that_is_python_code_is_refused() -> None:
    class Letters:
        model_max_length, truncation_side, padding_side = 20, "right", "right"
        split_special_tokens, pad_token_id, eos_token_id = False, 0, 1

    with pytest.raises(ModelError, match="Letters is Python code"):
        convert_tokenizer(Letters(), positions=20, fixed=False)


def test_a_vocabulary_of_pairs_is_no_siglip(tmp_path: Path) -> None:
    theirs = siglip_tokenizer(tmp_path)
    file = sentencepiece(tmp_path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, kind="bpe")
    theirs.sp_model.Load(str(file))
    with pytest.raises(ModelError, match="none of unigrams"):
        convert_tokenizer(theirs, positions=20, fixed=True)


def test_without_sentencepiece_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spiece.model").touch()
    (tmp_path / "tokenizer.json").touch()
    monkeypatch.setattr(hf_texts, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="sentencepiece is not installed"):
        load_tokenizer(tmp_path, "siglip")


@pytest.mark.parametrize("files", [[], ["vocab.json"], ["merges.txt", "special_tokens_map.json"]])
def test_a_directory_without_vocabulary_is_refused(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(tmp_path, "clip")


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(tmp_path, "clip")
