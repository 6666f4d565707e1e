"""Libraries with inverted lists: chosen by size, measured, kept up without training anew."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.index.clusters import modalities
from tests.index.conftest import picture, sentence

from mmsearch.core import Ids, Matches, Modality, Space
from mmsearch.errors import ConfigError
from mmsearch.index import generation as files
from mmsearch.index.ann import IvfIndex
from mmsearch.index.ann.centroids import neighbours_together
from mmsearch.index.calibration import calibrate
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import ExactIndex
from mmsearch.index.policy import IndexKind, Parameters, Policy
from mmsearch.index.rows import Batch, Generation, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.index.truth import Questions, Truth, lower_bound

DIM = 32
ROWS = 2000
SPACE = Space("gap", DIM, "dd" * 32)
IMAGE = Modality.IMAGE
PICTURES, SENTENCES, CLUSTERS = modalities(2 * ROWS, 400, DIM)
ASKED = SENTENCES[300:]  # never in a library
SQ8 = Policy(kind=IndexKind.IVF_SQ8, scan_below=0, few=0)
each_kind = pytest.mark.parametrize("kind", [IndexKind.IVF_SQ8, IndexKind.IVF_RABITQ], ids=str)


def pictures(start: int, stop: int) -> Batch:
    """Return the pictures of some numbers."""
    rows = zip(range(start, stop), PICTURES[start:stop], strict=True)
    return Batch(files=tuple(picture(f"/photos/{n}", row) for n, row in rows))


def sentences(count: int) -> Batch:
    """Return the first sentences."""
    rows = enumerate(SENTENCES[:count])
    return Batch(texts=tuple(sentence(f"sentence {n}", row) for n, row in rows))


@pytest.fixture
def catalog(directory: Path) -> Iterator[Catalog]:
    """Return a catalog of 2,000 pictures and 300 sentences, open for writing."""
    with Catalog.open(directory, write=True) as opened:
        opened.set_space(SPACE)
        opened.add_root("/photos", RootKind.FOLDER)
        opened.commit(sentences(300))
        opened.commit(pictures(0, ROWS))
        yield opened


def written(catalog: Catalog, policy: Policy) -> Generation:
    """Refresh the index files and return what is recorded."""
    store = IndexStore(catalog, catalog.directory, policy)
    store.refresh(SPACE)
    assert store.warnings == []
    known = files.recorded(catalog, SPACE, IMAGE)
    assert known is not None
    return known


def brute_force(catalog: Catalog, k: int, among: Ids | None = None) -> list[Matches]:
    """Return what the specification answers from the catalog's rows."""
    exact = ExactIndex(DIM)
    exact.add(*catalog.all_vectors(SPACE, IMAGE))
    return exact.search(ASKED, k, among=among)


def recall(catalog: Catalog, policy: Policy, among: Ids | None = None) -> float:
    """Return recall@10 of the questions nobody calibrated with; scores must be exact."""
    store = IndexStore(catalog, catalog.directory, policy)
    hits = 0.0
    for true, one in zip(
        brute_force(catalog, 10, among),
        store.search(SPACE, IMAGE, ASKED, 10, among=among),
        strict=True,
    ):
        assert len(one.ids) == len(true.ids)
        scores = dict(zip(true.ids.tolist(), true.scores.tolist(), strict=True))
        common = [n for n in range(len(one.ids)) if int(one.ids[n]) in scores]
        assert [scores[int(one.ids[n])] for n in common] == one.scores[common].tolist()
        hits += len(common) / len(true.ids)
    assert store.warnings == []
    return hits / len(ASKED)


def probe_everything(catalog: Catalog, known: Generation) -> None:
    """Let a recorded index look into every list, with many candidates."""
    assert known.parameters is not None
    nlist = known.parameters.nlist
    wide = replace(known.parameters, nprobe=nlist, candidates=1500)
    files.record(catalog, replace(known, parameters=wide))


@pytest.mark.parametrize(
    ("rows", "current", "kind"),
    [
        (0, None, "flat"),
        (199_999, None, "flat"),
        (200_000, None, "ivf-sq8"),
        (200_000, "flat", "ivf-sq8"),
        (160_000, "ivf-sq8", "ivf-sq8"),
        (159_999, "ivf-sq8", "flat"),
        (9_999_999, "ivf-sq8", "ivf-sq8"),
        (10_000_000, "ivf-sq8", "ivf-rabitq"),
        (8_000_000, "ivf-rabitq", "ivf-rabitq"),
        (7_999_999, "ivf-rabitq", "ivf-sq8"),
        (1_000, "ivf-rabitq", "flat"),
    ],
)
def test_the_kind_follows_the_size_and_does_not_flip(
    rows: int, current: str | None, kind: str
) -> None:
    assert Policy().choose(rows, None if current is None else IndexKind(current)).value == kind
    assert Policy(kind=IndexKind.IVF_SQ8).choose(rows) is IndexKind.IVF_SQ8


