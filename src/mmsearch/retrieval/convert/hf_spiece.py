"""SigLIP's tokenizer, which transformers runs in Python, as one `tokenizer.json`.

transformers lowers the sentence, drops ASCII punctuation, joins white space and hands the rest to
sentencepiece (after an underline that stands for the space before the first word). All of it has
a counterpart among the normalizers of `tokenizers`.
"""

from typing import Any, Final

from tokenizers import Regex, Tokenizer, normalizers, processors
from tokenizers.models import Unigram

from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.convert.hf_composing import composing

_UNDERLINE: Final = "\u2581"
_NFKC: Final = frozenset({"nmt_nfkc", "nfkc"})
_UNIGRAM: Final = 1
"""Sentencepiece's number for the kind of vocabulary."""

# What Python's `\s` means; that of `Regex` leaves out the separators 0x1c to 0x1f.
_WHITE_CODES: Final = (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B))
_WHITE: Final = "".join(
    f"\\x{{{code:04x}}}" for code in (*_WHITE_CODES, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
_PUNCTUATION: Final = r"[!-/:-@\[-`{-~]"

# Python lowers a sigma at the end of a word to its final form; `Lowercase` looks at one letter
# at a time and does not.
_CASED: Final = r"[\p{Lu}\p{Ll}\p{Lt}]"
_IGNORED: Final = r"[\p{M}'\u2019.:\u00b7]"
_FINAL_SIGMA: Final = (
    rf"(?<={_CASED}|{_CASED}{_IGNORED}|{_CASED}{_IGNORED}{_IGNORED})\u03a3(?!{_IGNORED}*{_CASED})"
)


def convert_siglip(theirs: Any) -> Tokenizer:
    """Return the counterpart of a transformers `SiglipTokenizer`.

    It differs where a sentence spells a special token ("</s>") and goes on behind it; where two
    ways to cut a word are equally good; and where marks are piled up as in `composing`. Raises
    ModelError for a vocabulary of another kind than unigrams, MissingExtraError without protobuf.
    """
    model = _parse(theirs.sp_model.serialized_model_proto())
    trained = model.trainer_spec
    if trained.model_type != _UNIGRAM:
        raise ModelError("its sentencepiece vocabulary is none of unigrams and cannot be converted")
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    tokenizer = Tokenizer(
        Unigram(pieces, unk_id=trained.unk_id, byte_fallback=trained.byte_fallback)
    )
    tokenizer.normalizer = _normalizer(theirs, model.normalizer_spec)
    tokenizer.add_special_tokens(
        [token for _, token in sorted(theirs.added_tokens_decoder.items())]
    )
    end = str(theirs.eos_token)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, theirs.eos_token_id)]
    )
    return tokenizer


def _normalizer(theirs: Any, rules: Any) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(_UNDERLINE, " "),
        normalizers.Prepend(_UNDERLINE),
    ]
    if theirs.do_lower_case:
        steps += [normalizers.Replace(Regex(_FINAL_SIGMA), "\u03c2"), normalizers.Lowercase()]
    steps += [
        normalizers.Replace(Regex(_PUNCTUATION), ""),
        normalizers.Replace(Regex(f"[{_WHITE}]+"), " "),
        normalizers.Strip(),
    ]
    if rules.precompiled_charsmap:
        table = rules.precompiled_charsmap
        known = rules.name in _NFKC
        steps += composing(table) if known else [normalizers.Precompiled(table)]
    steps += [
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Replace(" ", _UNDERLINE),
        normalizers.Replace(Regex(rf"{_UNDERLINE}+\z"), ""),
    ]
    return normalizers.Sequence(steps)


def _parse(serialized: bytes) -> Any:
    try:
        from transformers.convert_slow_tokenizer import import_protobuf

        return import_protobuf().ModelProto.FromString(serialized)
    except ImportError as error:
        raise MissingExtraError("protobuf", "train") from error
