"""Write scenes as a caption data folder."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from mmsearch.errors import ConfigError
from mmsearch.retrieval.scenes.drawing import draw_scene
from mmsearch.retrieval.scenes.words import caption_scene
from mmsearch.retrieval.scenes.world import (
    Scene,
    Split,
    name_scene,
    sample_scenes,
    split_combinations,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How many scenes of each split, how large, and what draws them.

    `size` is the side in pixels, `captions` their number a scene, `alone` the share of scenes
    with one object. The same options write the same files.
    """

    train: int = 3000
    dev: int = 200
    test: int = 400
    size: int = 64
    captions: int = 5
    alone: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.dev, self.test) < 0 or not self.train + self.dev + self.test:
            raise ConfigError("numbers of scenes must not be negative, nor all be zero")
        if not 16 <= self.size <= 1024:
            raise ConfigError(f"size of {self.size} pixels is out of range; use 16 to 1024")
        if not 1 <= self.captions <= 20:
            raise ConfigError(f"{self.captions} captions a scene are out of range; use 1 to 20")
        if not 0 <= self.alone <= 1:
            raise ConfigError(f"share {self.alone} is out of range; use 0 to 1")

    def count(self, split: Split) -> int:
        """Return how many scenes a split has."""
        return {Split.TRAIN: self.train, Split.DEV: self.dev, Split.TEST: self.test}[split]


def write_scenes(folder: Path, options: SceneOptions) -> dict[Split, int]:
    """Write `images/SPLIT/*.jpg` and `captions_SPLIT.csv` (`image,caption`); return the counts.

    A split without scenes gets no file. Pictures of an earlier call stay unless they are
    written anew. ConfigError when dev or test ask for more scenes than differ.
    """
    dealing, *streams = np.random.default_rng(options.seed).spawn(1 + len(Split))
    combinations = split_combinations(dealing)
    counts: dict[Split, int] = {}
    for split, rng in zip(Split, streams, strict=True):
        count = options.count(split)
        if not count:
            continue
        repeat = split is Split.TRAIN
        scenes = sample_scenes(combinations[split], count, rng, alone=options.alone, repeat=repeat)
        _write_split(folder, split, scenes, options, rng)
        counts[split] = count
    return counts


def _write_split(
    folder: Path, split: Split, scenes: list[Scene], options: SceneOptions, rng: Generator
) -> None:
    (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    with (folder / f"captions_{split}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["image", "caption"])
        for number, scene in enumerate(scenes):
            image = f"images/{split}/{number:04}_{name_scene(scene)}.jpg"
            draw_scene(scene, options.size, rng).save(folder / image, quality=92, subsampling=0)
            rows.writerows([image, text] for text in caption_scene(scene, options.captions, rng))
