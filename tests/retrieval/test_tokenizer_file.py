"""`tokenizer.json` in its quickest form."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from mmsearch.retrieval.tokenizer_file import write_tokenizer


def _pairs(*merges: tuple[str, str]) -> Tokenizer:
    letters = {letter for pair in merges for letter in pair}
    tokens = [*sorted(letters), *("".join(pair) for pair in merges)]
    return Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, list(merges)))


@pytest.mark.parametrize(
    "tokenizer",
    [
        _pairs(("a", "b"), ("ab", "a")),
        _pairs(("a", " "), ("a ", "b")),
        Tokenizer(models.WordLevel({"é": 0, "<unk>": 1}, unk_token="<unk>")),
    ],
    ids=["pairs", "pairs with spaces", "words"],
)
def test_a_tokenizer_reads_back_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).to_str() == tokenizer.to_str()


def test_merges_are_one_string_each_unless_a_part_has_a_space(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    write_tokenizer(_pairs(("a", "b")), file)
    assert json.loads(file.read_text(encoding="utf-8"))["model"]["merges"] == ["a b"]
    write_tokenizer(_pairs(("a", " ")), file)
    assert json.loads(file.read_text(encoding="utf-8"))["model"]["merges"] == [["a", " "]]
