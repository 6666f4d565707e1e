"""Any composition of terms and filters finds exactly what brute force over the catalog finds.

By vectors, whatever the weights; `test_mode_property` has words, cut-offs and the exact order.
The other side is written from the documentation: a sum over all subsets for the projection, a
look at every row for the condition, NumPy over every vector for the ranking.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.conftest import SPACE
from tests.index.where import catalogs
from tests.index.where.oracle import Row, holds
from tests.index.where.strategies import conditions, terms
from tests.retrieval.brute_force import direction
from tests.retrieval.fakes import unit_rows

from mmsearch.conditions import Condition
from mmsearch.core import (
    Hit,
    ImageTerm,
    Interpolation,
    ItemTerm,
    Modality,
    Mode,
    Negation,
    Pixels,
    Preprocessing,
    Query,
    Resize,
    Term,
    TextTerm,
    Vectors,
)
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.rows import RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.presence import note_place

SEEDS = 4
AWAY = b"/photosx"  # a root that is not mounted; the other one is `/`
POLICIES = (Policy(), Policy(kind=IndexKind.FLAT, scan_below=0, few=3))
WORDS = "news"  # a sentence is how often it has each letter
_TOLERANCE = 2e-6  # between float32 scores and those that are summed in another order


class Compass:
    """Encodes a sentence by its letters n, e, w and s, and a picture by its mean colour."""

    space = SPACE
    preprocessing = Preprocessing(
        (2, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        return unit_rows([[float(text.count(letter)) for letter in WORDS] for text in texts])

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        means = [image.reshape(-1, 3).mean(axis=0) / 255 for image in images]
        return unit_rows([[*mean, 1 - float(mean.mean())] for mean in means])


@dataclass(frozen=True)
class Known:
    """A library under some kind of index, and what a test knows of it: rows, vectors, digests."""

    library: Library
    rows: list[Row]
    vectors: dict[int, NDArray[np.float64]]
    digests: dict[int, str]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Libraries"]:
    if os.path.lexists(AWAY):
        pytest.skip(f"{AWAY!r} is there; it stands for a drive that is not")
    made = Libraries(tmp_path_factory.mktemp("libraries"))
    yield made
    made.close()


class Libraries:
    """Random libraries by seed and policy, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[Library] = []
        self.of = cache(self._of)

    def close(self) -> None:
        for library in self._opened:
            library.close()

    def _of(self, seed: int, number: int) -> Known:
        directory = self._folder / f"{seed}-{number}"
        rows = catalogs.make(directory, seed)
        with Catalog.open(directory, write=True) as catalog:
            catalog.add_root(os.fsdecode(AWAY), RootKind.FOLDER)
            with catalog.transaction():
                note_place(catalog, 1, b"/")
            IndexStore(catalog, directory, POLICIES[number]).refresh(SPACE)
        catalog = Catalog.open(directory)
        library = Library(catalog, IndexStore(catalog, directory, POLICIES[number]), Compass())
        self._opened.append(library)
        vectors: dict[int, NDArray[np.float64]] = {}
        for modality in Modality:
            ids, held = catalog.all_vectors(SPACE, modality)
            vectors |= dict(zip(ids.tolist(), held.astype(np.float64), strict=True))
        digests = {number: item.digest for number, item in catalog.items(list(vectors)).items()}
        return Known(library, rows, vectors, digests)


weights = st.sampled_from([1.0, 2.0, 0.5, -1.0, -0.5, -2.0]) | st.floats(0.1, 3)
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map("".join)
wheres: st.SearchStrategy[Condition | None] = st.one_of(st.none(), terms, conditions)
colours = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def term(draw: st.DrawFn, known: Known) -> Term:
    weight = draw(weights)
    number = draw(st.sampled_from(sorted(known.vectors)))
    match draw(st.sampled_from(["text", "text", "image", "item"])):
        case "text":
            return TextTerm(draw(sentences), weight)
        case "image":
            digest = draw(st.sampled_from([None, known.digests[number]]))
            pixels = np.full((3, 3, 3), draw(colours), dtype=np.uint8)
            return ImageTerm(pixels, weight, digest)
        case _:
            return ItemTerm(number, weight)


