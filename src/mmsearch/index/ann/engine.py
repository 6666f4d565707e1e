"""FAISS itself: its threads, its files, its choices of ids."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from mmsearch.core import Ids
from mmsearch.errors import UnsoundLibraryError

faiss: Any = _faiss  # its type stubs lack half of what is used here

_BLOCK = 1 << 20
_NONE: Ids = np.empty(0, dtype=np.int64)
_DENSE = 1 << 20  # ids below this always fit a bitmap (128 KiB)

# FAISS spreads queries over threads, never one query's rows, and they are asked one at a time
# here: a second thread would only spin (20 ms a query on a busy machine, instead of 0.3 ms).
_CORES = faiss.omp_get_max_threads()
faiss.omp_set_num_threads(1)


@contextmanager
def all_cores() -> Iterator[None]:
    """Let FAISS use every core inside: for training and adding, never for a query."""
    faiss.omp_set_num_threads(_CORES)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(1)


def read(path: Path, flags: int) -> Any:
    """Read an index file.

    Raises UnsoundLibraryError when FAISS cannot read it, OSError when it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:  # by descriptor, because FAISS takes no name that is not UTF-8
        return faiss.read_index(f"/dev/fd/{descriptor}", flags)
    except RuntimeError as error:
        raise UnsoundLibraryError(f"the index file {path} cannot be read") from error
    finally:
        os.close(descriptor)


def write(index: Any, sink: Callable[[bytes], object]) -> None:
    """Hand an index file's bytes to `sink`, block after block; its OSError is raised again."""
    failures: list[OSError] = []

    def receive(block: bytes) -> None:
        if not failures:  # an exception must not cross FAISS's own frames
            try:
                sink(block)
            except OSError as error:
                failures.append(error)

    faiss.write_index(index, faiss.PyCallbackIOWriter(receive, _BLOCK))
    if failures:
        raise failures[0]


class Choice:
    """A FAISS selector for a choice of ids, and the objects that it refers to.

    `among` None and no `without` is no choice: `selector` is None.
    """

    def __init__(self, among: Ids | None, without: Ids | None) -> None:
        self._kept: list[Any] = []
        self.among = among
        self.without = without
        self.selector: Any = None
        left_out = _NONE if without is None else without
        if among is not None:
            self.selector = self._subset(among, left_out)
        elif len(left_out):
            subset = self._subset(left_out, _NONE)
            self._kept.append(subset)
            self.selector = faiss.IDSelectorNot(subset)

    def is_of(self, among: Ids | None, without: Ids | None) -> bool:
        """Return whether this was made of these very arrays."""
        return self.among is among and self.without is without

    def _subset(self, ids: Ids, without: Ids) -> Any:
        """Return a selector of ids without some: a bitmap unless they are few and far between."""
        top = int(ids.max(initial=0))
        if top >= max(_DENSE, 64 * len(ids)):
            return faiss.IDSelectorBatch(ids[(ids >= 0) & ~np.isin(ids, without)])
        bits = np.zeros(top + 1, dtype=np.bool_)
        bits[ids[ids >= 0]] = True
        bits[without[(without >= 0) & (without <= top)]] = False
        return faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))


class Choices:
    """The choice made last: the rows to leave out are the same for query after query."""

    def __init__(self) -> None:
        self._last = Choice(None, None)

    def of(self, among: Ids | None, without: Ids | None) -> Choice:
        """Return the choice of these ids; the arrays must not be changed afterwards."""
        if among is not None:  # a filter is its caller's, who may well reuse the array
            return Choice(among, without)
        if not self._last.is_of(among, without):
            self._last = Choice(among, without)
        return self._last
