"""Writing index files: anew from the catalog's rows, or from the file before and what changed."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mmsearch.core import Modality, Space
from mmsearch.errors import UnsoundLibraryError
from mmsearch.index import generation as files
from mmsearch.index.calibration import FEWEST, blind, calibrate
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.rows import Generation
from mmsearch.index.truth import Questions, Truth
from mmsearch.index.vectors import VectorTable

if TYPE_CHECKING:
    from mmsearch.index.ann import FlatIndex, IvfIndex

QUESTIONS: Final = 768
"""How many questions the parameters of an index are measured with."""

# Lists, times the square root of the rows. More and shorter lists are scanned in smaller part,
# while training and adding take time with rows and lists: from `_MANY_LISTS` on, less is better.
_LISTS_OF_ROOT = 8
_LATER_LISTS_OF_ROOT = 2
_MANY_LISTS = 4096
_ROWS_A_LIST = 32  # in the training sample, at 2 KiB each for 512 dimensions
_SEED = 0


class Builder:
    """Writes generations of one space's index files; the caller records them.

    Needs a catalog open for writing. Raises OSError when a file cannot be written.
    """

    def __init__(self, catalog: Catalog, directory: Path, space: Space, policy: Policy) -> None:
        self._catalog = catalog
        self._directory = directory
        self._space = space
        self._policy = policy

    def renewed(self, table: VectorTable, kind: IndexKind, known: Generation | None) -> Generation:
        """Return an index of all rows and of a kind: the recorded one if it is, or a new one.

        Lists are trained anew when the kind or the number of rows has become another.
        """
        if known is None or known.kind is not kind:
            return self.fresh(table, kind)
        if len(table.changed(known.revision)) == 0:
            return known
        if known.parameters is None or known.parameters.outgrown(table.count()):
            return self.fresh(table, kind)
        return self.extended(table, known) or self.fresh(table, kind)

    def fresh(
        self, table: VectorTable, kind: IndexKind, questions: Questions | None = None
    ) -> Generation:
        """Write an index of all rows of a table, its parameters measured with the questions.

        None: with rows of the other modality, where the library has some.
        """
        from mmsearch.index.ann import FlatIndex

        index: FlatIndex | IvfIndex
        with self._catalog.snapshot():
            revision = self._catalog.revision
            if kind is IndexKind.FLAT:
                index = FlatIndex(table.dim)
                for ids, vectors in table.chunks():
                    index.add(ids, vectors)
            else:
                index = self._filled(table, kind, questions or self._questions(table))
        return self._write(table, kind, revision, index)

    def extended(self, table: VectorTable, known: Generation) -> Generation | None:
        """Write an index of the recorded one's rows and the changes since then.

        None when the file before cannot be used; it is read whole, and must not hand on damage.
        """
        index = self._loaded(known)
        if index is None:
            return None
        with self._catalog.snapshot():
            revision = self._catalog.revision
            index.remove(table.changed(known.revision))
            for ids, vectors in table.chunks(after=known.revision):
                index.add(ids, vectors)
            self._measure_again(index, table)
        return self._write(table, known.kind, revision, index)

    def measured(
        self, table: VectorTable, known: Generation, questions: Questions | None = None
    ) -> Generation:
        """Return a sound generation with inverted lists, its parameters measured again."""
        from mmsearch.index.ann import IvfIndex

        index = IvfIndex.open(self._directory / known.file, known.parameters)
        with self._catalog.snapshot():
            self._calibrate(index, table, questions or self._questions(table))
        return replace(known, parameters=index.parameters)

    def _filled(
        self, table: VectorTable, kind: IndexKind, questions: Questions | None
    ) -> "IvfIndex":
        from mmsearch.index.ann import IvfIndex

        rows = table.count()
        generator = np.random.default_rng(_SEED)
        nlist = lists_for_rows(rows)
        sample = table.sample(_ROWS_A_LIST * nlist, generator)
        index = IvfIndex.trained(kind, sample, nlist=nlist, seed=_SEED)
        del sample  # as large as a tenth of the rows
        truth = None if questions is None else Truth(questions.vectors)
        for ids, vectors in table.chunks():
            index.add(ids, vectors)
            if truth is not None:
                truth.add(ids, vectors)
        index.parameters = blind(index, self._policy.recall)
        if questions is not None and truth is not None:
            index.parameters = calibrate(index, truth, questions.origin, self._policy.recall)
        return index

    def _measure_again(self, index: "IvfIndex", table: VectorTable) -> None:
        """Calibrate an index that has changed much since it was, or could not be until now."""
        known = index.parameters
        if known is None:
            raise UnsoundLibraryError("the index file has no parameters; run `mmsearch repair`")
        questions = self._questions(table)
        if questions is not None and (
            known.recall is None or known.target != self._policy.recall or known.drifted(len(index))
        ):
            self._calibrate(index, table, questions)

    def _calibrate(
        self, index: "IvfIndex", table: VectorTable, questions: Questions | None
    ) -> None:
        trained = index.parameters.trained if index.parameters else len(index)
        found = blind(index, self._policy.recall)
        if questions is not None:
            truth = Truth(questions.vectors)
            for ids, vectors in table.chunks():
                truth.add(ids, vectors)
            found = calibrate(index, truth, questions.origin, self._policy.recall)
        index.parameters = replace(found, trained=trained)

    def _questions(self, table: VectorTable) -> Questions | None:
        """Return rows of the other modality, None when there are too few to measure with."""
        other = next(modality for modality in Modality if modality is not table.modality)
        asking = self._catalog.vector_table(self._space, other)
        if asking.count() < FEWEST:
            return None
        generator = np.random.default_rng(_SEED + 1)
        return Questions(asking.sample(QUESTIONS, generator), other.value)

    def _loaded(self, known: Generation) -> "IvfIndex | None":
        from mmsearch.index.ann import IvfIndex

        path = self._directory / known.file
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != known.sha256:
                    return None
            return IvfIndex.load(path, known.parameters)
        except (OSError, UnsoundLibraryError):
            return None

    def _write(
        self, table: VectorTable, kind: IndexKind, revision: int, index: "FlatIndex | IvfIndex"
    ) -> Generation:
        number = files.next_number(self._catalog)
        name = files.file_name(self._space, table.modality, number)
        with files.written(self._directory / name) as writer:
            index.write(writer.write)
        return Generation(
            number,
            self._space,
            table.modality,
            kind,
            revision,
            len(index),
            name,
            writer.sha256,
            writer.stamp,
            index.parameters,
        )


def lists_for_rows(rows: int) -> int:
    """Return into how many lists so many rows are put."""
    root = math.sqrt(rows)
    lists = min(_LISTS_OF_ROOT * root, max(_MANY_LISTS, _LATER_LISTS_OF_ROOT * root))
    return max(1, min(round(lists), rows // _ROWS_A_LIST))
