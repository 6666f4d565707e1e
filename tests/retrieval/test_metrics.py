import math

import numpy as np
import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.core import Ids, Vectors
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.metrics import (
    Direction,
    Ranks,
    bootstrap,
    chance,
    fold_ranks,
    mean_metrics,
    metrics,
    ranks,
)


def from_scores(scores: list[list[float]], owner: list[int]) -> Ranks:
    """Rank a written-out (images, captions) score matrix: texts as columns of one-hot images."""
    matrix = np.array(scores, np.float32)
    return ranks(np.eye(len(matrix), dtype=np.float32), matrix.T.copy(), np.array(owner))


def owners(counts: list[int]) -> Ids:
    return np.repeat(np.arange(len(counts)), counts)


def random_vectors(rng: np.random.Generator, count: int, dim: int) -> Vectors:
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def plain_ranks(scores: Vectors, owner: Ids) -> tuple[list[int], list[int]]:
    """The specification: one loop, one full matrix of (images, captions) scores."""
    i2t = []
    for image, row in enumerate(scores):
        best = max(row[owner == image])
        i2t.append(sum(score >= best for score in row[owner != image]))
    t2i = []
    for caption, column in enumerate(scores.T):
        wrong = np.delete(column, owner[caption])
        t2i.append(sum(score >= column[owner[caption]] for score in wrong))
    return i2t, t2i


def test_a_hand_worked_matrix_gives_the_ranks_on_paper() -> None:
    found = from_scores(
        [
            [0.9, 0.1, 0.8, 0.2],  # captions 0 and 1 are its own: best of all, rank 0
            [0.3, 0.7, 0.5, 0.6],  # caption 2: below 0.7 and 0.6, rank 2
            [0.4, 0.2, 0.6, 0.5],  # caption 3: below 0.6, rank 1
        ],
        owner=[0, 0, 1, 2],
    )
    assert found.i2t.tolist() == [0, 2, 1]
    # columns: 0.9 first; 0.1 below 0.7 and 0.2; 0.5 below 0.8 and 0.6; 0.5 below 0.6
    assert found.t2i.tolist() == [0, 2, 2, 1]

    summary = metrics(found)
    assert summary.i2t == Direction(r1=100 * (1 / 3), r5=100.0, r10=100.0, medr=2.0, meanr=2.0)
    assert summary.t2i == Direction(r1=25.0, r5=100.0, r10=100.0, medr=2.0, meanr=2.25)
    assert summary.rsum == pytest.approx(100 / 3 + 25 + 400)
    assert (summary.images, summary.captions) == (3, 4)


def test_own_captions_do_not_count_against_each_other() -> None:
    found = from_scores([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]], owner=[0, 0, 1])
    assert found.i2t.tolist() == [0, 0]
    assert from_scores([[0.5, 0.5, 0.1], [0.0, 0.0, 0.9]], owner=[0, 0, 1]).i2t.tolist() == [0, 0]


def test_a_tie_with_a_wrong_answer_ranks_after_it() -> None:
    found = from_scores([[0.5, 0.5], [0.2, 0.5]], owner=[0, 1])
    assert found.i2t.tolist() == [1, 0]
    assert found.t2i.tolist() == [0, 1]


@pytest.mark.parametrize("dim", [3, 64, 1000])
def test_a_collapsed_model_ranks_last_everywhere(dim: int) -> None:
    vector = random_vectors(np.random.default_rng(dim), 1, dim)
    owner = owners([5] * 40)
    found = ranks(np.repeat(vector, 40, axis=0), np.repeat(vector, 200, axis=0), owner)
    assert set(found.i2t.tolist()) == {195}
    assert set(found.t2i.tolist()) == {39}
    summary = metrics(found)
    assert summary.rsum == 0.0
    assert summary.i2t.medr == 196
    assert summary.t2i.meanr == 40


def test_a_perfect_model_scores_600() -> None:
    images = np.eye(12, dtype=np.float32)
    summary = metrics(ranks(images, images, np.arange(12)))
    assert summary.rsum == 600.0
    assert summary.i2t.medr == summary.t2i.meanr == 1.0


