"""Which words of a sentence a model does not know."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mmsearch.core import Encoder, Term, TextTerm


@runtime_checkable
class KnowsWords(Protocol):
    """An encoder that can tell the words that its vocabulary lacks."""

    def unknown_words(self, text: str, /) -> tuple[str, ...]:
        """Return the words of a sentence that all stand for one unknown token, each once."""
        ...


def unknown_words(encoder: Encoder, text: str) -> tuple[str, ...]:
    """Return the words of a sentence that the model does not know, in their order, each once.

    Vocabularies of whole words lack most words; those of parts of words lack next to nothing.
    Costs least right after the sentence was encoded.
    """
    return encoder.unknown_words(text) if isinstance(encoder, KnowsWords) else ()


def unknown_by_term(encoder: Encoder, terms: Sequence[Term]) -> dict[int, tuple[str, ...]]:
    """Return the unknown words of each text that has some, by the place of the term."""
    texts = {place: term.text for place, term in enumerate(terms) if isinstance(term, TextTerm)}
    found = {place: unknown_words(encoder, text) for place, text in texts.items()}
    return {place: words for place, words in found.items() if words}
