"""Sentences become what a text network takes: cleaned, split into tokens, padded."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import ModelError
from mmsearch.retrieval.cleaning import clean_text
from mmsearch.retrieval.folder import SMALL_FILE_BYTES, ModelFolder, verify_file
from mmsearch.retrieval.tower import Tower

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD_TOKEN: Final = "<pad>"
Ids: TypeAlias = NDArray[np.int64]


class Tokens:
    """The tokenizer of a model folder: `tokenizer.json` and the cleaning before it."""

    def __init__(self, folder: ModelFolder) -> None:
        verify_file(folder, folder.tokenizer_path.name, below=SMALL_FILE_BYTES)
        self._file = folder.tokenizer_path
        self._text = folder.text
        self._tokenizer = _load_tokenizer(folder.tokenizer_path)
        self._pad = self._padding_id()
        self._unknown = self._unknown_id()
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(folder.text.length)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each sentence: at least one, at most the model's length."""
        clean = [clean_text(sentence, self._text.cleaning) for sentence in texts]
        try:
            encodings = self._tokenizer.encode_batch(clean)
        except Exception as error:  # tokenizers raises the bare class
            raise ModelError(f"{self._file} fails: {error}") from error
        return [encoding.ids[: self._text.length] or [self._pad] for encoding in encodings]

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Return the words of a sentence that become the unknown token, each once.

        Those that lie beyond the model's length are left out, and signs that are no words.
        """
        if self._unknown is None:
            return ()
        clean = clean_text(text, self._text.cleaning)
        encoding = self._tokenizer.encode(clean)
        places = zip(encoding.ids, encoding.offsets, strict=True)
        words = [clean[slice(*place)] for number, place in places if number == self._unknown]
        return tuple(dict.fromkeys(w for w in words if any(map(str.isalnum, w))))

    def feed(self, tower: Tower, sentences: Sequence[list[int]]) -> dict[str, NDArray[Any]]:
        """Return the network's inputs for token ids, padded on the right, by name.

        The rows are as long as the longest sentence, unless the network or the model wants a
        fixed length. Raises ModelError for an input that is none of those known.
        """
        tokens, lengths = self._pad_all(sentences, _fixed_length(tower))
        feed = {}
        for each in tower.inputs:
            make = _INPUTS.get(each.name)
            if make is None:
                raise ModelError(f"the text network wants an unknown input {each.name!r}")
            feed[each.name] = make(tokens, lengths)
        return feed

    def _pad_all(self, sentences: Sequence[list[int]], fixed: int | None) -> tuple[Ids, Ids]:
        """Return tokens (n, length) and lengths (n,)."""
        lengths = np.array([len(ids) for ids in sentences], dtype=np.int64)
        longest = int(lengths.max())
        width = fixed or (self._text.length if self._text.fixed else longest)
        if width < longest:
            raise ModelError(
                f"the text network takes {width} tokens, model.json promises {self._text.length}; "
                "export or add the model again"
            )
        tokens = np.full((len(sentences), width), self._pad, dtype=np.int64)
        for row, ids in zip(tokens, sentences, strict=True):
            row[: len(ids)] = ids
        return tokens, lengths

    def _padding_id(self) -> int:
        if self._text.pad is not None:
            return self._text.pad
        padding = self._tokenizer.padding
        pad = padding["pad_id"] if padding else self._tokenizer.token_to_id(PAD_TOKEN)
        return pad or 0

    def _unknown_id(self) -> int | None:
        """Return the token that unknown words become; None where there is none."""
        token = getattr(self._tokenizer.model, "unk_token", None)
        return None if token is None else self._tokenizer.token_to_id(token)


def _load_tokenizer(file: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the tokenizer {file} cannot be read ({error}); export or add the model again"
        ) from error


def _fixed_length(tower: Tower) -> int | None:
    """Return the width of a network's tokens when its graph states one."""
    for each in tower.inputs:
        if _INPUTS.get(each.name) is _tokens and len(each.shape) == 2:
            return each.shape[1]
    return None


def _tokens(tokens: Ids, _: Ids) -> Ids:
    return tokens


def _lengths(_: Ids, lengths: Ids) -> Ids:
    return lengths


def _mask(tokens: Ids, lengths: Ids) -> Ids:
    return (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int64)


def _positions(tokens: Ids, _: Ids) -> Ids:
    return np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)


def _types(tokens: Ids, _: Ids) -> Ids:
    return np.zeros_like(tokens)


_INPUTS: Final[Mapping[str, Callable[[Ids, Ids], Ids]]] = {
    **dict.fromkeys(("tokens", "input_ids", "text", "input", "token_ids"), _tokens),
    **dict.fromkeys(("attention_mask", "mask"), _mask),
    "lengths": _lengths,
    "position_ids": _positions,
    "token_type_ids": _types,
}
"""The inputs that a text network may declare, by name."""
