"""Letters in parts come out as from sentencepiece."""

import itertools
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from tests.retrieval.convert.hf_models import sentencepiece
from tokenizers import normalizers

from mmsearch.retrieval.convert.hf_composing import composing


def parts(first: int, last: int, step: int = 1) -> list[str]:
    """Return the characters of a block, taken apart."""
    return [unicodedata.normalize("NFD", chr(code)) for code in range(first, last, step)]


def joined(*given: str) -> list[str]:
    """Return every sequence of one character from each."""
    return ["".join(chosen) for chosen in itertools.product(*given)]


MARKS = "\u0300\u0301\u0302\u0303\u0306\u0308\u0309\u030c\u0340\u0344"
SEQUENCES = {
    "vietnamese": parts(0x1EA0, 0x1EFA),
    "latin": parts(0xC0, 0x24F),
    "greek": parts(0x1F00, 0x1FFF),
    "kana": parts(0x3041, 0x30FF),
    "hangul": parts(0xAC00, 0xD7A4, 37),
    "cyrillic": parts(0x400, 0x530),
    "indian": parts(0x900, 0xD00),
    "a letter that is partly composed": joined("éâäñơưệạ", MARKS),
    "half a syllable": joined("가나다", "\u11a8\u11a9\u11aa"),
    "marks in another order": joined("aeo", "\u0301\u0308\u0302", "\u0323\u0327\u0316"),
    "arabic vowels": joined("بسل", "\u064b\u064e\u0651", "\u064c\u064e\u0651"),
    "hebrew points": joined("בש", "\u05b0\u05bc\u05c1", "\u05b0\u05bc\u05c1"),
    "full width": joined("\uff21\uff22\uff45\uff5e", MARKS),
    "half width": joined("ｶﾊｦ", "\uff9e\uff9f"),
    "single": [
        chr(code)
        for code in range(0xA0, 0x10000)
        if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")
    ],
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from sentencepiece import SentencePieceProcessor

    file: Path = sentencepiece(tmp_path_factory.mktemp("words"))
    return SentencePieceProcessor(model_file=str(file))


@pytest.fixture(scope="module")
def table(theirs: Any) -> bytes:
    from transformers.convert_slow_tokenizer import import_protobuf

    model = import_protobuf().ModelProto.FromString(theirs.serialized_model_proto())
    assert model.normalizer_spec.name == "nmt_nfkc"
    return bytes(model.normalizer_spec.precompiled_charsmap)


@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_letter_in_parts_is_what_sentencepiece_makes_of_it(
    kind: str, theirs: Any, table: bytes
) -> None:
    ours = normalizers.Sequence(composing(table))
    for sequence in SEQUENCES[kind]:
        sentence = f"x{sequence}x"
        found = "\u2581" + ours.normalize_str(sentence).replace(" ", "\u2581")
        assert found == theirs.normalize(sentence), ascii(sequence)


def test_the_table_alone_loses_marks(theirs: Any, table: bytes) -> None:
    alone = normalizers.Precompiled(table)
    assert alone.normalize_str("e\u0302\u0301") != theirs.normalize("e\u0302\u0301")[1:]