@st.composite
def queries(draw: st.DrawFn, known: Known) -> Query:
    return Query(
        terms=tuple(draw(st.lists(term(known), min_size=1, max_size=4))),
        k=draw(st.sampled_from([1, 2, 3, 5, 10, 60, 10**9])),
        target=draw(st.sampled_from([Modality.IMAGE, Modality.TEXT, None])),
        online=draw(st.booleans()),
        where=draw(wheres),
        mode=Mode.VECTOR,
        negation=draw(st.sampled_from(Negation)),
        min_score=draw(st.none() | st.floats(-1, 1)),
        own=draw(st.booleans()),
    )


def pointed(known: Known, query: Query) -> NDArray[np.float64]:
    """Return the unit vector (dim,) that the documentation promises."""
    encoder = Compass()
    rows = np.empty((len(query.terms), SPACE.dim))
    for place, one in enumerate(query.terms):
        match one:
            case TextTerm():
                rows[place] = encoder.encode_texts([one.text])[0]
            case ImageTerm():
                rows[place] = encoder.encode_images([one.pixels])[0]
            case ItemTerm():
                rows[place] = known.vectors[one.id]
    return direction(rows, [one.weight for one in query.terms], query.negation)


def allowed(known: Known, query: Query, row: Row) -> bool:
    """Say whether an item may answer at all."""
    if query.target is not None and row.modality is not query.target:
        return False
    away = row.path is not None and row.path.startswith(AWAY + b"/")
    if query.online and away:
        return False
    if query.where is not None and not holds(query.where, row):
        return False
    asked = {one.id for one in query.terms if isinstance(one, ItemTerm)}
    shown = {one.digest for one in query.terms if isinstance(one, ImageTerm)} - {None}
    is_own = row.id in asked or (row.path is not None and known.digests[row.id] in shown)
    return query.own or not is_own


@settings(
    max_examples=int(os.environ.get("MMSEARCH_EXAMPLES", "300")),
    deadline=None,
    derandomize="MMSEARCH_EXAMPLES" not in os.environ,
)
@given(seed=st.integers(0, SEEDS - 1), number=st.integers(0, 1), data=st.data())
def test_any_composition_finds_what_brute_force_finds(
    libraries: Libraries, seed: int, number: int, data: st.DataObject
) -> None:
    known = libraries.of(seed, number)
    query = data.draw(queries(known))
    vector = pointed(known, query)
    scores = {
        row.id: float(known.vectors[row.id] @ vector)
        for row in known.rows
        if allowed(known, query, row)
    }
    hits = known.library.search(query)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert len({hit.item.id for hit in hits}) == len(hits)
    lowest = -2.0 if query.min_score is None else query.min_score
    for hit in hits:
        assert hit.score == pytest.approx(scores[hit.item.id], abs=_TOLERANCE)
        assert hit.score >= np.float32(lowest)
    for modality in Modality:
        its = [hit for hit in hits if hit.item.modality is modality]
        everyone = [
            score
            for row in known.rows
            if row.modality is modality and (score := scores.get(row.id)) is not None
        ]
        _is_ordered(its)
        _is_the_best(its, everyone)
    surely = sum(score > lowest + _TOLERANCE for score in scores.values())
    perhaps = sum(score > lowest - _TOLERANCE for score in scores.values())
    assert min(query.k, surely) <= len(hits) <= min(query.k, perhaps)
    _takes_turns(hits)


def _is_ordered(hits: Sequence[Hit]) -> None:
    """Best first, ties by id."""
    keys = [(-hit.score, hit.item.id) for hit in hits]
    assert keys == sorted(keys)


def _is_the_best(hits: Sequence[Hit], scores: Sequence[float]) -> None:
    """Nobody who was left out has a higher score."""
    best = sorted(scores, reverse=True)[: len(hits)]
    found = sorted((hit.score for hit in hits), reverse=True)
    assert found == pytest.approx(best, abs=_TOLERANCE)


def _takes_turns(hits: Sequence[Hit]) -> None:
    """The n-th of one modality comes before the (n + 1)-th of another."""
    places: dict[Modality, int] = {}
    last = 0
    for hit in hits:
        places[hit.item.modality] = places.get(hit.item.modality, 0) + 1
        assert places[hit.item.modality] >= last
        last = places[hit.item.modality]
