"""Inverted lists: rows grouped by their nearest centroid, of which a query sees a few."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index.ann import engine
from mmsearch.index.ann.base import FaissIndex, settled
from mmsearch.index.ann.centroids import Centroids, Probes, neighbours_together
from mmsearch.index.ann.engine import faiss
from mmsearch.index.exact import best
from mmsearch.index.policy import IndexKind, Parameters

_ROUNDS = 8  # of k-means; more changes the recall by less than its measurement's error
_QUERY_BITS = 8  # of a query's value under RaBitQ; 0 would be slower and no better


class IvfIndex(FaissIndex):
    """Inverted lists with 8 bits (SQ8) or one bit (RaBitQ) a dimension.

    A file is used memory-mapped. Without `parameters` every list is searched.
    """

    def __init__(self, index: Any, parameters: Parameters | None = None) -> None:
        self._rotation: Any = None
        self._lists = index
        if isinstance(index, faiss.IndexPreTransform):
            self._rotation = faiss.downcast_VectorTransform(index.chain.at(0))
            self._lists = faiss.downcast_index(index.index)
        super().__init__(index, self._lists)
        quantizer = faiss.downcast_index(self._lists.quantizer)
        self._centroids = Centroids(quantizer.reconstruct_n(0, self._lists.nlist))
        self.parameters = parameters

    @classmethod
    def trained(cls, kind: IndexKind, sample: Vectors, *, nlist: int, seed: int = 0) -> Self:
        """Return an empty index whose lists and codes fit a sample (n, dim) of the rows.

        Raises ConfigError for a kind without lists, or a sample that is smaller than `nlist`.
        """
        if not 1 <= nlist <= len(sample):
            raise ConfigError(f"{len(sample)} rows cannot be put into {nlist} lists")
        dim = sample.shape[1]
        index = _empty(kind, dim, nlist, seed)
        lists = faiss.extract_index_ivf(index)
        lists.cp.spherical = False
        lists.cp.niter = _ROUNDS
        lists.cp.seed = seed + 1
        lists.cp.min_points_per_centroid = 1  # else FAISS complains on stderr
        lists.cp.max_points_per_centroid = len(sample)
        with engine.all_cores():
            index.train(np.ascontiguousarray(sample, dtype=np.float32))
        quantizer = faiss.downcast_index(lists.quantizer)
        centroids = quantizer.reconstruct_n(0, nlist)
        quantizer.reset()
        quantizer.add(centroids[neighbours_together(centroids)])
        return cls(index)

    @classmethod
    def open(cls, path: Path, parameters: Parameters | None = None) -> Self:
        """Map a written index. Its bytes are trusted: compare the checksum beforehand.

        Raises UnsoundLibraryError when FAISS cannot read it, OSError when it cannot be opened.
        """
        opened = cls(_read(path, faiss.IO_FLAG_MMAP), parameters)
        opened._mapped = True
        inverted = faiss.downcast_InvertedLists(opened._lists.invlists)
        inverted.prefetch_nthread = 0  # it would start threads for every query
        return opened

    @classmethod
    def load(cls, path: Path, parameters: Parameters | None = None) -> Self:
        """Read a written index into memory, to be changed. Raises what `open` raises."""
        return cls(_read(path, 0), parameters)

    @property
    def kind(self) -> IndexKind:
        """What the codes are."""
        return IndexKind.IVF_SQ8 if self._rotation is None else IndexKind.IVF_RABITQ

    @property
    def nlist(self) -> int:
        """The number of lists."""
        return int(self._lists.nlist)

    # Rows

    def remove(self, ids: Ids) -> None:
        """Remove the rows of those ids that have one. Raises ConfigError when mapped."""
        self._refuse_mapped()
        if len(ids):
            self._lists.remove_ids(engine.Choice(ids, None).selector)

    def ids(self) -> Ids:
        """Return the ids of all rows, list after list."""
        inverted, sizes = self._lists.invlists, self.sizes()
        parts = [
            faiss.rev_swig_ptr(inverted.get_ids(number), int(sizes[number])).copy()
            for number in np.flatnonzero(sizes).tolist()
        ]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def sizes(self) -> NDArray[np.int64]:
        """Return (nlist,): how many rows each list has."""
        inverted = self._lists.invlists
        return np.array([inverted.list_size(n) for n in range(self.nlist)], dtype=np.int64)

    def lists_of(self, vectors: Vectors) -> NDArray[np.int64]:
        """Return (n,): the list that each row (n, dim) belongs to."""
        _, found = self._lists.quantizer.search(self._turned(vectors), 1)
        return np.asarray(found[:, 0], dtype=np.int64)

    def lists_for(self, queries: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (n, nlist) inner products with the centroids, and the (nlist,) radii."""
        return self._turned(queries) @ self._centroids.vectors.T, self._centroids.radii

    # Search

    def _found(self, rows: Vectors, k: int, selector: Any, *, filtered: bool) -> list[Matches]:
        """Return the k best by code for each query row, as far as the parameters reach.

        Never fewer than there are: when the probed lists do not hold k, all are.
        """
        rows = self._turned(rows)
        if self.parameters is None:
            return [self._answer(row, k, self._centroids.all(row), selector) for row in rows]
        probes = self._centroids.nearest(rows, self.parameters.nprobe, self.parameters.slack)
        found = self._answers(rows, k, probes, selector)
        thorough = filtered or k > self.parameters.candidates
        for place, answer in enumerate(found):
            if thorough or len(answer.ids) < k:
                wider = self._wider(rows[place], answer, k, probes.of(place))
                found[place] = self._answer(rows[place], k, wider, selector)
        return found

    def probed(self, queries: Vectors, k: int) -> list[Matches]:
        """Return the k best by code in the lists that the parameters name, and no others.

        Fewer than k when these lists do not hold as many; without parameters, of all lists.
        """
        rows, k = self._turned(queries), min(k, max(len(self), 1))
        if self.parameters is None:
            return [self._answer(row, k, self._centroids.all(row), None) for row in rows]
        probes = self._centroids.nearest(rows, self.parameters.nprobe, self.parameters.slack)
        with engine.all_cores():
            return self._answers(rows, k, probes, None)

    def _turned(self, vectors: Vectors) -> Vectors:
        """Return rows as the lists have them: RaBitQ's are rotated at random."""
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        return rows if self._rotation is None else self._rotation.apply(rows)

    def _wider(self, row: Vectors, found: Matches, k: int, first: Probes) -> Probes:
        """Return the lists that may still beat one query's k-th answer, and the first ones."""
        if len(found.ids) < k or self.parameters is None:
            return self._centroids.all(row)
        return self._centroids.reaching(row, self.parameters.reach, found.scores[k - 1], first)

    def _answers(self, rows: Vectors, k: int, probes: Probes, selector: Any) -> list[Matches]:
        """Return the k best of the probed lists for each row, ties by id."""
        scores, ids = self._look(rows, k + 1, probes, selector)
        found = []
        for place, row in enumerate(rows):
            there = int((ids[place] >= 0).sum())
            if there <= k or scores[place][k - 1] > scores[place][k]:
                found.append(best(ids[place][:there], scores[place][:there], k))
            else:
                found.append(self._answer(row, k, probes.of(place), selector))
        return found

    def _answer(self, row: Vectors, k: int, probes: Probes, selector: Any) -> Matches:
        """Return the k best of one row in the probed lists, ties by id."""

        def look(want: int) -> tuple[NDArray[np.float32], Ids]:
            scores, ids = self._look(row[np.newaxis], want, probes, selector)
            return scores[0], ids[0]

        return settled(look, k)

    def _look(
        self, rows: Vectors, k: int, probes: Probes, selector: Any
    ) -> tuple[NDArray[np.float32], Ids]:
        """Return (n, k) scores and ids, best first, -1 after the last."""
        k = min(k, max(len(self), 1))
        scores = np.empty((len(rows), k), dtype=np.float32)
        ids = np.empty((len(rows), k), dtype=np.int64)
        lists = np.ascontiguousarray(probes.lists, dtype=np.int64)
        cosines = np.ascontiguousarray(probes.cosines, dtype=np.float32)
        # the wrapper for arrays takes no parameters, and so no selector
        self._lists.search_preassigned_c(
            len(rows),
            faiss.swig_ptr(rows),
            k,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(cosines),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(ids),
            False,
            self._search_parameters(lists.shape[1], selector),
        )
        return scores, ids

    def _search_parameters(self, nprobe: int, selector: Any) -> Any:
        if self._rotation is None:
            parameters = faiss.SearchParametersIVF()
        else:
            parameters = faiss.IVFRaBitQSearchParameters()
            parameters.qb = _QUERY_BITS
        parameters.nprobe = nprobe
        parameters.sel = selector
        return parameters


