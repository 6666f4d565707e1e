"""A transformers tokenizer as `tokenizer.json` and a TextSpec, or a refusal.

Every conversion ends with a comparison on odd sentences (`check_tokens`): a tokenizer that gives
other ids anywhere among them is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.convert.hf_loading import FAILURES, reason
from mmsearch.retrieval.convert.hf_spiece import convert_siglip
from mmsearch.retrieval.folder import TextSpec

_NO_LIMIT: Final = 100_000
"""A tokenizer whose longest sentence is at least this has no limit of its own."""
_READY: Final = "tokenizer.json"
_SPIECE_FILES: Final = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_VOCABULARIES: Final = ((_READY,), ("vocab.json", "merges.txt"), ("vocab.txt",))
"""Files that hold a vocabulary together, besides those of sentencepiece."""

ODD_SENTENCES: Final = (
    "",
    " ",
    "a photo of a cat",
    "  Two   dogs,\tone ball;\n and_a Tree!  ",
    "!?.,;",
    "It's 3 o'clock -- don't (or do) e-mail <b>Tom &amp; Jerry</b>",
    "DÉJÀ VU: naïve Straße, ÆON, \u0130stanbul",
    "ΚΑΛΗΜΕΡΑ ΣΑΣ, Ελλάδα",
    "Привет, мир! 一只猫坐在垫子上。 猫が好きです 고양이 मेरी बिल्ली قطة",
    "emoji \U0001f600 \U0001f44d\U0001f3fd \u2764\ufe0f ½ x² ﬁne …",
    "e\u0301 o\u0308 zero\u200bwidth no\u00a0break \u3000wide",
    "tabs\tand\r\nlines\x0b\x1c and \x00 control \x7f\x85 characters",
    "antidisestablishmentarianism_http://example.org/a?b=c#d",
    "word " * 600,
    "0123456789abcdefghijklmnopqrstuvwxyz" * 80,
)
"""None repeats a letter so that a word could be cut in two ways of equal score, which sentencepiece
and `tokenizers` decide differently."""


@dataclass(frozen=True, slots=True)
class Words:
    """A converted tokenizer.

    `left`: transformers puts the padding before the sentence; `ends_with_padding`: the token
    that ends a sentence also fills it up.
    """

    tokenizer: Tokenizer
    spec: TextSpec
    left: bool = False
    ends_with_padding: bool = False


def load_tokenizer(directory: Path, model_type: str) -> Any:
    """Return the tokenizer that transformers makes of a directory.

    Raises MissingExtraError when it needs sentencepiece, ModelError when it cannot be made.
    """
    from transformers import AutoTokenizer

    there = {file.name for file in directory.iterdir()}
    spiece = not there.isdisjoint(_SPIECE_FILES)
    # Without a vocabulary, transformers makes a tokenizer that knows no word, and says nothing.
    if not spiece and not any(there.issuperset(names) for names in _VOCABULARIES):
        raise ModelError(f"{directory} has no tokenizer ({_READY}); add it to the model's files")
    needed = spiece and (model_type == "siglip" or _READY not in there)
    if needed and find_spec("sentencepiece") is None:
        raise MissingExtraError("sentencepiece", "train")
    try:
        return AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except FAILURES as error:
        raise ModelError(
            f"the tokenizer in {directory} cannot be loaded: {reason(error)}"
        ) from error


def convert_tokenizer(theirs: Any, *, positions: int, fixed: bool) -> Words:
    """Return the counterpart of a transformers tokenizer, checked on odd sentences.

    `positions` is the most tokens that the network takes. Raises ModelError when the tokenizer
    is Python code, has a setting without a counterpart, or gives other ids.
    """
    name = type(theirs).__name__
    limit = theirs.model_max_length
    length = min(limit, positions) if limit < _NO_LIMIT else positions
    if theirs.truncation_side != "right" or theirs.split_special_tokens:
        raise ModelError(
            f"the tokenizer {name} cuts sentences at their start or splits its special tokens, "
            "which is not supported"
        )
    if theirs.pad_token_id is None:
        raise ModelError(f"the tokenizer {name} has no padding token; name one in its settings")
    tokenizer = _backend(theirs)
    tokenizer.enable_truncation(length)
    tokenizer.no_padding()
    spec = TextSpec(length, cleaning=(), pad=int(theirs.pad_token_id), fixed=fixed)
    words = Words(
        tokenizer,
        spec,
        left=theirs.padding_side == "left",
        ends_with_padding=theirs.pad_token_id == theirs.eos_token_id,
    )
    check_tokens(theirs, words, ODD_SENTENCES)
    return words


def check_tokens(theirs: Any, words: Words, sentences: Sequence[str]) -> None:
    """Compare the ids of sentences, cut to length, with those of transformers.

    Raises ModelError naming the first sentence that differs.
    """
    length = words.spec.length
    expected = theirs(list(sentences), truncation=True, max_length=length)["input_ids"]
    found = words.tokenizer.encode_batch(list(sentences))
    for sentence, ids, ours in zip(sentences, expected, found, strict=True):
        if list(ids) != ours.ids:
            raise ModelError(
                f"the tokenizer {type(theirs).__name__} cannot be written as tokenizer.json: "
                f"{sentence[:40]!r} gets other ids"
            )


def _backend(theirs: Any) -> Tokenizer:
    """Return a copy of what does the work, without the settings that a call changes."""
    if type(theirs).__name__ == "SiglipTokenizer":
        return convert_siglip(theirs)
    backend = getattr(theirs, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError(
            f"the tokenizer {type(theirs).__name__} is Python code that tokenizer.json cannot "
            "express; use a model with a fast tokenizer"
        )
    return Tokenizer.from_str(backend.to_str())
