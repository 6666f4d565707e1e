"""Load ahead, in a thread, what a first search is going to need.

Reading a tokenizer and importing FAISS keep the interpreter to themselves; making a network and
running it do not. Side by side they take little more than the longer of the two.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Protocol, runtime_checkable

from mmsearch.core import Encoder
from mmsearch.errors import MMSearchError
from mmsearch.retrieval.runtime import load_runtime


@runtime_checkable
class Tokenizes(Protocol):
    """An encoder whose tokenizer can be loaded apart from its network, from another thread."""

    def load_tokenizer(self) -> None:
        """Load the tokenizer unless it is there. Raises ModelError."""
        ...


def load_ahead(encoder: Encoder, then: Callable[[], object]) -> None:
    """Begin to load the tokenizer, and do `then` after it.

    In this order, since the tokenizer is needed first. What mmsearch raises is dropped: whoever
    needs what is missing does the same again, and meets the error where it can be told.
    """
    if isinstance(encoder, Tokenizes):
        load_runtime()  # first: a network can be made only while nobody holds the interpreter
        Thread(target=_load, args=(encoder, then), name="mmsearch-ahead").start()


def _load(encoder: Tokenizes, then: Callable[[], object]) -> None:
    with suppress(MMSearchError):
        encoder.load_tokenizer()
        then()
