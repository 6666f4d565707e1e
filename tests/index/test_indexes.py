"""What every vector index does, and that the fast one answers as the plain one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.conftest import unit_rows

from mmsearch.core import Ids, Matches, VectorIndex, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index.ann import FlatIndex
from mmsearch.index.exact import ExactIndex, best, cosines, scan

ROUNDING = 1e-3  # of float16 rows


def ids_of(*numbers: int) -> Ids:
    """Return ids as an array."""
    return np.array(numbers, dtype=np.int64)


def written(index: FlatIndex, path: Path) -> FlatIndex:
    """Return an index after a trip through a file."""
    with path.open("wb") as file:
        index.write(file.write)
    return FlatIndex.open(path)


@pytest.fixture(params=["exact", "flat", "flat from a file"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Ids, Vectors], VectorIndex]:
    """Return what makes an index of some rows."""

    def build(ids: Ids, vectors: Vectors) -> VectorIndex:
        dim = vectors.shape[1]
        index = ExactIndex(dim) if request.param == "exact" else FlatIndex(dim)
        index.add(ids, vectors)
        if isinstance(index, FlatIndex) and request.param == "flat from a file":
            return written(index, tmp_path / "rows.faiss")
        return index

    return build


Build = Callable[[Ids, Vectors], VectorIndex]

CORNERS = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], dtype=np.float32)
EAST = CORNERS[:1]


def test_the_best_comes_first_with_its_cosine(build: Build) -> None:
    index = build(ids_of(10, 20, 30, 40), CORNERS)
    (found,) = index.search(EAST, 3)
    assert found.ids.tolist() == [10, 30, 20]
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, [1, 0.6, 0], atol=ROUNDING)
    assert (len(index), index.dim) == (4, 2)


def test_every_query_row_gets_its_answer(build: Build) -> None:
    index = build(ids_of(10, 20, 30, 40), CORNERS)
    assert [found.ids.tolist() for found in index.search(CORNERS, 1)] == [[10], [20], [30], [40]]
    assert index.search(np.empty((0, 2), dtype=np.float32), 1) == []


@pytest.mark.parametrize("k", [4, 5, 1000, 10**9])
def test_more_than_there_is_is_not_padded(build: Build, k: int) -> None:
    (found,) = build(ids_of(10, 20, 30, 40), CORNERS).search(EAST, k)
    assert found.ids.tolist() == [10, 30, 20, 40]


def test_ties_are_ordered_by_id(build: Build) -> None:
    rows = np.repeat(EAST, 50, axis=0)
    shuffled = np.random.default_rng(0).permutation(50).astype(np.int64)
    (found,) = build(shuffled, rows).search(EAST, 7)
    assert found.ids.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_ties_at_the_last_place_are_ordered_by_id(build: Build) -> None:
    rows = np.concatenate([np.repeat(CORNERS[2:3], 30, axis=0), EAST])
    (found,) = build(np.arange(30, -1, -1, dtype=np.int64), rows).search(EAST, 3)
    assert found.ids.tolist() == [0, 1, 2]


def test_an_empty_index_finds_nothing(build: Build) -> None:
    (found,) = build(ids_of(), np.empty((0, 2), dtype=np.float32)).search(EAST, 5)
    assert found.ids.tolist() == []
    assert found.scores.tolist() == []


def test_a_filter_restricts_to_its_ids(build: Build) -> None:
    index = build(ids_of(10, 20, 30, 40), CORNERS)
    (found,) = index.search(EAST, 5, among=ids_of(40, 30, 77, -1))
    assert found.ids.tolist() == [30, 40]


def test_an_empty_filter_finds_nothing(build: Build) -> None:
    (found,) = build(ids_of(10, 20, 30, 40), CORNERS).search(EAST, 5, among=ids_of())
    assert found.ids.tolist() == []


def test_ids_may_be_large_and_far_between(build: Build) -> None:
    index = build(ids_of(5, 2**40, 2**62), CORNERS[:3])
    (found,) = index.search(EAST, 5, among=ids_of(2**62, 2**40))
    assert found.ids.tolist() == [2**62, 2**40]


@pytest.mark.parametrize(
    "queries",
    [np.ones((1, 3), np.float32), np.ones(2, np.float32), np.array([[np.nan, 1]], np.float32)],
    ids=["too wide", "one dimension", "not finite"],
)
def test_a_query_that_does_not_fit_is_refused(build: Build, queries: Vectors) -> None:
    with pytest.raises(ConfigError):
        build(ids_of(10, 20, 30, 40), CORNERS).search(queries, 1)


def test_k_must_be_positive(build: Build) -> None:
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        build(ids_of(10, 20, 30, 40), CORNERS).search(EAST, 0)


@pytest.mark.parametrize("kind", [ExactIndex, FlatIndex])
@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        (ids_of(1), np.array([[np.inf, 0]], np.float32)),
        (ids_of(1), np.array([[np.nan, 0]], np.float32)),
        (ids_of(1), np.ones((1, 3), np.float32)),
        (ids_of(1, 2), np.ones((1, 2), np.float32)),
        (ids_of(1, 1), np.ones((2, 2), np.float32)),
        (ids_of(10), np.ones((1, 2), np.float32)),
    ],
    ids=["infinite", "NaN", "too wide", "too many ids", "one id twice", "a known id"],
)
def test_rows_that_do_not_fit_are_refused(
    kind: type[ExactIndex | FlatIndex], ids: Ids, rows: Vectors
) -> None:
    index = kind(2)
    index.add(ids_of(10), EAST)
    with pytest.raises(ConfigError):
        index.add(ids, rows)
    assert len(index) == 1


def test_an_opened_file_takes_no_rows(tmp_path: Path) -> None:
    index = written(FlatIndex(2), tmp_path / "rows.faiss")
    with pytest.raises(ConfigError, match="takes no rows"):
        index.add(ids_of(1), EAST)


def test_ids_left_out_are_not_found() -> None:
    index = FlatIndex(2)
    index.add(ids_of(10, 20, 30, 40), CORNERS)
    (found,) = index.search(EAST, 5, without=ids_of(10, 20, 99))
    assert found.ids.tolist() == [30, 40]
    (found,) = index.search(EAST, 5, among=ids_of(10, 30), without=ids_of(10))
    assert found.ids.tolist() == [30]
    (found,) = index.search(EAST, 5, among=ids_of(10), without=ids_of(10))
    assert found.ids.tolist() == []


@pytest.mark.parametrize("content", [b"", b"no index " * 30], ids=["empty", "foreign"])
def test_a_file_faiss_cannot_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.faiss"
    path.write_bytes(content)
    with pytest.raises(UnsoundLibraryError, match="cannot be read"):
        FlatIndex.open(path)


def test_a_folder_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    index = FlatIndex(2)
    index.add(ids_of(10), EAST)
    path = tmp_path / "caf\udce9.faiss"
    assert written(index, path).search(EAST, 1)[0].ids.tolist() == [10]


def test_a_full_disk_is_an_os_error_while_writing() -> None:
    def full(block: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        FlatIndex(2).write(full)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 120),
    dim=st.integers(1, 33),
    k=st.integers(1, 130),
    filtered=st.booleans(),
    repeated=st.booleans(),
)
def test_the_flat_index_answers_as_the_exact_one(
    *, seed: int, rows: int, dim: int, k: int, filtered: bool, repeated: bool
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rows, dim, seed).astype(np.float16).astype(np.float32)
    if repeated:
        vectors = vectors[rng.integers(0, 1 + rows // 4, rows)]
    ids = np.asarray(rng.permutation(5 * rows)[:rows], dtype=np.int64)
    exact, flat = ExactIndex(dim), FlatIndex(dim)
    exact.add(ids, vectors)
    flat.add(ids, vectors)
    queries = unit_rows(3, dim, seed + 1)
    among = np.asarray(rng.permutation(5 * rows)[: 2 * rows], dtype=np.int64) if filtered else None
    expected = exact.search(queries, k, among=among)
    for one, other in zip(expected, flat.search(queries, k, among=among), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        assert_same_but_for_ties(one, other)


def assert_same_but_for_ties(expected: Matches, found: Matches) -> None:
    """Compare the ids whose scores stand clear of their neighbours'."""
    scores = expected.scores
    if len(scores) == 0:
        return
    last = scores[-1]
    clear = {int(n) for n, s in zip(expected.ids, scores, strict=True) if s > last + 1e-5}
    assert clear <= {int(n) for n in found.ids}


def test_equal_rows_have_equal_scores_wherever_they_stand() -> None:
    rows = np.repeat(unit_rows(1, 511), 1003, axis=0)
    assert len(np.unique(cosines(unit_rows(7, 511, seed=1), rows)[3])) == 1


def test_best_keeps_ties_of_the_last_place_by_id() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.1], dtype=np.float32)
    found = best(ids_of(9, 8, 7, 6, 5), scores, 3)
    assert found.ids.tolist() == [8, 6, 7]


def test_a_scan_in_chunks_is_a_scan_of_the_whole() -> None:
    vectors, ids = unit_rows(100, 8), np.arange(100, dtype=np.int64)
    queries = unit_rows(2, 8, seed=1)
    whole = scan(queries, [(ids, vectors)], 10)
    parts = scan(queries, [(ids[n : n + 7], vectors[n : n + 7]) for n in range(0, 100, 7)], 10)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.scores, other.scores)