@pytest.mark.parametrize(
    ("changes", "rows", "due"),
    [
        (63, 100, False),
        (64, 100, True),
        (4999, 100_000, False),
        (5000, 100_000, True),
        (8191, 10**6, False),
        (8192, 10**6, True),
    ],
)
def test_a_new_file_is_due_before_the_rest_is_slow(changes: int, rows: int, due: bool) -> None:
    assert Policy().due(changes, rows) is due


@pytest.mark.parametrize("recall", [0, -1, 1.01, float("nan")])
def test_a_recall_that_cannot_be_is_refused(recall: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        Policy(recall=recall)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"nlist": 1}', "null"],
)
def test_parameters_that_nobody_wrote_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Parameters.from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [{"nprobe": 0}, {"nprobe": 11}, {"candidates": 1.5}, {"slack": float("inf")}, {"target": "a"}],
    ids=str,
)
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    good = Parameters(10, 2, 16, 0.5, 0.6, 0.99, None, 0, "none", 100, 100)
    assert Parameters.from_json(good.to_json()) == good
    values = {**json.loads(good.to_json()), **wrong}
    with pytest.raises(ValueError, match="impossible"):
        Parameters.from_json(json.dumps(values))


def test_a_library_grows_from_flat_to_lists_to_codes_and_back(catalog: Catalog) -> None:
    policy = Policy(flat_below=2500, rabitq_from=3500, scan_below=0, few=0)
    assert written(catalog, policy).kind is IndexKind.FLAT
    assert recall(catalog, policy) == 1.0
    catalog.commit(pictures(ROWS, 3000))
    assert written(catalog, policy).kind is IndexKind.IVF_SQ8
    assert recall(catalog, policy) >= 0.98
    catalog.commit(pictures(3000, 4000))
    assert written(catalog, policy).kind is IndexKind.IVF_RABITQ
    assert recall(catalog, policy) >= 0.98
    catalog.commit(Batch(gone=tuple(range(301, 2801))))
    assert written(catalog, policy).kind is IndexKind.FLAT
    assert recall(catalog, policy) == 1.0


@each_kind
def test_lists_that_are_all_searched_give_the_answer_of_the_catalog(
    catalog: Catalog, kind: IndexKind
) -> None:
    policy = replace(SQ8, kind=kind)
    probe_everything(catalog, written(catalog, policy))
    store = IndexStore(catalog, catalog.directory, policy)
    for k in (1, 10):
        found = store.search(SPACE, IMAGE, ASKED, k)
        for one, true in zip(found, brute_force(catalog, k), strict=True):
            np.testing.assert_array_equal(one.ids, true.ids)
            np.testing.assert_array_equal(one.scores, true.scores)
    assert store.warnings == []


@each_kind
def test_the_parameters_are_measured_with_the_other_modality(
    catalog: Catalog, kind: IndexKind
) -> None:
    known = written(catalog, replace(SQ8, kind=kind))
    chosen = known.parameters
    assert chosen is not None
    assert (chosen.queries, chosen.origin, chosen.target) == (300, "text", 0.99)
    assert chosen.recall is not None
    assert chosen.recall >= 0.99
    assert chosen.nprobe <= chosen.nlist == 62
    assert chosen.trained == chosen.measured == known.rows == ROWS
    assert recall(catalog, replace(SQ8, kind=kind)) >= 0.98


@each_kind
def test_the_recall_that_chose_the_parameters_is_that_of_a_search_with_them(
    kind: IndexKind,
) -> None:
    ids, rows = np.arange(ROWS), PICTURES[:ROWS]
    index, truth = IvfIndex.trained(kind, rows, nlist=60), Truth(SENTENCES[:300])
    index.add(ids, rows)
    truth.add(ids, rows)
    chosen = calibrate(index, truth, "text", 0.8)
    found = index.search(truth.questions, chosen.candidates)
    assert chosen.recall is not None
    assert truth.recalls([matches.ids for matches in found]).mean() >= chosen.recall - 0.005


def test_a_lower_target_looks_into_fewer_lists(catalog: Catalog, directory: Path) -> None:
    high = written(catalog, SQ8).parameters
    low = IndexStore(catalog, directory, replace(SQ8, recall=0.6)).tune(SPACE, IMAGE)
    assert high is not None
    assert low is not None
    assert low.parameters is not None
    assert low.parameters.nprobe < high.nprobe / 2
    assert 0.55 <= recall(catalog, SQ8) < 0.97


