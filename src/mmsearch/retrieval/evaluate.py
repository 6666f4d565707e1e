"""Measure a model on captioned images: decode, encode, rank, summarise."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TypeAlias, TypeVar

import numpy as np

from mmsearch.core import Encoder, Ids, Pixels, Preprocessing, Vectors
from mmsearch.errors import ConfigError, DataError, DecodeError
from mmsearch.retrieval.captions import CaptionData, CaptionedImage, Problem
from mmsearch.retrieval.captions.data import WHOLE, split_name
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.metrics import (
    Bootstrap,
    Metrics,
    bootstrap,
    chance,
    fold_ranks,
    mean_metrics,
    metrics,
)
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.reading import in_order

T = TypeVar("T")

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is counted ("images", "captions"), how many are done, how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How to measure. `folds` are consecutive runs of images ("COCO 1K": 5 of 5,000).

    `samples` and `seed` belong to the bootstrap; `batch_size` items go through the model at a
    time; `threads` decode (None: one a CPU).
    """

    folds: int = 1
    samples: int = 1000
    seed: int = 0
    batch_size: int = 32
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("folds", "samples", "batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name.replace('_', ' ')} must be at least 1, not {value}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model scores: figures, their 95 % intervals, what chance would score.

    With several folds the figures are means over folds. `problems` are the images that could
    not be read; they and their captions are left out.
    """

    metrics: Metrics
    intervals: Bootstrap
    chance: Metrics
    folds: int
    problems: tuple[Problem, ...]

    def as_dict(self) -> dict[str, object]:
        """Return plain values: {i2t, t2i, rsum, images, captions, folds, intervals, chance, …}."""
        guess = self.chance.as_dict()
        return {
            **self.metrics.as_dict(),
            "folds": self.folds,
            "intervals": self.intervals.as_dict(),
            "chance": {name: guess[name] for name in ("i2t", "t2i", "rsum")},
            "problems": [asdict(problem) for problem in self.problems],
        }


def evaluate(
    encoder: Encoder,
    images: Sequence[CaptionedImage],
    settings: EvaluationSettings | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Encode every image and caption once and measure retrieval both ways.

    Raises ConfigError when there are fewer images than folds, DataError when no image can be
    read, ModelError when the model gives NaN.
    """
    settings = settings or EvaluationSettings()
    report = on_progress or _no_progress
    if len(images) < settings.folds:
        raise ConfigError(f"cannot split {len(images)} images into {settings.folds} folds")
    rows, readable, problems = _encode_images(encoder, images, settings, report)
    if not readable:
        raise DataError(f"none of {len(images)} images can be read; the first: {problems[0]}")
    captions = [caption for image in readable for caption in image.captions]
    texts = _encode_texts(encoder, captions, settings, report)
    owner = _owners(readable)
    found = fold_ranks(rows, texts, owner, settings.folds)
    return Evaluation(
        mean_metrics([metrics(one) for one in found]),
        bootstrap(found, samples=settings.samples, seed=settings.seed),
        mean_metrics([chance(one) for one in found]),
        settings.folds,
        tuple(problems),
    )


def choose_split(data: CaptionData, wanted: str | None) -> tuple[str, tuple[CaptionedImage, ...]]:
    """Return a split's name and images: the wanted one, else test, else dev, else the only one.

    "all" means every image of every split. Raises DataError when there is no such split.
    """
    names = list(data.splits)
    if wanted is None:
        candidates = [name for name in ("test", "dev", WHOLE) if name in data.splits]
        name = (candidates or names)[0] if candidates or len(names) == 1 else None
    else:
        name = split_name(wanted)
    if name == WHOLE:
        return name, _whole(data)
    if name is None or name not in data.splits:
        missing = f"no split {wanted!r}" if wanted else "neither a test nor a dev split"
        raise DataError(f"the data has {missing}; choose one of {', '.join(names)} or all")
    return name, data.splits[name]


def _whole(data: CaptionData) -> tuple[CaptionedImage, ...]:
    every: dict[object, CaptionedImage] = {}
    for images in data.splits.values():
        for image in images:
            every.setdefault(image.path, image)
    return tuple(every.values())


def _encode_images(
    encoder: Encoder,
    images: Sequence[CaptionedImage],
    settings: EvaluationSettings,
    report: OnProgress,
) -> tuple[Vectors, list[CaptionedImage], list[Problem]]:
    parts: list[Vectors] = []
    readable: list[CaptionedImage] = []
    problems: list[Problem] = []
    done = 0
    decoded = _decoded(images, encoder.preprocessing, settings)
    for batch in _batches(decoded, settings.batch_size):
        problems += [Problem(str(image.path), got) for image, got in batch if isinstance(got, str)]
        usable = [(image, got) for image, got in batch if not isinstance(got, str)]
        if usable:
            parts.append(encoder.encode_images([pixels for _, pixels in usable]))
            readable += [image for image, _ in usable]
        done += len(batch)
        report("images", done, len(images))
    return _stack(parts), readable, problems


def _decoded(
    images: Sequence[CaptionedImage], preprocessing: Preprocessing, settings: EvaluationSettings
) -> Iterator[tuple[CaptionedImage, Pixels | str]]:
    """Yield pixels at the encoder's size, or the reason why not; two batches ahead at most."""

    def read(image: CaptionedImage) -> tuple[CaptionedImage, Pixels | str]:
        try:
            return image, decode(image.path, preprocessing)
        except DecodeError as error:
            return image, error.reason

    return in_order(
        settings.threads or available_processors(), 2 * settings.batch_size, read, images
    )


def _encode_texts(
    encoder: Encoder, captions: Sequence[str], settings: EvaluationSettings, report: OnProgress
) -> Vectors:
    parts: list[Vectors] = []
    done = 0
    for batch in _batches(captions, settings.batch_size):
        parts.append(encoder.encode_texts(batch))
        done += len(batch)
        report("captions", done, len(captions))
    return _stack(parts)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _stack(parts: Sequence[Vectors]) -> Vectors:
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def _owners(images: Sequence[CaptionedImage]) -> Ids:
    return np.repeat(np.arange(len(images)), [len(image.captions) for image in images])


def _no_progress(_what: str, _done: int, _total: int) -> None: ...
