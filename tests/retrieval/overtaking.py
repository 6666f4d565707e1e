"""A writer that is faster: it commits before every moment that a reader looks at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from mmsearch.index.session import Session


def overtake(monkeypatch: pytest.MonkeyPatch, commit: Callable[[int], object]) -> None:
    """Let `commit` run before every snapshot, and every query outside of one, of all readers.

    It is given the number of the moment, from 0, and writes through a session of its own. So
    whatever a reader takes from two moments differs.
    """
    plain_rows, plain_moment, moments = Session.rows, Session._moment, count()

    def rows(self: Session, query: str, *values: object) -> object:
        if self._writer is None and not self.in_snapshot:
            commit(next(moments))
        return plain_rows(self, query, *values)

    @contextmanager
    def moment(self: Session) -> Iterator[None]:
        if self._writer is None:
            commit(next(moments))
        with plain_moment(self):
            yield

    monkeypatch.setattr(Session, "rows", rows)
    monkeypatch.setattr(Session, "_moment", moment)
