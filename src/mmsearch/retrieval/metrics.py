"""Cross-modal retrieval metrics as the VSE papers report them. NumPy only.

R@K in percent, MedR and MeanR as 1-based ranks, rsum the six R@K added (0 to 600);
i2t ranks captions for an image, t2i images for a caption. Ties count against the model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Vectors
from mmsearch.errors import ConfigError, ModelError

CUTOFFS = (1, 5, 10)
_CELLS = 2_000_000  # similarities held at a time: 16 MB in float64

Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the right answers stand, 0-based: the number of wrong ones at or above them.

    `i2t` (n_images,) int64: the best-ranked own caption of each image among all captions.
    `t2i` (n_texts,) int64: the own image of each caption among all images.
    `owner` (n_texts,) int64: the image of each caption.
    """

    i2t: Ids
    t2i: Ids
    owner: Ids


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction: R@1, R@5, R@10 in percent; median and mean rank, 1 is best."""

    r1: float
    r5: float
    r10: float
    medr: float
    meanr: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Both directions; `rsum` adds the six R@K, 0 to 600."""

    i2t: Direction
    t2i: Direction
    rsum: float
    images: int
    captions: int

    def as_dict(self) -> dict[str, object]:
        """Return plain nested values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Bootstrap intervals (low, high) of the R@K of one direction, percent."""

    r1: Interval
    r5: Interval
    r10: Interval


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """95 % intervals of every R@K and of rsum."""

    i2t: Intervals
    t2i: Intervals
    rsum: Interval

    def as_dict(self) -> dict[str, object]:
        """Return plain nested values, ready for JSON."""
        return asdict(self)