def test_an_even_number_of_ranks_takes_the_lower_median() -> None:
    found = Ranks(i2t=np.array([0, 3]), t2i=np.array([1, 2, 4, 8]), owner=np.array([0, 0, 1, 1]))
    assert metrics(found).i2t.medr == 2  # floor(1.5) + 1
    assert metrics(found).t2i.medr == 4  # floor(3.0) + 1


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    levels=st.integers(1, 5),
)
@settings(deadline=None)
def test_ranks_equal_the_plain_loop_with_ties_and_uneven_captions(
    counts: list[int], seed: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    owner = rng.permutation(owners(counts))
    scores = rng.integers(0, levels, size=(len(counts), len(owner))).astype(np.float32)
    found = ranks(np.eye(len(counts), dtype=np.float32), scores.T.copy(), owner)
    assert (found.i2t.tolist(), found.t2i.tolist()) == plain_ranks(scores, owner)


def test_ranks_do_not_depend_on_how_the_matrix_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    owner = rng.permutation(owners([1, 3, 2, 5, 4, 2]))
    images, texts = random_vectors(rng, 6, 16), random_vectors(rng, len(owner), 16)
    whole = ranks(images, texts, owner)
    monkeypatch.setattr("mmsearch.retrieval.metrics._CELLS", 32)
    cut = ranks(images, texts, owner)
    assert cut.i2t.tolist() == whole.i2t.tolist()
    assert cut.t2i.tolist() == whole.t2i.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_recall_agrees_with_clip_benchmark_on_uneven_captions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = rng.permutation(owners(rng.integers(1, 8, size=60).tolist()))
    images = random_vectors(rng, 60, 24)
    noise = random_vectors(rng, len(owner), 24)
    texts = images[owner] + 1.5 * noise
    texts = np.asarray(texts / np.linalg.norm(texts, axis=1, keepdims=True), np.float32)
    ours = metrics(ranks(images, texts, owner))

    scores = torch.from_numpy(texts @ images.T)
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(owner)), torch.from_numpy(owner)] = True
    for k, i2t, t2i in (
        (1, ours.i2t.r1, ours.t2i.r1),
        (5, ours.i2t.r5, ours.t2i.r5),
        (10, ours.i2t.r10, ours.t2i.r10),
    ):
        theirs_i2t = (recall_at_k(scores.T, positive.T, k) > 0).double().mean().item()
        theirs_t2i = (recall_at_k(scores, positive, k) > 0).double().mean().item()
        assert i2t == pytest.approx(100 * theirs_i2t, abs=1e-5)
        assert t2i == pytest.approx(100 * theirs_t2i, abs=1e-5)
        assert 0 < t2i < 100


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["image", "text"])
def test_a_vector_that_is_not_finite_is_an_error(value: float, side: str) -> None:
    images, texts = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    (images if side == "image" else texts)[1, 1] = value
    with pytest.raises(ModelError, match=f"1 of 3 {side} vectors hold NaN"):
        ranks(images, texts, np.arange(3))


