"""What captioned data is: images with their captions, by split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mmsearch.errors import ConfigError, DataError

WHOLE = "all"
"""The one split of data that names none."""

_SYNONYMS = {"val": "dev", "valid": "dev", "validation": "dev", "restval": "train"}
SPLIT_NAMES = ("train", "dev", "test", *_SYNONYMS)


class DataFormat(StrEnum):
    """A layout of captions on disk."""

    CSV = "csv"
    JSONL = "jsonl"
    KARPATHY = "karpathy"
    FLICKR = "flickr"


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One picture and its captions, NFC, in the order of the file; at least one."""

    path: Path
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was left out. `where` is "file:line", or "file:images[n]" in one JSON."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class CaptionData:
    """Captioned images by split: train, dev, test; "all" where the data names no split."""

    format: DataFormat
    splits: Mapping[str, tuple[CaptionedImage, ...]]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A file of captions; `split` is the one its name gives."""

    file: Path
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One caption as written. `images` are names to try, the first is the one to report."""

    images: tuple[str, ...]
    caption: str
    split: str | None
    where: str


Found: TypeAlias = Row | Problem
"""What a layout's reader yields, line by line."""


def split_name(name: str) -> str:
    """Return the split that a name means: val is dev, restval is train, others stay."""
    name = name.strip().lower()
    return _SYNONYMS.get(name, name)


def with_dev(data: CaptionData, val_fraction: float, seed: int) -> CaptionData:
    """Split off a dev part by image, from train or from data without splits.

    Data that has a dev split is returned as it is. The choice depends on the seed and on the
    number of images; both parts keep their order and get at least one image. Raises
    ConfigError when the fraction is not between 0 and 1, DataError when there is nothing to
    split.
    """
    if not 0 < val_fraction < 1:
        raise ConfigError(f"val fraction {val_fraction} must lie between 0 and 1, both excluded")
    if "dev" in data.splits:
        return data
    source = "train" if "train" in data.splits else WHOLE
    images = data.splits.get(source, ())
    if len(images) < 2:
        raise DataError(
            f"cannot split a dev part off {len(images)} image(s); give a dev split or more images"
        )
    held = min(max(1, round(val_fraction * len(images))), len(images) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:held].tolist())
    splits = {name: rows for name, rows in data.splits.items() if name != source}
    splits["train"] = tuple(image for n, image in enumerate(images) if n not in chosen)
    splits["dev"] = tuple(image for n, image in enumerate(images) if n in chosen)
    return replace(data, splits=splits)
