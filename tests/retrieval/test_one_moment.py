"""Answers belong to one moment, whatever a writer commits while they are looked up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.overtaking import overtake
from tests.retrieval.toy import digest, toy_library

from mmsearch.core import ItemTerm, Query, Space, TextTerm
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow
from mmsearch.retrieval.library import Library

TURNS = ((1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (0.8, 0.0, 0.6))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Pictures x 1, y 2, z 3, xy 4 (0.6, 0.8, 0), xz 5 (0.8, 0, 0.6)."""
    with toy_library(tmp_path / "toy") as made:
        yield made


@pytest.fixture
def writer(library: Library) -> Iterator[Catalog]:
    """The same library, open for writing."""
    with Catalog.open(library.directory, write=True) as opened:
        yield opened


def turning(writer: Catalog) -> Callable[[int], None]:
    """Return what gives picture x another vector at every moment."""

    def commit(moment: int) -> None:
        vector = np.array(TURNS[moment % len(TURNS)], dtype=np.float32)
        row = FileRow(b"/photos/x.jpg", 1, 100, 1, digest("x"), vector)
        writer.commit(Batch(files=(row,)))

    return commit


def test_the_shares_of_a_score_are_of_the_moment_of_the_score(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtake(monkeypatch, turning(writer))
    for _ in range(3):
        found = library.explain(Query((TextTerm("x"), TextTerm("y", -0.5)), k=5))
        assert len(found.hits) == 5
        scores = [hit.score for hit in found.hits]
        assert found.contributions.sum(axis=1).tolist() == pytest.approx(scores, abs=1e-6)


def test_an_item_is_asked_with_as_it_is_when_the_others_are_compared_with_it(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtake(monkeypatch, turning(writer))
    for _ in range(3):
        hits = library.search(Query((ItemTerm(1),), k=5, own=True))
        (score,) = (hit.score for hit in hits if hit.item.id == 1)
        assert score == pytest.approx(1.0, abs=1e-3)  # with itself; of two moments 0.6 or 0.8


@pytest.mark.parametrize("gone_at", range(6))
def test_an_item_that_goes_while_it_is_asked_with_answers_or_is_not_there(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch, gone_at: int
) -> None:
    """In no moment it is there without a vector, so that nothing may say so."""

    def commit(moment: int) -> None:
        if moment == gone_at:
            writer.commit(Batch(gone=(1,)))

    overtake(monkeypatch, commit)
    with unless_raised(InputError, "the library has no item 1;"):
        assert len(library.search(Query((ItemTerm(1),), k=5))) == 4


@pytest.mark.parametrize("changed_at", range(6))
def test_a_library_that_gets_another_model_answers_with_the_one_before_or_not_at_all(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch, changed_at: int
) -> None:
    """From then on nothing has a vector of the new model, and nobody may say it is an answer."""
    other, spaces = Space("other", 3, "6f" * 32), []

    def commit(moment: int) -> None:
        if moment == changed_at:
            writer.set_space(other)

    def note(answered: object) -> object:
        spaces.append(library.catalog.space())
        return answered

    overtake(monkeypatch, commit)
    with unless_raised(SpaceMismatchError, "was indexed with the model other"):
        assert library.answer(Query((TextTerm("x"),), k=5), note) is not None
        assert spaces == [library.encoder.space]


@contextmanager
def unless_raised(kind: type[Exception], message: str) -> Iterator[None]:
    """Pass over one error that says this; no error is as good."""
    try:
        yield
    except kind as error:
        assert message in str(error)  # noqa: PT017