def _empty(kind: IndexKind, dim: int, nlist: int, seed: int) -> Any:
    """Return an untrained FAISS index of a kind."""
    quantizer = faiss.IndexFlatL2(dim)
    inner = faiss.METRIC_INNER_PRODUCT
    match kind:
        case IndexKind.IVF_SQ8:
            codes = faiss.ScalarQuantizer.QT_8bit
            lists = faiss.IndexIVFScalarQuantizer(quantizer, dim, nlist, codes, inner)
            whole = lists
        case IndexKind.IVF_RABITQ:
            lists = faiss.IndexIVFRaBitQ(quantizer, dim, nlist, inner)
            rotation = faiss.RandomRotationMatrix(dim, dim)
            rotation.init(seed)
            whole = faiss.IndexPreTransform(rotation, lists)
            whole.referenced_objects = [rotation, lists]
        case _:
            raise ConfigError(f"an index of kind {kind} has no lists")
    lists.referenced_objects = [quantizer]
    return whole


def _read(path: Path, flags: int) -> Any:
    index = engine.read(path, flags)
    lists = index
    if isinstance(index, faiss.IndexPreTransform):
        lists = faiss.downcast_index(index.index)
    if not isinstance(lists, faiss.IndexIVFScalarQuantizer | faiss.IndexIVFRaBitQ):
        raise UnsoundLibraryError(f"the index file {path} is of another kind")
    return index
