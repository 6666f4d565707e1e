"""open_clip's tokenizers as one `tokenizer.json` each, and what is done to text before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import Tokenizer

from mmsearch.errors import ModelError
from mmsearch.retrieval.clip_tokenizer import BytePairs, clip_tokenizer
from mmsearch.retrieval.description import Cleaning

CLEANING: Final[Mapping[str, tuple[Cleaning, ...]]] = {
    "lower": (Cleaning.FTFY, Cleaning.HTML, Cleaning.WHITESPACE, Cleaning.LOWER),
    "whitespace": (Cleaning.FTFY, Cleaning.HTML, Cleaning.WHITESPACE),
    "canonicalize": (
        Cleaning.FTFY,
        Cleaning.HTML,
        Cleaning.PUNCTUATION,
        Cleaning.LOWER,
        Cleaning.WHITESPACE,
    ),
}
"""What open_clip's `clean` does to a sentence, by its name."""


@dataclass(frozen=True, slots=True)
class TextWay:
    """A sentence's way to ids: `cleaning`, then `tokenizer`, cut to `length`, filled by `pad`.

    `left`: open_clip fills up on the left, before the sentence. `separator` is the id that it
    makes 0 wherever it stands; None: none.
    """

    tokenizer: Tokenizer
    cleaning: tuple[Cleaning, ...]
    pad: int
    length: int
    left: bool = False
    separator: int | None = None


def text_way(tokenizer: Any, clean: str) -> TextWay:
    """Return how one of open_clip's tokenizer objects makes ids of a sentence.

    `tokenizer` is a SimpleTokenizer, HFTokenizer or SigLipTokenizer; `clean` the name of its
    cleaning. Raises ModelError for what cannot be written as a `tokenizer.json`.
    """
    import open_clip

    length = tokenizer.context_length
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        special = [tokenizer.decoder[n] for n in tokenizer.all_special_ids]
        merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
        pairs = BytePairs(tokenizer.encoder, merges, special)
        return TextWay(clip_tokenizer(pairs), CLEANING[clean], 0, length)
    inner = tokenizer.tokenizer
    stripped = getattr(tokenizer, "strip_sep_token", False)
    return TextWay(
        fast_tokenizer(inner),
        CLEANING[clean],
        inner.pad_token_id,
        length,
        left=inner.padding_side == "left",
        separator=inner.sep_token_id if stripped else None,
    )


def fast_tokenizer(tokenizer: Any) -> Tokenizer:
    """Return a copy of what a tokenizer of transformers runs on, without padding and cutting.

    Raises ModelError when it runs on Python code, has no padding token or cuts on the left.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    name = type(tokenizer).__name__
    if not isinstance(backend, Tokenizer):
        raise ModelError(f"{name} has no fast version; give a folder with its tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{name} has no padding token; name one in its tokenizer_config.json")
    if tokenizer.truncation_side != "right":
        raise ModelError(f"{name} cuts sentences on the left, which is not supported")
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy
