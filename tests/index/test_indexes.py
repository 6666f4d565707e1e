"""What every vector index does, and that the fast one answers as the plain one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.clusters import modalities
from tests.index.conftest import unit_rows

from mmsearch.core import Ids, Matches, VectorIndex, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index.ann import FlatIndex, IvfIndex, open_index
from mmsearch.index.exact import ExactIndex, Rows, best, cosines, scan
from mmsearch.index.policy import IndexKind, Parameters

FAST = [
    pytest.param(kind, mapped, id=f"{kind}{' from a file' if mapped else ''}")
    for kind in IndexKind
    for mapped in (False, True)
]
ROUNDING = {  # of a score, from float16 rows or from codes, in the two dimensions of the tests
    None: 0.0,
    IndexKind.FLAT: 1e-3,
    IndexKind.IVF_SQ8: 0.02,
    IndexKind.IVF_RABITQ: 0.8,
}


def ids_of(*numbers: int) -> Ids:
    """Return ids as an array."""
    return np.array(numbers, dtype=np.int64)


def made(kind: IndexKind, vectors: Vectors) -> FlatIndex | IvfIndex:
    """Return an empty index; its lists are trained on these rows, among others."""
    if kind is IndexKind.FLAT:
        return FlatIndex(vectors.shape[1])
    sample = np.concatenate([vectors, unit_rows(64, vectors.shape[1], seed=3)])
    return IvfIndex.trained(kind, sample, nlist=4)


def written(index: FlatIndex | IvfIndex, path: Path) -> FlatIndex | IvfIndex:
    """Return an index after a trip through a file."""
    with path.open("wb") as file:
        index.write(file.write)
    kind = index.kind if isinstance(index, IvfIndex) else IndexKind.FLAT
    return open_index(path, kind, index.parameters)


class Build:
    """Makes an index of some rows. `rounding` is how far its scores may be off."""

    def __init__(self, kind: IndexKind | None, path: Path | None = None) -> None:
        self.kind = kind
        self.rounding = ROUNDING[kind]
        self._path = path

    def __call__(self, ids: Ids, vectors: Vectors) -> VectorIndex:
        if self.kind is None:
            exact = ExactIndex(vectors.shape[1])
            exact.add(ids, vectors)
            return exact
        index = made(self.kind, vectors)
        index.add(ids, vectors)
        return index if self._path is None else written(index, self._path)


@pytest.fixture(
    params=[
        pytest.param((None, False), id="exact"),
        *(pytest.param(tuple(param.values), id=param.id) for param in FAST),
    ]
)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Return what makes an index of some rows."""
    kind, mapped = request.param
    return Build(kind, tmp_path / "rows.faiss" if mapped else None)


CORNERS = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], dtype=np.float32)
EAST = CORNERS[:1]


def test_the_best_comes_first_with_its_cosine(build: Build) -> None:
    index = build(ids_of(10, 20, 30, 40), CORNERS)
    (found,) = index.search(EAST, 3)
    assert found.ids.tolist() == [10, 30, 20]
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, [1, 0.6, 0], atol=build.rounding or 1e-6)
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


@pytest.mark.parametrize("kind", [None, *IndexKind], ids=str)
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
def test_rows_that_do_not_fit_are_refused(kind: IndexKind | None, ids: Ids, rows: Vectors) -> None:
    index = ExactIndex(2) if kind is None else made(kind, CORNERS)
    index.add(ids_of(10), EAST)
    with pytest.raises(ConfigError):
        index.add(ids, rows)
    assert len(index) == 1


each_kind = pytest.mark.parametrize("kind", IndexKind, ids=str)
each_inverted = pytest.mark.parametrize("kind", [IndexKind.IVF_SQ8, IndexKind.IVF_RABITQ], ids=str)


@each_kind
def test_rows_can_be_added_in_any_order(kind: IndexKind) -> None:
    index = made(kind, CORNERS)
    for first in (30, 10, 50):
        index.add(ids_of(first, first + 1), CORNERS[:2])
    for known in (10, 31, 51):
        with pytest.raises(ConfigError, match="is in the index already"):
            index.add(ids_of(known), EAST)
    assert sorted(index.search(EAST, 9)[0].ids.tolist()) == [10, 11, 30, 31, 50, 51]


@each_kind
def test_an_opened_file_takes_no_rows(tmp_path: Path, kind: IndexKind) -> None:
    index = made(kind, CORNERS)
    index.add(ids_of(10), EAST)
    opened = written(index, tmp_path / "rows.faiss")
    with pytest.raises(ConfigError, match="takes no"):
        opened.add(ids_of(1), EAST)
    if isinstance(opened, IvfIndex):
        with pytest.raises(ConfigError, match="takes no"):
            opened.remove(ids_of(10))
    assert len(opened) == 1


@pytest.mark.parametrize(("kind", "mapped"), FAST)
def test_ids_left_out_are_not_found(kind: IndexKind, mapped: bool, tmp_path: Path) -> None:
    index = made(kind, CORNERS)
    index.add(ids_of(10, 20, 30, 40), CORNERS)
    if mapped:
        index = written(index, tmp_path / "rows.faiss")
    (found,) = index.search(EAST, 5, without=ids_of(10, 20, 99))
    assert found.ids.tolist() == [30, 40]
    (found,) = index.search(EAST, 5, among=ids_of(10, 30), without=ids_of(10))
    assert found.ids.tolist() == [30]
    (found,) = index.search(EAST, 5, among=ids_of(10), without=ids_of(10))
    assert found.ids.tolist() == []
    (found,) = index.search(EAST, 5, among=ids_of(2**60, 10), without=ids_of(10, 20))
    assert found.ids.tolist() == []


@each_inverted
def test_removed_rows_are_gone_and_their_ids_are_free(kind: IndexKind, tmp_path: Path) -> None:
    index = made(kind, CORNERS)
    assert isinstance(index, IvfIndex)
    index.add(ids_of(10, 20, 30, 40), CORNERS)
    index.remove(ids_of(10, 20, 77))
    assert (len(index), sorted(index.ids().tolist())) == (2, [30, 40])
    index.add(ids_of(10), CORNERS[3:])
    for one in (index, written(index, tmp_path / "rows.faiss")):
        (found,) = one.search(EAST, 5)
        assert found.ids.tolist() == [30, 10, 40]


@each_inverted
def test_lists_need_rows_to_be_trained_on(kind: IndexKind) -> None:
    with pytest.raises(ConfigError, match="4 rows cannot be put into 5 lists"):
        IvfIndex.trained(kind, CORNERS, nlist=5)
    with pytest.raises(ConfigError, match="has no lists"):
        IvfIndex.trained(IndexKind.FLAT, CORNERS, nlist=1)


@each_inverted
def test_an_index_is_loaded_and_changed_while_the_old_file_serves(
    kind: IndexKind, tmp_path: Path
) -> None:
    index = made(kind, CORNERS)
    index.add(ids_of(10, 20), CORNERS[:2])
    path = tmp_path / "rows.faiss"
    opened = written(index, path)
    loaded = IvfIndex.load(path)
    loaded.remove(ids_of(10))
    loaded.add(ids_of(5), CORNERS[:1])
    assert loaded.search(EAST, 5)[0].ids.tolist() == [5, 20]
    assert opened.search(EAST, 5)[0].ids.tolist() == [10, 20]


@each_kind
@pytest.mark.parametrize("content", [b"", b"no index " * 30], ids=["empty", "foreign"])
def test_a_file_faiss_cannot_read_is_refused(
    tmp_path: Path, content: bytes, kind: IndexKind
) -> None:
    path = tmp_path / "rows.faiss"
    path.write_bytes(content)
    with pytest.raises(UnsoundLibraryError, match="cannot be read"):
        open_index(path, kind)


@pytest.mark.parametrize("kind", IndexKind, ids=str)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, kind: IndexKind) -> None:
    other = IndexKind.IVF_SQ8 if kind is IndexKind.FLAT else IndexKind.FLAT
    index = made(other, CORNERS)
    index.add(ids_of(1), EAST)
    written(index, tmp_path / "rows.faiss")
    with pytest.raises(UnsoundLibraryError, match="of another kind"):
        open_index(tmp_path / "rows.faiss", kind)


@each_kind
def test_a_folder_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path, kind: IndexKind) -> None:
    index = made(kind, CORNERS)
    index.add(ids_of(10), EAST)
    path = tmp_path / "caf\udce9.faiss"
    assert written(index, path).search(EAST, 1)[0].ids.tolist() == [10]