def test_without_the_other_modality_the_parameters_are_careful(directory: Path) -> None:
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/photos", RootKind.FOLDER)
        catalog.commit(pictures(0, ROWS))
        chosen = written(catalog, SQ8).parameters
        assert chosen is not None
        assert (chosen.recall, chosen.queries, chosen.origin) == (None, 0, "none")
        assert chosen.nprobe == 8  # an eighth of 62
        catalog.commit(sentences(300))
        catalog.commit(pictures(ROWS, ROWS + 200))
        chosen = written(catalog, SQ8).parameters  # now there is something to measure with
        assert chosen is not None
        assert chosen.recall is not None
        assert (chosen.queries, chosen.trained, chosen.measured) == (300, ROWS, ROWS + 200)


def test_questions_from_elsewhere_serve_as_well(catalog: Catalog, directory: Path) -> None:
    written(catalog, SQ8)
    known = IndexStore(catalog, directory, SQ8).tune(SPACE, IMAGE, Questions(ASKED, "a file"))
    assert known is not None
    assert known.parameters is not None
    assert (known.parameters.origin, known.parameters.queries) == ("a file", 100)
    assert files.recorded(catalog, SPACE, IMAGE) == known


@each_kind
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("clustered", [False, True], ids=["at random", "whole clusters"])
def test_a_filter_does_not_cost_recall(
    catalog: Catalog, kind: IndexKind, share: float, clustered: bool
) -> None:
    policy = replace(SQ8, kind=kind)
    written(catalog, policy)
    order = np.random.default_rng(2).permutation(ROWS)
    if clustered:
        order = np.argsort(CLUSTERS[:ROWS], kind="stable")
    among = np.asarray(301 + order[: int(share * ROWS)], dtype=np.int64)
    assert recall(catalog, policy, among) >= 0.98


@each_kind
def test_changes_reach_the_file_without_training(catalog: Catalog, kind: IndexKind) -> None:
    policy = replace(SQ8, kind=kind)
    first = written(catalog, policy)
    catalog.commit(pictures(ROWS, ROWS + 90))
    changed = tuple(
        picture(f"/photos/{n}", PICTURES[3000 + n], content=f"new {n}") for n in range(50)
    )
    catalog.commit(Batch(files=changed, gone=tuple(range(401, 461))))
    assert recall(catalog, policy) >= 0.98  # the file knows nothing of it yet
    second = written(catalog, policy)
    assert second.number > first.number
    assert second.parameters == first.parameters
    assert second.rows == ROWS + 90 - 60
    assert recall(catalog, policy) >= 0.98
    probe_everything(catalog, second)
    assert recall(catalog, policy) == 1.0


def test_few_changes_are_searched_beside_the_file(catalog: Catalog) -> None:
    known = written(catalog, SQ8)
    probe_everything(catalog, known)
    catalog.commit(Batch(files=(picture("/photos/new", ASKED[0]),), gone=(301, 302)))
    assert written(catalog, SQ8).number == known.number
    assert recall(catalog, SQ8) == 1.0


def test_lists_are_trained_anew_when_the_rows_have_doubled(catalog: Catalog) -> None:
    first = written(catalog, SQ8).parameters
    catalog.commit(pictures(ROWS, 2 * ROWS))
    second = written(catalog, SQ8).parameters
    assert first is not None
    assert second is not None
    assert (first.nlist, second.nlist) == (62, 125)
    assert (first.trained, second.trained) == (ROWS, 2 * ROWS)


def test_a_damaged_file_is_not_built_upon(catalog: Catalog, directory: Path) -> None:
    known = written(catalog, SQ8)
    path = directory / known.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    catalog.commit(pictures(ROWS, ROWS + 200))
    after = written(catalog, SQ8)
    assert after.parameters is not None
    assert after.parameters.trained == ROWS + 200
    assert path.with_suffix(".damaged").exists()
    probe_everything(catalog, after)
    assert recall(catalog, SQ8) == 1.0


def test_an_open_reader_keeps_its_file_until_the_next_is_recorded(
    catalog: Catalog, directory: Path
) -> None:
    written(catalog, SQ8)
    with Catalog.open(directory) as reading:
        assert recall(reading, SQ8) >= 0.98
        store = IndexStore(reading, directory, SQ8)
        before = store.search(SPACE, IMAGE, ASKED, 10)
        catalog.commit(pictures(ROWS, ROWS + 200))
        written(catalog, SQ8)
        after = store.search(SPACE, IMAGE, ASKED, 10)
        assert store.warnings == []
        assert any(
            one.ids.tolist() != two.ids.tolist() for one, two in zip(before, after, strict=True)
        )
        store_now = IndexStore(reading, directory, SQ8).search(SPACE, IMAGE, ASKED, 10)
        for one, two in zip(after, store_now, strict=True):
            np.testing.assert_array_equal(one.ids, two.ids)


def test_a_reader_looks_nothing_up_twice(catalog: Catalog, directory: Path) -> None:
    written(catalog, SQ8)
    catalog.commit(pictures(ROWS, ROWS + 20))
    with Catalog.open(directory) as reading:
        store = IndexStore(reading, directory, SQ8)
        store.search(SPACE, IMAGE, ASKED[:1], 10)
        statements: list[str] = []
        reading._connection.set_trace_callback(statements.append)
        store.search(SPACE, IMAGE, ASKED[1:2], 10)
        reading._connection.set_trace_callback(None)
    looked_up = [statement for statement in statements if "SELECT" in statement]
    assert len(looked_up) == 2  # how many commits there are, and the candidates
    assert sum("vectors_" in statement for statement in looked_up) == 1


def test_many_questions_are_one_look_up(catalog: Catalog, directory: Path) -> None:
    written(catalog, SQ8)
    store = IndexStore(catalog, directory, SQ8)
    singly = [store.search(SPACE, IMAGE, row[np.newaxis], 10)[0] for row in ASKED[:50]]
    statements: list[str] = []
    catalog._connection.set_trace_callback(statements.append)
    together = store.search(SPACE, IMAGE, ASKED[:50], 10)
    catalog._connection.set_trace_callback(None)
    looked_up = [statement for statement in statements if "SELECT" in statement]
    assert len(looked_up) == 2  # how many commits there are, and the candidates
    assert sum("vectors_" in statement for statement in looked_up) == 1
    for one, two in zip(singly, together, strict=True):
        np.testing.assert_array_equal(one.ids, two.ids)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_a_record_nobody_understands_is_replaced(catalog: Catalog, directory: Path) -> None:
    written(catalog, SQ8)
    with catalog.transaction() as db:
        db.execute("UPDATE generations SET kind = 'of tomorrow'")
    assert files.recorded(catalog, SPACE, IMAGE) is None
    assert IndexStore(catalog, directory, SQ8).search(SPACE, IMAGE, ASKED, 1)[0].ids.size == 1
    assert written(catalog, SQ8).kind is IndexKind.IVF_SQ8


def test_the_truth_of_rows_that_stream_by_is_that_of_all_rows() -> None:
    ids = np.arange(1000, dtype=np.int64)
    truth = Truth(ASKED)
    for start in range(0, 1000, 130):
        truth.add(ids[start : start + 130], PICTURES[start : min(start + 130, 1000)])
    exact = ExactIndex(DIM)
    exact.add(ids, PICTURES[:1000])
    found = [one.ids for one in exact.search(ASKED, 10)]
    assert truth.recalls(found).tolist() == [1.0] * len(ASKED)
    assert [truth.relevant(n).tolist() for n in range(len(ASKED))] == [f.tolist() for f in found]
    halves = [np.concatenate([one[:5], [-5, -6]]) for one in found]
    assert truth.recalls(halves).tolist() == [0.5] * len(ASKED)


def test_equal_rows_at_the_end_of_the_truth_are_equally_right() -> None:
    truth = Truth(np.eye(1, 4, dtype=np.float32))
    rows = np.repeat(np.eye(1, 4, dtype=np.float32), 15, axis=0)
    truth.add(np.arange(15, dtype=np.int64), rows)
    assert truth.recalls([np.arange(5, 15)]).tolist() == [1.0]


def test_a_mean_is_only_believed_with_its_error() -> None:
    shares = np.array([1.0, 1.0, 1.0, 0.6])
    assert lower_bound(shares) == pytest.approx(0.9 - 3 * 0.1732 / 2, abs=1e-4)
    assert lower_bound(np.empty(0)) == 0.0


def test_lists_that_are_near_stand_together_in_the_file() -> None:
    index = IvfIndex.trained(IndexKind.IVF_SQ8, PICTURES[:ROWS], nlist=60)
    ids = np.arange(ROWS)
    index.add(ids, PICTURES[:ROWS])
    homes = index.lists_of(PICTURES[:ROWS])
    means = np.stack([PICTURES[:ROWS][homes == n].mean(axis=0) for n in range(60)])
    near = np.linalg.norm(means[1:] - means[:-1], axis=1).mean()
    apart = np.linalg.norm(means[:, np.newaxis] - means, axis=2)[np.triu_indices(60, 1)].mean()
    assert near < 0.9 * apart
    order = neighbours_together(means)
    assert sorted(order.tolist()) == list(range(60))
    assert neighbours_together(means[:0].reshape(0, means.shape[1])).tolist() == []
