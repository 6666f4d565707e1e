"""CLIP's byte-pair encoding as a `tokenizer.json`: the ids of the original Python code."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmsearch.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLIP_LENGTH: Final = 77
"""How many tokens a sentence of CLIP has, start and end included."""
_SPECIAL: Final = ("<start_of_text>", "<end_of_text>")
_IDS: Final = 49408
_BYTES: Final = 256
_WORD_END: Final = "</w>"
# The pattern of CLIP ignores case by single characters; only the long s is another form of an
# ASCII letter that occurs in it. Spelt out, because other regex engines fold more than that.
_OTHER_FORMS: Final = {"s": "Ss\u017f"}
_CONTRACTIONS: Final = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# A combining iota is a mark whose other case is a letter: without regard to case it is neither in
# the set of letters nor in its complement, and is dropped.
_RUNS: Final = (r"\p{L}+", r"\p{N}", "[^\\s\\p{L}\\p{N}\u0345]+")


@dataclass(frozen=True, slots=True)
class BytePairs:
    """The tables of CLIP's byte-pair encoding.

    `ids` has every token, those of `special` (start, end, others) included; `merges` come in
    the order of their ranks.
    """

    ids: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    special: Sequence[str]


def read_byte_pairs(file: Path) -> BytePairs:
    """Read CLIP's published vocabulary, `bpe_simple_vocab_16e6.txt.gz`.

    Raises ModelError when it is damaged or another file.
    """
    count = _IDS - 2 * _BYTES - len(_SPECIAL)
    try:
        lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ModelError(f"{file} is not CLIP's vocabulary ({error}); fetch it again") from error
    pairs = [line.split() for line in lines[1 : count + 1]]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    letters = _byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *map("".join, merges)]
    ids = {token: n for n, token in enumerate([*tokens, *_SPECIAL])}
    if len(ids) != _IDS:
        raise ModelError(f"{file} is not CLIP's vocabulary; it gives {len(ids)} ids, not {_IDS}")
    return BytePairs(ids, merges, _SPECIAL)


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, in the vocabulary's order: readable first."""
    readable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = _BYTES - len(readable)
    return [chr(code) for code in readable + list(range(_BYTES, _BYTES + others))]


def clip_tokenizer(pairs: BytePairs) -> "Tokenizer":
    """Return CLIP's tokenizer: the same ids as its Python code, start and end added.

    The name of a special token counts as that token where the Python code takes it so: at the
    beginning of a run of symbols, not inside one. The splitter's pattern does that, and extra
    merges, of the lowest rank, join the pieces to the token. Letters and digits are those of
    the Unicode version that `tokenizers` knows, which may be older than that of `regex`.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    start, end = pairs.special[:2]
    ids = {token: n for token, n in pairs.ids.items() if token not in pairs.special}
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
    return "".join(f"[{_OTHER_FORMS.get(c, c + c.upper())}]" if c.isalpha() else c for c in text)