@each_kind
def test_a_full_disk_is_an_os_error_while_writing(kind: IndexKind) -> None:
    def full(block: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        made(kind, CORNERS).write(full)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc/self/smaps")
@each_kind
def test_an_opened_file_is_mapped_and_not_copied(tmp_path: Path, kind: IndexKind) -> None:
    rows = unit_rows(20_000, 256)
    index: FlatIndex | IvfIndex = FlatIndex(256)
    if kind is not IndexKind.FLAT:
        index = IvfIndex.trained(kind, rows[:2000], nlist=16)
    index.add(np.arange(len(rows), dtype=np.int64), rows)
    path = tmp_path / "rows.faiss"
    before = anonymous_kilobytes()
    opened = written(index, path)
    opened.search(rows[:1], 10)
    assert anonymous_kilobytes() - before < path.stat().st_size / 1024 / 4


def anonymous_kilobytes() -> int:
    """Return how much memory of this process is not that of a mapped file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@each_inverted
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("clustered", [False, True], ids=["at random", "whole clusters"])
def test_a_filtered_search_finds_what_brute_force_finds(
    kind: IndexKind, share: float, clustered: bool
) -> None:
    index, rows, questions, clusters = inverted(kind)
    generator = np.random.default_rng(5)
    order = np.argsort(clusters, kind="stable") if clustered else generator.permutation(len(rows))
    among = np.asarray(order[: int(share * len(rows))], dtype=np.int64)
    truth = np.argsort(-(questions @ rows[among].T), axis=1)[:, :10]
    candidates = 30 if kind is IndexKind.IVF_SQ8 else 600  # one bit a dimension is rough at 64
    found = index.search(questions, candidates, among=among)
    hits = [np.isin(among[best], one.ids).mean() for best, one in zip(truth, found, strict=True)]
    assert np.mean(hits) >= 0.99
    for one in found:
        assert len(one.ids) == min(candidates, len(among))
        assert np.isin(one.ids, among).all()


@each_inverted
def test_few_lists_never_give_too_few_rows(kind: IndexKind) -> None:
    index, rows, questions, _ = inverted(kind)
    assert index.parameters is not None
    index.parameters = replace(index.parameters, nprobe=1)
    for k in (1, 10, 3000, len(rows)):
        for one in index.search(questions[:5], k):
            assert len(set(one.ids.tolist())) == k


def inverted(kind: IndexKind) -> tuple[IvfIndex, Vectors, Vectors, Ids]:
    """Return an index of 6,000 pictures, them, 64 sentences, and the pictures' clusters."""
    rows, questions, clusters = modalities(6000, 64)
    index = IvfIndex.trained(kind, rows[::2], nlist=100)
    index.add(np.arange(len(rows), dtype=np.int64), rows)
    index.parameters = Parameters(100, 20, 600, 0.3, 0.4, 0.99, None, 0, "none", 6000, 6000)
    return index, rows, questions, clusters


@each_inverted
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 120),
    k=st.integers(1, 130),
    filtered=st.booleans(),
    repeated=st.booleans(),
)
def test_an_inverted_index_that_looks_everywhere_loses_nothing(
    *, kind: IndexKind, seed: int, rows: int, k: int, filtered: bool, repeated: bool
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rows, 32, seed)
    if repeated:
        vectors = vectors[rng.integers(0, 1 + rows // 4, rows)]
    ids = np.asarray(rng.permutation(5 * rows)[:rows], dtype=np.int64)
    index = made(kind, vectors)
    index.add(ids, vectors)
    among = np.asarray(rng.permutation(5 * rows)[: 2 * rows], dtype=np.int64) if filtered else None
    queries = unit_rows(3, 32, seed + 1)
    everyone = ids if among is None else ids[np.isin(ids, among)]
    position = {int(number): place for place, number in enumerate(ids)}
    for query, one in zip(queries, index.search(queries, k, among=among), strict=True):
        assert len(one.ids) == min(k, len(everyone))
        assert set(one.ids.tolist()) <= set(everyone.tolist())
        true = vectors[[position[int(number)] for number in one.ids]] @ query
        np.testing.assert_allclose(one.scores, true, atol=0.02 if kind is IndexKind.IVF_SQ8 else 1)
        pairs = list(zip((-one.scores).tolist(), one.ids.tolist(), strict=True))
        assert pairs == sorted(pairs)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 80), k=st.integers(1, 90))
def test_rows_in_memory_answer_as_a_scan(seed: int, rows: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.asarray(unit_rows(max(rows, 1), 16, seed)[:rows] * rng.uniform(0.1, 5), np.float32)
    ids = np.asarray(rng.permutation(200)[:rows], dtype=np.int64)
    among = np.asarray(rng.permutation(200)[:50], dtype=np.int64)
    query = unit_rows(1, 16, seed + 1)
    for chosen in (None, among):
        keep = np.ones(rows, dtype=np.bool_) if chosen is None else np.isin(ids, chosen)
        (expected,) = scan(query, [(ids[keep], vectors[keep])], k)
        found = Rows.of([(ids, vectors)], 16).among(chosen).search(query[0], k)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)


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