def ranks(images: Vectors, texts: Vectors, owner: Ids) -> Ranks:
    """Rank every caption for its image and every image for its captions.

    `images` (n_images, dim), `texts` (n_texts, dim), `owner` (n_texts,) the row of each
    caption's image; every image has a caption. A wrong answer with the same score ranks before
    the right one, so that a collapsed space earns nothing; captions of one image do not count
    against each other. Scores are float32, rounded from float64 products: equal vectors get
    equal scores wherever they stand in the matrix. Memory is bounded: the matrix is never whole.

    Raises ConfigError when the shapes do not fit, ModelError on NaN or infinite vectors.
    """
    _check(images, texts, owner)
    wide = images.astype(np.float64)
    own = np.empty(len(texts), np.float32)
    chunks = _chunks(len(texts), max(1, _CELLS // max(len(images), images.shape[1])))
    for part in chunks:
        own[part] = np.einsum("td,td->t", wide[owner[part]], texts[part].astype(np.float64))
    best = np.full(len(images), -np.inf, np.float32)
    np.maximum.at(best, owner, own)

    i2t = np.zeros(len(images), np.int64)
    t2i = np.empty(len(texts), np.int64)
    for part in chunks:
        scores = (wide @ texts[part].astype(np.float64).T).astype(np.float32)
        scores[owner[part], np.arange(scores.shape[1])] = -np.inf
        i2t += np.count_nonzero(scores >= best[:, None], axis=1)
        t2i[part] = np.count_nonzero(scores >= own[part], axis=0)
    return Ranks(i2t, t2i, owner.astype(np.int64))


def _check(images: Vectors, texts: Vectors, owner: Ids) -> None:
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1]:
        raise ConfigError(
            f"image vectors {images.shape} and text vectors {texts.shape} must be two matrices "
            "of the same width"
        )
    if not len(images) or owner.shape != (len(texts),):
        raise ConfigError(
            f"{len(images)} images, {len(texts)} captions and owners of shape {owner.shape}: "
            "give at least one image and the image row of each caption"
        )
    if len(owner) and (owner.min() < 0 or owner.max() >= len(images)):
        raise ConfigError(f"caption owners must be image rows from 0 to {len(images) - 1}")
    bare = np.flatnonzero(np.bincount(owner, minlength=len(images)) == 0)
    if len(bare):
        raise ConfigError(f"image row {bare[0]} has no caption; leave such images out")
    for what, vectors in (("image", images), ("text", texts)):
        broken = int(np.count_nonzero(~np.isfinite(vectors).all(axis=1)))
        if broken:
            raise ModelError(
                f"{broken} of {len(vectors)} {what} vectors hold NaN or infinite values; "
                "the model is broken: train or export it again"
            )


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def metrics(found: Ranks) -> Metrics:
    """Summarise ranks: MedR = floor(median 0-based rank) + 1, as the VSE++ paper's code."""
    i2t, t2i = _direction(found.i2t), _direction(found.t2i)
    return Metrics(i2t, t2i, _rsum(i2t, t2i), images=len(found.i2t), captions=len(found.t2i))


def _direction(found: Ids) -> Direction:
    r1, r5, r10 = (100.0 * float(np.mean(found < k)) for k in CUTOFFS)
    medr = float(np.floor(np.median(found)) + 1)
    return Direction(r1, r5, r10, medr, meanr=float(found.mean()) + 1)


def _rsum(i2t: Direction, t2i: Direction) -> float:
    return i2t.r1 + i2t.r5 + i2t.r10 + t2i.r1 + t2i.r5 + t2i.r10


def fold_ranks(images: Vectors, texts: Vectors, owner: Ids, folds: int) -> list[Ranks]:
    """Rank within each of `folds` consecutive runs of images ("COCO 1K" is five of 5,000).

    Arguments and errors as `ranks`; ConfigError also when there are fewer images than folds.
    """
    if not 1 <= folds <= len(images):
        raise ConfigError(f"cannot split {len(images)} images into {folds} folds")
    _check(images, texts, owner)
    parts = np.array_split(np.arange(len(images)), folds)
    found = []
    for rows in parts:
        inside = (owner >= rows[0]) & (owner <= rows[-1])
        found.append(ranks(images[rows], texts[inside], owner[inside] - rows[0]))
    return found


def mean_metrics(folds: Sequence[Metrics]) -> Metrics:
    """Average over folds; `images` and `captions` are the totals."""
    i2t = _mean_direction([fold.i2t for fold in folds])
    t2i = _mean_direction([fold.t2i for fold in folds])
    images, captions = sum(fold.images for fold in folds), sum(fold.captions for fold in folds)
    return Metrics(i2t, t2i, _rsum(i2t, t2i), images, captions)


def _mean_direction(folds: Sequence[Direction]) -> Direction:
    rows = [(fold.r1, fold.r5, fold.r10, fold.medr, fold.meanr) for fold in folds]
    r1, r5, r10, medr, meanr = (float(value) for value in np.mean(rows, axis=0))
    return Direction(r1, r5, r10, medr, meanr)


def chance(found: Ranks) -> Metrics:
    """Return what a random ranking is expected to score on the same captions.

    Closed form. t2i: the own image is anywhere, R@K = K / n. i2t, an image with m of N
    captions: R@K = 1 - C(N - m, K) / C(N, K), mean rank 1 + (N - m) / (m + 1). MedR is the
    median of the distribution of ranks.
    """
    images, captions = len(found.i2t), len(found.t2i)
    owned, times = np.unique(np.bincount(found.owner, minlength=images), return_counts=True)
    i2t_miss = sum(
        share * _miss(captions, int(own)) for own, share in zip(owned, times / images, strict=True)
    )
    i2t_mean = 1 + float(np.average((captions - owned) / (owned + 1), weights=times))
    i2t = _expected(np.asarray(i2t_miss), i2t_mean)
    t2i = _expected(_miss(images, 1), (images + 1) / 2)
    return Metrics(i2t, t2i, _rsum(i2t, t2i), images, captions)


def _miss(total: int, own: int) -> NDArray[np.float64]:
    """P(the first k places hold none of `own` right answers), for k = 1 … total."""
    left = np.arange(total, 0, -1, dtype=np.float64)
    return np.asarray(np.cumprod(np.maximum(left - own, 0.0) / left), np.float64)


def _expected(miss: NDArray[np.float64], mean: float) -> Direction:
    r1, r5, r10 = (100.0 * (1 - float(miss[min(k, len(miss)) - 1])) for k in CUTOFFS)
    return Direction(r1, r5, r10, medr=float(np.argmax(miss <= 0.5 + 1e-12) + 1), meanr=mean)


def bootstrap(found: Sequence[Ranks], *, samples: int = 1000, seed: int = 0) -> Bootstrap:
    """Return 95 % percentile intervals by resampling images, each with its captions.

    `found` is one ranking, or one a fold (pooled). Ranks are kept as they are: the candidates
    do not change, the questions do.
    """
    counts = np.concatenate([_hits(one) for one in found])
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(counts), size=len(counts)) for _ in range(samples))
    sums = np.stack([counts[rows].sum(axis=0) for rows in draws])
    i2t = 100 * sums[:, 0:3] / len(counts)
    t2i = 100 * sums[:, 3:6] / sums[:, 6:7]
    rsum = i2t.sum(axis=1) + t2i.sum(axis=1)
    return Bootstrap(_intervals(i2t), _intervals(t2i), _interval(rsum))


def _hits(found: Ranks) -> NDArray[np.int64]:
    """Count per image, (n_images, 7): i2t hits at each cutoff, t2i hits, captions."""
    images = len(found.i2t)
    columns = [(found.i2t < k).astype(np.int64) for k in CUTOFFS]
    columns += [np.bincount(found.owner[found.t2i < k], minlength=images) for k in CUTOFFS]
    columns.append(np.bincount(found.owner, minlength=images))
    return np.stack(columns, axis=1)


def _intervals(samples: NDArray[np.float64]) -> Intervals:
    r1, r5, r10 = (_interval(column) for column in samples.T)
    return Intervals(r1, r5, r10)


def _interval(samples: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)
