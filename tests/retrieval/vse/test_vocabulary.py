"""The vocabulary: special tokens, counts, other scripts."""

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.vse.config import VocabularyKind, preset
from mmsearch.retrieval.vse.vocabulary import SPECIAL, encode_captions, learn_tokenizer

CAPTIONS = ["A dog runs .", "a dog, a cat", "the cat sleeps"]


def test_a_caption_stands_between_start_and_end() -> None:
    tokenizer = learn_tokenizer(CAPTIONS, preset("default", min_count=1))
    tokens, lengths = encode_captions(tokenizer, ["A DOG", "zebra"])
    words = [tokenizer.id_to_token(token) for token in tokens[0]]
    assert words == ["<start>", "a", "dog", "<end>"]
    assert [tokenizer.id_to_token(t) for t in tokens[1]] == ["<start>", "<unk>", "<end>", "<pad>"]
    assert lengths.tolist() == [4, 3]
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3]


def test_rare_words_are_unknown() -> None:
    tokenizer = learn_tokenizer(CAPTIONS, preset("default", min_count=2))
    assert tokenizer.token_to_id("dog") is not None
    assert tokenizer.token_to_id("sleeps") is None


def test_a_word_is_one_whether_composed_or_decomposed() -> None:
    tokenizer = learn_tokenizer(["café"], preset("default", min_count=1))
    (one, other), _ = encode_captions(tokenizer, ["café", "cafe\u0301"])
    assert one.tolist() == other.tolist()


def test_bytes_know_no_unknown_in_any_script() -> None:
    config = preset("default", vocabulary=VocabularyKind.BPE, vocabulary_size=400, min_count=1)
    tokenizer = learn_tokenizer(["ein Hund", "собака", "一只狗"], config)
    tokens, _ = encode_captions(tokenizer, ["猫 und кот 🐈"])
    assert SPECIAL.index("<unk>") not in tokens


def test_long_captions_are_cut_and_an_empty_one_has_two_tokens() -> None:
    tokenizer = learn_tokenizer(CAPTIONS, preset("default", min_count=1, max_length=5))
    tokens, lengths = encode_captions(tokenizer, ["a dog a cat a dog", ""])
    assert lengths.tolist() == [5, 2]
    assert tokenizer.id_to_token(tokens[0, 4]) == "<end>"


def test_nothing_frequent_enough_is_a_clear_error() -> None:
    with pytest.raises(DataError, match="min-count"):
        learn_tokenizer(CAPTIONS, preset("default", min_count=50))
