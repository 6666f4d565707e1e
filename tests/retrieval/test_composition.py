"""Whatever is asked, under whatever condition: what a look at every item of the catalog finds."""

import os
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.conftest import SPACE
from tests.index.where import catalogs
from tests.index.where.oracle import Row, holds
from tests.index.where.strategies import conditions
from tests.retrieval.fakes import unit_rows

from mmsearch.core import (
    Interpolation,
    ItemTerm,
    Modality,
    Negation,
    Pixels,
    Preprocessing,
    Query,
    Resize,
    Term,
    TextTerm,
    Vectors,
)
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.query import combine

SEEDS = 3
WORDS = ("dog", "cat", "sea", "sky", "man")
POLICIES = {
    "scan": Policy(),
    "in memory": Policy(few=0),
    "flat": Policy(kind=IndexKind.FLAT, scan_below=0, few=0),
}


class WordEncoder:
    """Each word has a vector of its own; vectors of pictures are not asked for."""

    space = SPACE
    preprocessing = Preprocessing(
        (2, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )
    _rows = unit_rows(np.random.default_rng(0).normal(size=(len(WORDS), SPACE.dim)).tolist())

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        return self._rows[[WORDS.index(text) for text in texts]]

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        raise NotImplementedError


class Libraries:
    """Random libraries by seed and kind of index, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.of = cache(self._of)

    def _of(self, seed: int, kind: str) -> tuple[Library, list[Row]]:
        directory = self._folder / f"{kind} {seed}"
        rows = catalogs.make(directory, seed)
        policy = POLICIES[kind]
        with Catalog.open(directory, write=True) as catalog:
            IndexStore(catalog, directory, policy).refresh(SPACE)
        catalog = Catalog.open(directory)
        return Library(catalog, IndexStore(catalog, directory, policy), WordEncoder()), rows


@pytest.fixture(scope="module", autouse=True)
def half_an_hour_off() -> Iterator[None]:
    """Live where the local clock is never set: dates of files are in local time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    return Libraries(tmp_path_factory.mktemp("libraries"))


_terms: st.SearchStrategy[Term] = st.one_of(
    st.builds(TextTerm, st.sampled_from(WORDS), st.floats(-3, 3)),
    st.builds(ItemTerm, st.integers(1, 46), st.floats(-3, 3)),
)
_queries = st.fixed_dictionaries(
    {
        "terms": st.lists(_terms, min_size=1, max_size=4).map(tuple),
        "k": st.integers(1, 60),
        "target": st.sampled_from([*Modality, None]),
        "online": st.booleans(),
        "where": st.one_of(conditions, conditions, st.none()),
        "negation": st.sampled_from(Negation),
        "min_score": st.one_of(st.none(), st.none(), st.floats(-1, 1)),
        "own": st.booleans(),
    }
)


@given(seed=st.integers(0, SEEDS - 1), kind=st.sampled_from([*POLICIES]), asked=_queries)
@settings(max_examples=int(os.environ.get("MMSEARCH_EXAMPLES", "200")), deadline=None)
def test_any_composition_finds_what_brute_force_does(
    libraries: Libraries, seed: int, kind: str, asked: dict[str, Any]
) -> None:
    library, rows = libraries.of(seed, kind)
    try:
        query = Query(**asked)
        expected = _by_brute_force(library.catalog, rows, query)
    except InputError:  # a weight of 0, or terms that cancel out
        return
    hits = library.search(query)
    assert [(hit.rank, hit.item.id) for hit in hits] == list(enumerate(expected, start=1))
    assert library.warnings == []


def _by_brute_force(catalog: Catalog, rows: Sequence[Row], query: Query) -> list[int]:
    """Answer a query with a look at every row, its vector and all that is known of it.

    The pictures of the catalogs are not there, which `online` minds; sentences are.
    """
    vectors: dict[int, np.ndarray] = {}
    for modality in Modality:
        ids, stored = catalog.all_vectors(SPACE, modality)
        vectors |= zip(ids.tolist(), stored, strict=True)
    terms = [
        WordEncoder().encode_texts([term.text])[0]
        if isinstance(term, TextTerm)
        else vectors[_id_of(term)]
        for term in query.terms
    ]
    weights = [term.weight for term in query.terms]
    direction = combine(np.stack(terms), weights, query.negation).vector[0].astype(np.float64)
    own = {_id_of(term) for term in query.terms if not isinstance(term, TextTerm)}
    least = -2 if query.min_score is None else np.float32(query.min_score)
    found: list[tuple[int, float, int]] = []
    for modality in [query.target] if query.target else Modality:
        scored = [
            (-float(np.float32(vectors[row.id].astype(np.float64) @ direction)), row.id)
            for row in rows
            if row.modality is modality
            and (query.own or row.id not in own)
            and not (query.online and row.path is not None)
            and (query.where is None or holds(query.where, row))
        ]
        near = sorted(pair for pair in scored if -pair[0] >= least)[: query.k]
        found += [(place, *pair) for place, pair in enumerate(near)]
    return [number for _, _, number in sorted(found)[: query.k]]


def _id_of(term: Term) -> int:
    assert isinstance(term, ItemTerm)
    return term.id
