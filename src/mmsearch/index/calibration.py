"""How much of its lists an index has to look into, measured against brute force.

The questions must be of the other modality. Rows of the same modality lie in the same cone as
the lists and find their neighbours in the nearest ones: their recall says nothing about that of
the questions people ask.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.index.policy import IndexKind, Parameters
from mmsearch.index.truth import RECALL_AT, Truth, lower_bound

if TYPE_CHECKING:
    from mmsearch.index.ann import IvfIndex

FEWEST: Final = 32
"""Questions below which a measured recall would mean nothing."""

_SLACKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_CANDIDATES = (12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_MOST = {IndexKind.IVF_SQ8: 64, IndexKind.IVF_RABITQ: 1024}
_NARROW = 0.05  # radius below which a list is a point
_WIDER = (1.0, 1.25, 1.6, 2.0, 3.0, 4.0, 8.0)  # times the lists that hold the true neighbours
_MARGIN = 0.15  # of what may be missed: parameters flatter the questions they were chosen with
_ROW = 5e-6  # seconds to fetch and score one row of the catalog, about
_CODE = {IndexKind.IVF_SQ8: 1e-10, IndexKind.IVF_RABITQ: 3e-11}  # seconds a dimension, about

# Without questions of the other modality nothing can be measured, and self-queries would
# flatter. An eighth of the lists is two to four times what questions of the other modality
# need for a recall of 0.99 on clustered rows with a modality gap, and a few milliseconds at a
# million rows. RaBitQ's one bit orders neighbours only roughly: more of them are scored.
_BLIND_SHARE = 8
_BLIND_CANDIDATES = {IndexKind.IVF_SQ8: 32, IndexKind.IVF_RABITQ: 512}
_BLIND_SLACK = 0.5
_BLIND_REACH = 0.6


def blind(index: "IvfIndex", target: float) -> Parameters:
    """Return careful parameters for an index that nothing can be measured on."""
    rows = max(1, len(index))
    return Parameters(
        nlist=index.nlist,
        nprobe=-(-index.nlist // _BLIND_SHARE),
        candidates=_BLIND_CANDIDATES[index.kind],
        slack=_BLIND_SLACK,
        reach=_BLIND_REACH,
        target=target,
        recall=None,
        queries=0,
        origin="none",
        trained=rows,
        measured=rows,
    )


def calibrate(index: "IvfIndex", truth: Truth, origin: str, target: float) -> Parameters:
    """Return the cheapest parameters that reach the target on these questions, with a margin.

    Which lists hold the true neighbours says where to start without a search; how many
    candidates have to be scored again is measured by searching. Leaves the index with them.
    """
    known = replace(blind(index, target), origin=origin, queries=len(truth.questions))
    goal = target + _MARGIN * (1 - target)
    neighbours = _Neighbours(index, truth)
    nprobe, slack = neighbours.lists(goal)
    start = replace(known, slack=slack, reach=neighbours.reach(goal))
    chosen: Parameters | None = None
    for factor in _WIDER:
        probed = min(index.nlist, int(np.ceil(nprobe * factor)))
        tried, reached = _measured(index, truth, replace(start, nprobe=probed), goal)
        if reached and (chosen is None or _cost(index, tried) < _cost(index, chosen)):
            chosen = tried
        if probed == index.nlist or (chosen and _cost(index, tried) > 2 * _cost(index, chosen)):
            break
    index.parameters = chosen or tried  # the last one tried looks the furthest
    return index.parameters


class _Neighbours:
    """Which lists hold the true neighbours of the questions, and how they rank."""

    def __init__(self, index: "IvfIndex", truth: Truth) -> None:
        best = slice(0, RECALL_AT)
        self.there = truth.ids[:, best] >= 0
        count, depth = self.there.shape
        homes = index.lists_of(truth.vectors[:, best].reshape(count * depth, -1))
        self.homes = homes.reshape(count, depth)
        self.cosines, self.radii = index.lists_for(truth.questions)
        self.sizes = index.sizes()
        self.lowest = truth.scores[:, best].min(
            axis=1, keepdims=True, initial=np.inf, where=self.there
        )

    def lists(self, target: float) -> tuple[int, float]:
        """Return (nprobe, slack) with which the fewest rows are scanned for the target."""
        choices = []
        for slack in _SLACKS:
            order = np.argsort(-(self.cosines + np.float32(slack) * self.radii), axis=1)
            ranks = np.take_along_axis(np.argsort(order, axis=1), self.homes, axis=1)
            nprobe = int(self._enough(ranks, target)) + 1
            scanned = float(self.sizes[order[:, :nprobe]].sum(axis=1).mean())
            choices.append((scanned, nprobe, slack))
        _, nprobe, slack = min(choices)
        return nprobe, slack

    def reach(self, target: float) -> float:
        """Return how many radii beyond its centroid a list's rows may score, nearly always."""
        gaps = self.lowest - np.take_along_axis(self.cosines, self.homes, axis=1)
        return float(self._enough(gaps / np.maximum(self.radii[self.homes], _NARROW), target))

    def _enough(self, needed: NDArray[Any], target: float) -> Any:
        """Return the smallest limit under which enough neighbours need no more than it."""
        limits = np.sort(needed[self.there])
        low, high = 0, max(0, len(limits) - 1)
        while low < high:
            middle = (low + high) // 2
            found = ((needed <= limits[middle]) & self.there).sum(axis=1)
            shares = found / np.maximum(self.there.sum(axis=1), 1)
            if lower_bound(shares) >= target:
                high = middle
            else:
                low = middle + 1
        return limits[low] if len(limits) else 0


def _measured(
    index: "IvfIndex", truth: Truth, parameters: Parameters, goal: float
) -> tuple[Parameters, bool]:
    """Search; return the parameters with the fewest candidates, and whether the goal is met."""
    most = _MOST[index.kind]
    index.parameters = replace(parameters, candidates=most)
    # `search` would look into all lists where these hold fewer than `most` rows, and flatter
    found = [matches.ids for matches in index.probed(truth.questions, most)]
    for candidates in [number for number in _CANDIDATES if number <= most]:
        shares = truth.recalls([ids[:candidates] for ids in found])
        tried = replace(parameters, candidates=candidates, recall=float(shares.mean()))
        if lower_bound(shares) >= goal:
            return tried, True
    return tried, False


def _cost(index: "IvfIndex", parameters: Parameters) -> float:
    """Return about how many seconds a query takes."""
    codes = len(index) * parameters.nprobe / index.nlist
    return codes * index.dim * _CODE[index.kind] + parameters.candidates * _ROW
