"""Answers belong to one moment, whatever a writer commits while they are looked up."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count, cycle
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.toy import digest, toy_library

from mmsearch.core import ItemTerm, Query, TextTerm
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow
from mmsearch.retrieval.library import Library

X, XY, XZ = (1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (0.8, 0.0, 0.6)


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


def overtake(
    monkeypatch: pytest.MonkeyPatch, reader: Catalog, commit: Callable[[], object]
) -> None:
    """Let a writer commit before every moment that a reader looks at, snapshot or single query."""
    plain_rows, plain_moment = Catalog.rows, Catalog._moment

    def rows(self: Catalog, query: str, *values: object) -> object:
        if self is reader and not self.in_snapshot:
            commit()
        return plain_rows(self, query, *values)

    @contextmanager
    def moment(self: Catalog) -> Iterator[None]:
        if self is reader:
            commit()
        with plain_moment(self):
            yield

    def of_session(self: Catalog) -> AbstractContextManager[None]:
        return moment(self)

    monkeypatch.setattr(Catalog, "rows", rows)
    monkeypatch.setattr(Catalog, "_moment", of_session)


def put(writer: Catalog, name: str, *vectors: tuple[float, float, float]) -> Callable[[], None]:
    """Return what gives a picture of the library the next of some vectors, again and again."""
    turns = cycle(vectors)

    def commit() -> None:
        vector = np.array(next(turns), dtype=np.float32)
        path = f"/photos/{name}.jpg".encode()
        writer.commit(Batch(files=(FileRow(path, 1, 100, 1, digest(name), vector),)))

    return commit


def test_the_shares_of_a_score_are_of_the_moment_of_the_score(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtake(monkeypatch, library.catalog, put(writer, "x", X, XY, XZ))
    for _ in range(3):
        found = library.explain(Query((TextTerm("x"), TextTerm("y", -0.5)), k=5))
        assert len(found.hits) == 5
        scores = [hit.score for hit in found.hits]
        assert found.contributions.sum(axis=1).tolist() == pytest.approx(scores, abs=1e-6)


def test_an_item_is_asked_with_as_it_is_when_the_others_are_compared_with_it(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtake(monkeypatch, library.catalog, put(writer, "x", X, XY, XZ))
    for _ in range(3):
        hits = library.search(Query((ItemTerm(1),), k=5, own=True))
        (score,) = (hit.score for hit in hits if hit.item.id == 1)
        assert score == pytest.approx(1.0, abs=1e-3)  # with itself; of two moments 0.6 or 0.8


@pytest.mark.parametrize("gone_at", range(6))
def test_an_item_that_goes_while_it_is_asked_with_answers_or_is_not_there(
    library: Library, writer: Catalog, monkeypatch: pytest.MonkeyPatch, gone_at: int
) -> None:
    """In no moment it is there without a vector, so that nothing may say so."""
    moments = count()

    def commit() -> None:
        if next(moments) == gone_at:
            writer.commit(Batch(gone=(1,)))

    overtake(monkeypatch, library.catalog, commit)
    with suppress_not_there():
        assert len(library.search(Query((ItemTerm(1),), k=5))) == 4


@contextmanager
def suppress_not_there() -> Iterator[None]:
    """Pass over one error: that there is no item 1."""
    try:
        yield
    except InputError as error:
        assert "the library has no item 1;" in str(error)  # noqa: PT017 - no error is as good
