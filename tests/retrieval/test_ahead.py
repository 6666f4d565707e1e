"""Loading ahead, in a thread, what a first search needs."""

from threading import Event

from tests.retrieval.fakes import FakeEncoder

from mmsearch.errors import ModelError
from mmsearch.retrieval.ahead import load_ahead

PATIENCE = 120  # seconds, which only a failure waits for


class SlowTokens(FakeEncoder):
    """Has a tokenizer to load."""

    def __init__(self, *, damaged: bool = False) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.tried = Event()
        self._damaged = damaged

    def load_tokenizer(self) -> None:
        self.steps.append("tokenizer")
        self.tried.set()
        if self._damaged:
            raise ModelError("damaged")


def test_the_tokenizer_comes_first_and_the_rest_after_it() -> None:
    encoder, done = SlowTokens(), Event()

    def then() -> None:
        encoder.steps.append("engine")
        done.set()

    load_ahead(encoder, then)
    assert done.wait(PATIENCE)
    assert encoder.steps == ["tokenizer", "engine"]


def test_what_fails_ahead_is_left_to_whoever_needs_it() -> None:
    encoder = SlowTokens(damaged=True)
    load_ahead(encoder, lambda: encoder.steps.append("engine"))
    assert encoder.tried.wait(PATIENCE)
    assert encoder.steps == ["tokenizer"]


def test_an_encoder_without_a_tokenizer_of_its_own_is_left_alone() -> None:
    seen: list[str] = []
    load_ahead(FakeEncoder(), lambda: seen.append("engine"))
    assert seen == []
