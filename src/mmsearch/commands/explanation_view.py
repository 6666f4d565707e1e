"""What `--explain` prints beside lines and paths: how the answers came about, line by line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmsearch.commands.results import one_line
from mmsearch.core import Mode
from mmsearch.index.sources import Route, Way

if TYPE_CHECKING:
    from mmsearch.core import Hit, Item
    from mmsearch.retrieval.explaining import Explanation
    from mmsearch.retrieval.query import Ranking


def explained(explanation: "Explanation") -> Iterator[str]:
    """Yield the lines, which steer no terminal."""
    for line in _lines(explanation):
        yield one_line(line)


def _lines(explanation: "Explanation") -> Iterator[str]:
    query = explanation.answered.query
    yield "terms, as coefficient (weight) and content:"
    for term, weight, coefficient in zip(
        explanation.terms, explanation.weights, explanation.coefficients, strict=True
    ):
        yield f"  {coefficient:+.3f} ({weight:+g})  {term}"
    if any(weight < 0 for weight in explanation.weights):
        yield f"negative terms: {query.negation}"
    for ranking in explanation.answered.rankings:
        yield from _searched(ranking)
    if explanation.mode is not Mode.VECTOR:
        by = "words" if explanation.mode is Mode.TEXT else "words and vectors"
        yield f"mode {explanation.mode}: ranked by {by}, not by the score"
    if len(explanation.answered.own):
        own = ", ".join(map(str, explanation.answered.own.tolist()))
        yield f"left out, as the question is made of it: item {own}"
    if query.min_score is not None:
        yield f"least score: {query.min_score:g}"
    yield from _answers(explanation)


def _searched(ranking: "Ranking") -> Iterator[str]:
    name = f"{ranking.modality.value}s"
    if ranking.route is not None:
        yield f"{name}: {_way(ranking.route)}"
    narrowed = ranking.narrowed
    if narrowed is not None:
        if narrowed.selection is not None:
            yield f"filter: {narrowed.selection.plan}"
        if narrowed.offline:
            yield f"left out, as it is not there now: {narrowed.offline:,} items"
    if ranking.blend is not None:
        yield f"words: {', '.join(ranking.blend.wording.wanted)}; {ranking.blend.found:,} {name}"
    if ranking.level is not None:
        yield f"cut-off: {name} up to {ranking.level:.3f} are no better than chance"


def _way(route: Route) -> str:
    """Return how the rows of a modality were searched."""
    rows = f"{route.rows:,} vectors"
    if route.way is Way.ALL:
        return f"{rows}, all compared"
    if route.way is Way.FEW or route.known is None:
        return f"{rows}, those that may answer compared"
    known, parameters = route.known, route.known.parameters
    said = f"{rows}, index {known.kind.value} of generation {known.number}"
    if parameters is not None:
        measured = "not measured" if parameters.recall is None else f"{parameters.recall:.4f}"
        said += (
            f", recall {measured} for a target of {parameters.target:g} ({parameters.nprobe} of "
            f"{parameters.nlist:,} lists, {parameters.candidates} candidates)"
        )
    return said + (f", {route.newer:,} newer ones compared beside it" if route.newer else "")


def _answers(explanation: "Explanation") -> Iterator[str]:
    """Yield a line a hit: rank, score, what each term adds, the ranks where words ranked."""
    if not explanation.hits:
        return
    yield "answers, as rank, score = coefficient x cosine of each term:"
    rows = zip(explanation.hits, explanation.cosines, strict=True)
    for hit, cosines in rows:
        shares = " ".join(
            f"{coefficient:+.3f} x {cosine:.3f}"
            for coefficient, cosine in zip(explanation.coefficients, cosines, strict=True)
        )
        ranks = _ranks(explanation, hit)
        yield f"  {hit.rank:>3} {hit.score:+.3f} = {shares}{ranks}  {_name(hit.item)}"


def _ranks(explanation: "Explanation", hit: "Hit") -> str:
    ranks = explanation.ranks(hit)
    if not ranks:
        return ""
    vectors, words = (ranks[key] or "-" for key in ("rank_by_vectors", "rank_by_words"))
    return f"  [by vectors {vectors}, by words {words}]"


def _name(item: "Item") -> str:
    return item.text or "" if item.path is None else item.path
