"""open_clip's tokenizers as one `tokenizer.json` each, and what is done to text before it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from mmsearch.errors import ModelError
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

_WORD_END: Final = "</w>"
# The pattern of CLIP ignores case by single characters; only the long s is another form of an
# ASCII letter that occurs in it. Spelt out, because other regex engines fold more than that.
_OTHER_FORMS: Final = {"s": "Ssſ"}
_CONTRACTIONS: Final = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_RUNS: Final = (r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+")


@dataclass(frozen=True, slots=True)
class TextWay:
    """A sentence's way to ids: `cleaning`, then `tokenizer`, cut to `length`, filled by `pad`."""

    tokenizer: Tokenizer
    cleaning: tuple[Cleaning, ...]
    pad: int
    length: int


@dataclass(frozen=True, slots=True)
class BytePairs:
    """The tables of CLIP's byte-pair encoding.

    `ids` has every token, those of `special` (start, end, others) included; `merges` come in
    the order of their ranks.
    """

    ids: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    special: Sequence[str]


def clip_tokenizer(pairs: BytePairs) -> Tokenizer:
    """Return CLIP's tokenizer: the same ids as its Python code, start and end added.

    The name of a special token counts as that token where the Python code takes it so: at the
    beginning of a run of symbols, not inside one. The splitter's pattern does that, and extra
    merges, of the lowest rank, join the pieces to the token. Letters and digits are those of
    the Unicode version that `tokenizers` knows, which may be older than that of `regex`.
    """
    start, end = pairs.special[:2]
    ids = {token: id for token, id in pairs.ids.items() if token not in pairs.special}
    merges = list(pairs.merges)
    plain = models.BPE(vocab=ids, merges=merges, end_of_word_suffix=_WORD_END)
    for name in pairs.special:
        ids[name + _WORD_END] = pairs.ids[name]
    for name in pairs.special:
        parts = [token.value for token in plain.tokenize(name)]
        joined = parts[0]
        for part in parts[1:]:
            merges.append((joined, part))
            joined += part
            ids.setdefault(joined, len(ids))
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix=_WORD_END))
    pieces = [_caseless(text) for text in (*pairs.special, *_CONTRACTIONS)]
    pattern = Regex("|".join([*pieces, *_RUNS]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, pairs.ids[start]), (end, pairs.ids[end])],
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _caseless(text: str) -> str:
    """Return a pattern that matches `text` in any case, character by character."""
    return "".join(
        f"[{_OTHER_FORMS.get(c, c + c.upper())}]" if c.isalpha() else c for c in text
    )


def text_way(tokenizer: Any, clean: str) -> TextWay:
    """Return how one of open_clip's tokenizer objects makes ids of a sentence.

    `tokenizer` is a SimpleTokenizer, HFTokenizer or SigLipTokenizer; `clean` the name of its
    cleaning. Raises ModelError for what cannot be written as a `tokenizer.json`.
    """
    import open_clip

    length = tokenizer.context_length
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        special = [tokenizer.decoder[id] for id in tokenizer.all_special_ids]
        merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
        pairs = BytePairs(tokenizer.encoder, merges, special)
        return TextWay(clip_tokenizer(pairs), CLEANING[clean], 0, length)
    backend = fast_tokenizer(tokenizer.tokenizer)
    if getattr(tokenizer, "strip_sep_token", False):
        backend = _with_id(backend, tokenizer.tokenizer.sep_token, 0)
    return TextWay(backend, CLEANING[clean], tokenizer.tokenizer.pad_token_id, length)


def fast_tokenizer(tokenizer: Any) -> Tokenizer:
    """Return a copy of what a tokenizer of transformers runs on, without padding and cutting.

    Raises ModelError when it runs on Python code, has no padding token or pads or cuts on the
    left.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    name = type(tokenizer).__name__
    if not isinstance(backend, Tokenizer):
        raise ModelError(f"{name} has no fast version; give a folder with its tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{name} has no padding token; name one in its tokenizer_config.json")
    sides = {tokenizer.padding_side, tokenizer.truncation_side}
    if sides != {"right"}:
        raise ModelError(f"{name} pads or cuts sentences on the left, which is not supported")
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def _with_id(tokenizer: Tokenizer, token: str | None, new: int) -> Tokenizer:
    """Return a copy in which one token has another id, wherever it comes from."""
    old = None if token is None else tokenizer.token_to_id(token)
    if token is None or old is None:
        raise ModelError("the tokenizer has no separator that could be left out")
    document = json.loads(tokenizer.to_str())
    vocabulary = document["model"]["vocab"]
    if not isinstance(vocabulary, dict):
        raise ModelError("a separator cannot be left out of a sentencepiece vocabulary")
    vocabulary[token] = new
    for added in document["added_tokens"]:
        added["id"] = new if added["content"] == token else added["id"]
    _renumber(document["post_processor"] or {}, token, old, new)
    return Tokenizer.from_str(json.dumps(document))


def _renumber(processor: dict[str, Any], token: str, old: int, new: int) -> None:
    """Change the id that a post-processor adds for `token`."""
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new if id == old else id for id in special["ids"]]
    for key in ("sep", "cls"):
        if processor.get(key) == [token, old]:
            processor[key] = [token, new]
