"""Batches of image-caption pairs: their order, and where the pictures come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmsearch.core import Ids, Preprocessing


def epoch_batches(
    owner: Ids, batch_size: int, captions_per_image: int, generator: np.random.Generator
) -> list[Ids]:
    """Shuffle all captions into batches of row numbers; each caption stands in exactly one.

    Captions of one image travel in groups of `captions_per_image`, so that its encoding serves
    several. A last batch of one image has no negative: it joins the batch before it.
    """
    shuffled = generator.permutation(len(owner))
    if captions_per_image > 1:
        shuffled = _grouped(shuffled, owner, captions_per_image, generator)
    batches = [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]
    if len(batches) > 1 and len(np.unique(owner[batches[-1]])) == 1:
        last = batches.pop()
        batches[-1] = np.concatenate([batches[-1], last])
    return batches


def _grouped(shuffled: Ids, owner: Ids, size: int, generator: np.random.Generator) -> Ids:
    by_image = shuffled[np.argsort(owner[shuffled], kind="stable")]
    owners = owner[by_image]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    place = np.arange(len(owners)) - np.repeat(starts, np.diff(np.r_[starts, len(owners)]))
    group = np.cumsum(np.r_[True, (place % size == 0)[1:]]) - 1
    lottery = generator.permutation(int(group[-1]) + 1)
    return by_image[np.argsort(lottery[group], kind="stable")]


class ImageSource(Protocol):
    """What the image tower reads: cached features, or pixels."""

    def __len__(self) -> int: ...

    def batch(self, rows: Ids, *, training: bool) -> Tensor:
        """Return the inputs of those images, float32, first axis in the order of `rows`."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Backbone features (n, d) float32, computed beforehand.

    `views` (v, n, d) are features of random cuts of the same pictures: training draws one of
    the 1 + v at random, from torch's global generator; validation takes the whole picture.
    """

    features: Tensor
    views: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, rows: Ids, *, training: bool) -> Tensor:
        """Return (len(rows), d)."""
        index = torch.from_numpy(rows)
        whole = self.features[index]
        if self.views is None or not training:
            return whole
        chosen = torch.randint(0, len(self.views) + 1, (len(rows),))
        cuts = self.views[(chosen - 1).clamp(min=0), index]
        return torch.where((chosen == 0).unsqueeze(1), whole, cuts)


@dataclass(frozen=True, slots=True)
class PixelSource:
    """Pictures (n, h, w, 3) uint8 at the input size, normalised when asked for.

    `augment` cuts 80 to 100 % of each side at a random place and scales it back; `flip` mirrors
    every second picture (leave it off when captions say left and right).
    """

    pixels: NDArray[np.uint8]
    preprocessing: Preprocessing
    augment: bool = False
    flip: bool = False

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, rows: Ids, *, training: bool) -> Tensor:
        """Return (len(rows), 3, h, w), channels last in memory."""
        images = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float().div_(255)
        mean = torch.tensor(self.preprocessing.mean).view(3, 1, 1)
        std = torch.tensor(self.preprocessing.std).view(3, 1, 1)
        images = (images - mean) / std
        if training and (self.augment or self.flip):
            images = self._distort(images)
        return images.contiguous(memory_format=torch.channels_last)

    def _distort(self, images: Tensor) -> Tensor:
        """Sample one affine map a picture; drawn from torch's global generator."""
        count = len(images)
        scale = 0.8 + 0.2 * torch.rand(count, 2) if self.augment else torch.ones(count, 2)
        shift = (2 * torch.rand(count, 2) - 1) * (1 - scale)
        mirror = torch.ones(count)
        if self.flip:
            mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = scale[:, 0] * mirror, shift[:, 0]
        theta[:, 1, 1], theta[:, 1, 2] = scale[:, 1], shift[:, 1]
        grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
        return torch.nn.functional.grid_sample(
            images, grid, padding_mode="reflection", align_corners=False
        )


@dataclass(frozen=True, slots=True)
class Split:
    """One split, ready for the towers.

    `tokens` (n, t) and `lengths` (n,) int64 of its captions; `owner` (n,) int64 the image row of
    each.
    """

    images: ImageSource
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    owner: Ids

    def texts(self, rows: Ids) -> tuple[Tensor, Tensor]:
        """Return tokens trimmed to the longest of `rows`, and lengths."""
        lengths = self.lengths[rows]
        tokens = self.tokens[rows, : int(lengths.max())]
        return torch.from_numpy(tokens), torch.from_numpy(lengths)


def owners(captions: Sequence[Sequence[str]]) -> Ids:
    """Return the image row of each caption, (n,) int64."""
    return np.repeat(np.arange(len(captions)), [len(of_one) for of_one in captions]).astype(
        np.int64
    )