@pytest.mark.parametrize(
    ("images", "texts", "owner", "said"),
    [
        ((2, 3), (2, 4), [0, 1], "same width"),
        ((2, 3), (2, 3), [0], "image row of each caption"),
        ((2, 3), (2, 3), [0, 2], "from 0 to 1"),
        ((2, 3), (2, 3), [0, -1], "from 0 to 1"),
        ((2, 3), (2, 3), [0, 0], "image row 1 has no caption"),
        ((0, 3), (0, 3), [], "at least one image"),
    ],
)
def test_shapes_that_do_not_fit_are_errors(
    images: tuple[int, int], texts: tuple[int, int], owner: list[int], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        ranks(np.zeros(images, np.float32), np.zeros(texts, np.float32), np.array(owner, np.int64))


def test_folds_rank_within_consecutive_runs_of_images() -> None:
    # Image 1's only rival caption stands in the other fold.
    images = np.eye(4, dtype=np.float32)
    texts = images.copy()
    texts[2] = images[1]
    owner = np.arange(4)
    assert ranks(images, texts, owner).i2t.tolist() == [0, 1, 3, 0]
    first, second = fold_ranks(images, texts, owner, 2)
    assert first.i2t.tolist() == [0, 0]
    assert second.i2t.tolist() == [1, 0]
    assert second.owner.tolist() == [0, 1]

    mean = mean_metrics([metrics(first), metrics(second)])
    assert mean.i2t.r1 == 75.0
    assert mean.i2t.meanr == 1.25
    assert mean.i2t.medr == 1.0
    assert (mean.images, mean.captions) == (4, 4)
    assert mean.rsum == pytest.approx(75 + 100 + 100 + mean.t2i.r1 + 200)


def test_folds_keep_captions_in_any_order_with_their_image() -> None:
    rng = np.random.default_rng(1)
    owner = rng.permutation(owners([2, 1, 3, 2, 1]))
    images, texts = random_vectors(rng, 5, 8), random_vectors(rng, 9, 8)
    found = fold_ranks(images, texts, owner, 2)
    assert [len(one.i2t) for one in found] == [3, 2]
    assert [len(one.t2i) for one in found] == [6, 3]
    inside = owner >= 3
    again = ranks(images[3:], texts[inside], owner[inside] - 3)
    assert found[1].t2i.tolist() == again.t2i.tolist()


@pytest.mark.parametrize("folds", [0, -1, 4])
def test_more_folds_than_images_are_an_error(folds: int) -> None:
    images = np.eye(3, dtype=np.float32)
    with pytest.raises(ConfigError, match=f"3 images into {folds} folds"):
        fold_ranks(images, images, np.arange(3), folds)


def test_chance_on_four_images_is_worked_by_hand() -> None:
    # One image owns 3 of 6 captions, three images own 1 each.
    zeros = np.zeros
    found = Ranks(zeros(4, np.int64), zeros(6, np.int64), np.array([0, 0, 0, 1, 2, 3]))
    expected = chance(found)
    # R@1: (3/6 + 3 * 1/6) / 4; R@5: (1 + 3 * 5/6) / 4; everything within 10.
    assert expected.i2t.r1 == pytest.approx(25.0)
    assert expected.i2t.r5 == pytest.approx(100 * (1 + 2.5) / 4)
    assert expected.i2t.r10 == pytest.approx(100.0)
    # Mean rank: 1 + 3/4 for the first, 1 + 5/2 for the others.
    assert expected.i2t.meanr == pytest.approx((1.75 + 3 * 3.5) / 4)
    assert expected.t2i == Direction(r1=25.0, r5=100.0, r10=100.0, medr=2.0, meanr=2.5)


def test_chance_is_the_mean_of_many_random_rankings() -> None:
    rng = np.random.default_rng(0)
    owner = owners([1, 2, 5, 3, 4, 5, 5, 1, 2, 2, 4, 6])
    drawn = []
    for _ in range(400):
        scores = rng.random((12, len(owner)), dtype=np.float32)
        drawn.append(metrics(from_scores(scores.tolist(), owner.tolist())))
    mean = mean_metrics(drawn)
    expected = chance(from_scores(scores.tolist(), owner.tolist()))
    assert mean.i2t.r1 == pytest.approx(expected.i2t.r1, abs=2)
    assert mean.i2t.r5 == pytest.approx(expected.i2t.r5, abs=2)
    assert mean.i2t.meanr == pytest.approx(expected.i2t.meanr, rel=0.05)
    assert mean.t2i.r10 == pytest.approx(expected.t2i.r10, abs=2)
    assert mean.rsum == pytest.approx(expected.rsum, rel=0.02)


def test_bootstrap_resamples_images_with_their_captions() -> None:
    # Image 0 and its three captions are always right, image 1 and its one caption always wrong.
    found = Ranks(np.array([0, 50]), np.array([0, 0, 0, 50]), np.array([0, 0, 0, 1]))
    drawn = bootstrap([found], samples=200, seed=1)
    assert drawn.i2t.r1 == (0.0, 100.0)
    assert drawn.t2i.r1 == (0.0, 100.0)
    assert drawn.rsum == (0.0, 600.0)


def test_bootstrap_covers_the_figure_and_shrinks_with_more_images() -> None:
    rng = np.random.default_rng(2)

    def drawn(images: int) -> tuple[float, float]:
        hit = rng.permutation(np.repeat([0, 100], images // 2))
        return bootstrap([Ranks(hit, hit, np.arange(images))]).i2t.r1

    low, high = drawn(400)
    # The standard error of a proportion of one half over 400 images is 2.5 percent points.
    assert low == pytest.approx(50 - 1.96 * 2.5, abs=1)
    assert high == pytest.approx(50 + 1.96 * 2.5, abs=1)
    wide_low, wide_high = drawn(40)
    assert wide_high - wide_low > 2 * (high - low)


def test_bootstrap_repeats_with_its_seed() -> None:
    rng = np.random.default_rng(3)
    found = Ranks(rng.integers(0, 20, 50), rng.integers(0, 20, 100), owners([2] * 50))
    assert bootstrap([found], seed=7) == bootstrap([found], seed=7)
    assert bootstrap([found], seed=7) != bootstrap([found], seed=8)


def test_metrics_are_plain_values_for_json() -> None:
    images = np.eye(2, dtype=np.float32)
    found = ranks(images, images, np.arange(2))
    plain = metrics(found).as_dict()
    assert plain["i2t"] == {"r1": 100.0, "r5": 100.0, "r10": 100.0, "medr": 1.0, "meanr": 1.0}
    assert plain["rsum"] == 600.0
    assert bootstrap([found]).as_dict()["rsum"] == (600.0, 600.0)
