"""Why the answers of a question are what they are: each term's share, and the way of the search.

A query's vector is q = sum c_i t_i over the vectors of its terms, so that a score is the sum of
one contribution a term: q . v = sum c_i (t_i . v), a coefficient times a cosine. A coefficient is
the term's weight divided by the length of the weighted sum; with projection, that of a negative
term is what was taken out by it, divided alike. Up to rounding: the vectors are float32.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Hit, ImageTerm, ItemTerm, Modality, Mode, Space, Term, TextTerm
from mmsearch.index.catalog import Catalog
from mmsearch.index.sources import Way
from mmsearch.retrieval.query import Answered, Ranking
from mmsearch.retrieval.terms import show


@dataclass(frozen=True, slots=True)
class Explanation:
    """A question's hits with all that led to them.

    `terms` as they can be written; `coefficients` (n,) of their vectors in the query's;
    `cosines` (hits, n) of each hit with each term. `contributions` sum to the scores.
    """

    answered: Answered
    terms: tuple[str, ...]
    coefficients: NDArray[np.float64]
    cosines: NDArray[np.float64]

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The answers, best first."""
        return self.answered.hits

    @property
    def contributions(self) -> NDArray[np.float64]:
        """(hits, n): what each term adds to each score."""
        return self.cosines * self.coefficients

    def as_dict(self) -> dict[str, object]:
        """Return the explanation as it is printed in JSON."""
        query = self.answered.query
        found: dict[str, object] = {
            "terms": [
                {"term": term, "weight": weight, "coefficient": _rounded(coefficient)}
                for term, weight, coefficient in zip(
                    self.terms, self.weights, self.coefficients, strict=True
                )
            ],
            "negation": query.negation.value,
            "mode": self.mode.value,
            "k": query.k,
            "min_score": query.min_score,
            "cutoff": query.cutoff.value,
            "own_left_out": self.answered.own.tolist(),
            "searched": [_search(ranking) for ranking in self.answered.rankings],
            "hits": list(self._hits()),
        }
        return found

    @property
    def mode(self) -> Mode:
        """What has ranked."""
        wording = self.answered.wording
        return Mode.VECTOR if wording is None else wording.mode

    @property
    def weights(self) -> list[float]:
        """The weights of the terms."""
        return [term.weight for term in self.answered.query.terms]

    def _hits(self) -> Iterator[dict[str, object]]:
        rows = zip(self.hits, self.cosines, self.contributions, strict=True)
        for hit, cosines, contributions in rows:
            yield {
                "id": hit.item.id,
                "score": round(hit.score, 6),
                "terms": [
                    {"cosine": _rounded(cosine), "contribution": _rounded(contribution)}
                    for cosine, contribution in zip(cosines, contributions, strict=True)
                ],
                **self.ranks(hit),
            }

    def ranks(self, hit: Hit) -> dict[str, int | None]:
        """Return the ranks of a hit by vectors and by words; nothing when the vectors ranked."""
        for ranking in self.answered.rankings:
            if ranking.modality is hit.item.modality and ranking.blend is not None:
                blend = ranking.blend
                return {
                    "rank_by_vectors": blend.by_vectors.get(hit.item.id),
                    "rank_by_words": blend.by_words.get(hit.item.id),
                }
        return {}


def explain(catalog: Catalog, space: Space, answered: Answered) -> Explanation:
    """Return why the answers are what they are. Reads the vectors of the hits once more.

    To be called in the moment of the answers, as `Library.answer` does: an item that is deleted
    or written anew afterwards would have another share than its score.
    Cosines are 0 where the score is: for an item that words have found and that has no vector,
    and for all when the model knows no word of the question.
    """
    vectors = np.zeros((len(answered.hits), space.dim))
    places = {hit.item.id: place for place, hit in enumerate(answered.hits)}
    blind = answered.wording is not None and answered.wording.blind
    with catalog.snapshot():
        for modality in () if blind else Modality:
            ids, rows = catalog.vector_table(space, modality).find(places)
            vectors[[places[number] for number in ids.tolist()]] = rows
    cosines = vectors @ answered.rows.astype(np.float64).T
    terms = tuple(_named(answered.query.terms))
    return Explanation(answered, terms, answered.direction.coefficients, cosines)


def _named(terms: Sequence[Term]) -> Iterator[str]:
    """Yield the terms without their weights; pictures, which have no name, by number."""
    pictures = 0
    for term in terms:
        match term:
            case TextTerm() | ItemTerm():
                yield show(replace(term, weight=1.0))
            case ImageTerm():
                pictures += 1
                yield f"picture {pictures}"


def _search(ranking: Ranking) -> dict[str, object]:
    """Return how one modality was searched."""
    found: dict[str, object] = {"modality": ranking.modality.value}
    route, narrowed = ranking.route, ranking.narrowed
    if route is not None:
        found |= {"rows": route.rows, "way": route.way.value}
        if route.way is Way.INDEX and route.known is not None:
            known, parameters = route.known, route.known.parameters
            found |= {"index": known.kind.value, "generation": known.number, "newer": route.newer}
            if parameters is not None:
                found |= {
                    "recall": parameters.recall,
                    "recall_target": parameters.target,
                    "nprobe": parameters.nprobe,
                    "nlist": parameters.nlist,
                    "candidates": parameters.candidates,
                }
    if narrowed is not None:
        selection = narrowed.selection
        if selection is not None:
            found |= {"filter": selection.plan, "matching": len(selection.ids)}
            found |= {} if selection.unread is None else {"unread": selection.unread}
        found |= {"offline_left_out": narrowed.offline} if narrowed.offline else {}
    if ranking.blend is not None:
        found["found_by_words"] = ranking.blend.found
    if ranking.level is not None:
        found["chance_level"] = _rounded(ranking.level)
    return found


def _rounded(value: float) -> float:
    return round(float(value), 6) + 0.0  # no -0.0
