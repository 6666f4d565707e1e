"""From caption data to tensors: splits, vocabulary, features or pixels, each image once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import (
    CaptionData,
    CaptionedImage,
    DataFormat,
    load_captions,
    overlaps,
    with_dev,
)
from mmsearch.retrieval.vse.backbone import Backbone
from mmsearch.retrieval.vse.batches import (
    FeatureSource,
    ImageSource,
    PixelSource,
    Split,
    owners,
)
from mmsearch.retrieval.vse.config import TrainConfig
from mmsearch.retrieval.vse.features import (
    Features,
    PictureRows,
    extract_features,
    load_pixels,
)
from mmsearch.retrieval.vse.views import View
from mmsearch.retrieval.vse.vocabulary import encode_captions

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, how many there are."""


@dataclass(frozen=True, slots=True)
class Captions:
    """The training and development parts of a data set, with what was left out and why."""

    train: tuple[CaptionedImage, ...]
    dev: tuple[CaptionedImage, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Both splits as the towers read them, and the images that could not be read."""

    train: Split
    dev: Split
    train_features: torch.Tensor | None
    train_images: tuple[CaptionedImage, ...]
    dev_images: tuple[CaptionedImage, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def read_splits(
    data: Path, config: TrainConfig, *, layout: DataFormat | None, images: Path | None
) -> Captions:
    """Read the captions and split off a development part where the data has none.

    Raises DataError when nothing is usable or there is nothing to train on.
    """
    found = load_captions(data, format=layout, images=images)
    warnings = found.warnings
    divided = "dev" in found.splits
    if not divided:
        found = with_dev(found, config.val_fraction, config.seed)
    train, dev = _split(found, "train", data), _split(found, "dev", data)
    if not divided:
        warnings = (*warnings, *overlaps({"train": train, "dev": dev}))
    if sum(len(image.captions) for image in train) < 2 or len(train) < 2:
        raise DataError(f"{data} has fewer than two images to train on; add captioned images")
    return Captions(train, dev, tuple(str(problem) for problem in found.problems), warnings)


def _split(found: CaptionData, name: str, data: Path) -> tuple[CaptionedImage, ...]:
    images = found.splits.get(name, ())
    if not images:
        raise DataError(
            f"{data} has no {name} split (it has: {', '.join(found.splits)}); "
            "name one so, or give data without splits"
        )
    return images


@dataclass(frozen=True, slots=True)
class InputLoader:
    """Reads what the towers read: features of a frozen backbone, pixels of a trained one.

    `cache` keeps both between runs. `warnings` collects what the cache had to say.
    """

    backbone: Backbone
    config: TrainConfig
    cache: Path
    on_progress: OnProgress
    warnings: list[str] = field(default_factory=list)

    def load(self, captions: Captions, tokenizer: Tokenizer) -> Inputs:
        """Encode captions and read images.

        A picture that cannot be read leaves its split with its captions, and is a problem of
        the result. Raises DataError when a split has nothing left.
        """
        digests: dict[str, dict[str, Path]] = {"train": {}, "dev": {}}
        train, train_images, bad_train = self._split(
            captions.train, tokenizer, "train", digests["train"]
        )
        dev, dev_images, bad_dev = self._split(captions.dev, tokenizer, "dev", digests["dev"])
        features = None
        if isinstance(train.images, FeatureSource):
            features = train.images.features
        elif self.config.finetune and self.config.image_encoder != "cnn":
            paths = [image.path for image in train_images]
            features = torch.from_numpy(self._features(paths, "train").array)
        return Inputs(
            train=train,
            dev=dev,
            train_features=features,
            train_images=train_images,
            dev_images=dev_images,
            problems=(*bad_train, *bad_dev),
            warnings=(*self.warnings, *_copies(digests)),
        )

    def _split(
        self,
        images: Sequence[CaptionedImage],
        tokenizer: Tokenizer,
        split: str,
        digests: dict[str, Path],
    ) -> tuple[Split, tuple[CaptionedImage, ...], list[str]]:
        paths = [image.path for image in images]
        source, rows = self._source(paths, split)
        failed = rows.failed
        kept = tuple(image for image in images if image.path not in failed)
        digests.update(zip(rows.digests, (image.path for image in kept), strict=True))
        if not kept:
            reason = next(iter(failed.values()), "no images")
            raise DataError(f"no image of the {split} split can be read (first: {reason})")
        problems = [f"{path}: {reason}" for path, reason in failed.items()]
        texts = [caption for image in kept for caption in image.captions]
        tokens, lengths = encode_captions(tokenizer, texts)
        owner = owners([image.captions for image in kept])
        return Split(source, tokens, lengths, owner), kept, problems

    def _source(self, paths: list[Path], split: str) -> tuple[ImageSource, PictureRows]:
        if not self.config.end_to_end:
            found = self._features(paths, split)
            views = self._views(paths) if split == "train" else None
            return FeatureSource(torch.from_numpy(found.array), views), found
        pixels = load_pixels(
            paths,
            self.backbone.preprocessing,
            self.cache,
            on_progress=self._progress(split, "pixels"),
        )
        self.warnings.extend(pixels.warnings)
        source = PixelSource(
            pixels.array, self.backbone.preprocessing, self.config.augment, self.config.flip
        )
        return source, pixels

    def _views(self, paths: list[Path]) -> torch.Tensor | None:
        """Return features (v, n, d) of random cuts, or None when none are asked for."""
        numbers = range(1, self.config.feature_views + 1)
        views = [View(number, self.config.flip) for number in numbers]
        found = [self._features(paths, f"train view {view.number}", view).array for view in views]
        return torch.from_numpy(np.stack(found)) if found else None

    def _features(self, paths: list[Path], split: str, view: View | None = None) -> Features:
        found = extract_features(
            self.backbone,
            paths,
            self.cache,
            view=view,
            on_progress=self._progress(split, "features"),
        )
        self.warnings.extend(found.warnings)
        return found

    def _progress(self, split: str, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.on_progress(f"{split} {what}", done, total)


def _copies(digests: Mapping[str, Mapping[str, Path]]) -> list[str]:
    """Warn of pictures of equal content that stand in both splits under two names."""
    train, dev = digests["train"], digests["dev"]
    copies = [digest for digest in train if digest in dev and train[digest] != dev[digest]]
    if not copies:
        return []
    one, other = train[copies[0]], dev[copies[0]]
    found = f"{len(copies)} image(s) stand in both train and dev under different names"
    return [f"{found}, such as {one} and {other}: figures on dev will be too good"]
