"""What an 8-bit network is measured on, and by: samples, captions, the plain networks beside it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Modality, Pixels, Vectors
from mmsearch.retrieval.convert.quantise_check import (
    Figures,
    Pairs,
    kept_neighbours,
    mean_centred,
    mean_cosine,
)
from mmsearch.retrieval.feeding import network_input
from mmsearch.retrieval.folder import (
    IMAGE_FILE,
    IMAGE_INT8_FILE,
    TEXT_FILE,
    TEXT_INT8_FILE,
    ModelFolder,
)
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.scenes.drawing import draw_scene
from mmsearch.retrieval.scenes.words import caption_scene
from mmsearch.retrieval.scenes.world import Split, sample_scenes, split_combinations
from mmsearch.retrieval.tokens import Tokens
from mmsearch.retrieval.tower import Setting, Tower

Captioned = Sequence[tuple[Pixels, Sequence[str]]]
Say = Callable[[str], None]

MOST_SAMPLES: Final = 192
"""So many pictures or sentences are used: half to calibrate, half to check."""
FILES: Final = {
    Modality.IMAGE: (IMAGE_FILE, IMAGE_INT8_FILE),
    Modality.TEXT: (TEXT_FILE, TEXT_INT8_FILE),
}
"""Of each tower, the plain network and the 8-bit one."""
_DRAWN: Final = 96
_BATCH: Final = 32
_CALIBRATION_BATCH: Final = 8
_FEWEST_APART: Final = 2 * _CALIBRATION_BATCH
"""Fewer samples are not halved: all calibrate, and all check."""
_TIMED: Final = (8, 5)


@dataclass(frozen=True, slots=True)
class Samples:
    """Pictures of any size and sentences, some dozens of each; the pictures may be `drawn`."""

    pictures: Sequence[Pixels]
    sentences: Sequence[str]
    drawn: bool


class Bench:
    """The samples, and what the full-precision networks make of them."""

    def __init__(
        self, folder: ModelFolder, samples: Samples, labelled: Captioned | None, say: Say | None
    ) -> None:
        self.folder = folder
        self._samples = samples
        self._labelled = [pair for pair in labelled or () if pair[1]]
        self._say = say
        self._tokens = Tokens(folder)
        self._plain: dict[Modality, Tower] = {}
        self._expected: dict[Modality, Vectors] = {}
        self.pairs = self._pairs()

    def say(self, line: str) -> None:
        """Report one step."""
        if self._say is not None:
            self._say(line)

    def towers(self) -> list[Modality]:
        """Return the towers that the model has."""
        return [Modality.TEXT] if self.folder.preprocessing is None else list(Modality)

    def calibration(self, tower: Modality) -> list[Mapping[str, NDArray[Any]]]:
        """Return inputs made of the first half of the samples."""
        network = self._plain_network(tower)
        items = self._items(tower, checked=False)
        size = network.batch or _CALIBRATION_BATCH
        whole = len(items) // size * size or len(items)
        parts = [items[start : start + size] for start in range(0, whole, size)]
        return [network.fitting(self._feed(tower, network, part)) for part in parts]

    def typical(self, tower: Modality) -> bool:
        """Return whether the samples are as what the tower will see; sentences differ more.

        Of so few pictures that those to calibrate with are those to check with none are.
        """
        if tower is Modality.TEXT or self._samples.drawn:
            return False
        return len(self._samples.pictures) >= _FEWEST_APART

    def figures(self, tower: Modality, file: Path) -> Figures:
        """Measure an 8-bit network. Raises ModelError when it does not run."""
        plain = self._plain_network(tower)
        int8 = self._network(tower, file)
        items = self._items(tower, checked=True)
        if tower not in self._expected:
            self._expected[tower] = self._embed(tower, plain, items, _BATCH)
        expected = self._expected[tower]
        found = self._embed(tower, int8, items, _BATCH)
        alone = self._embed(tower, int8, items[:_BATCH], 1)
        lost = None
        if self.pairs is not None:
            vectors = self.captioned_vectors(tower, file)
            images = vectors if tower is Modality.IMAGE else None
            lost = self.pairs.lost(images=images, texts=vectors if images is None else None)
        return Figures(
            cosine=mean_cosine(expected, found),
            centred=mean_centred(expected, found),
            alone=float((alone * found[: len(alone)]).sum(axis=1).min()),
            neighbours=kept_neighbours(expected, found),
            speed=self._relative_speed(tower, plain, int8),
            samples=len(items),
            lost=None if lost is None else lost.mean,
            surely=None if lost is None else lost.surely,
        )

    def captioned_vectors(self, tower: Modality, file: Path) -> Vectors:
        """Return what a network makes of the captioned items; no rows when there are none."""
        if self.pairs is None:
            return np.empty((0, self.folder.space.dim), dtype=np.float32)
        return self._embed(tower, self._network(tower, file), self._captioned(tower), _BATCH)

    def _pairs(self) -> Pairs | None:
        if not self._labelled or self.folder.preprocessing is None:
            return None
        images, texts = (
            self._embed(
                tower,
                self._plain_network(tower),
                self._captioned(tower),
                _BATCH,
            )
            for tower in (Modality.IMAGE, Modality.TEXT)
        )
        owner = np.repeat(np.arange(len(self._labelled)), [len(c) for _, c in self._labelled])
        return Pairs(images, texts, owner)

    def _captioned(self, tower: Modality) -> Sequence[Pixels] | Sequence[str]:
        if tower is Modality.IMAGE:
            return [picture for picture, _ in self._labelled]
        return [caption for _, captions in self._labelled for caption in captions]

    def _items(self, tower: Modality, *, checked: bool) -> Sequence[Pixels] | Sequence[str]:
        """Return the samples to check with, or those to calibrate with."""
        samples = self._samples
        items = samples.pictures if tower is Modality.IMAGE else samples.sentences
        return items if len(items) < _FEWEST_APART else items[int(checked) :: 2]

    def _plain_network(self, tower: Modality) -> Tower:
        if tower not in self._plain:
            self._plain[tower] = self._network(tower, self.folder.path / FILES[tower][0])
        return self._plain[tower]

    def _network(self, tower: Modality, file: Path) -> Tower:
        folder = self.folder
        output = folder.image_output if tower is Modality.IMAGE else folder.text_output
        return Tower(file, folder.space.dim, Setting(available_processors()), output)

    def _embed(
        self,
        tower: Modality,
        network: Tower,
        items: Sequence[Pixels] | Sequence[str],
        batch: int,
    ) -> Vectors:
        size = min(batch, network.batch or batch)
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        return np.concatenate([network.run(self._feed(tower, network, part)) for part in parts])

    def _feed(
        self, tower: Modality, network: Tower, items: Sequence[Any]
    ) -> Mapping[str, NDArray[Any]]:
        if tower is Modality.IMAGE and self.folder.preprocessing is not None:
            pixels = network_input(items, self.folder.preprocessing)
            return {network.inputs[0].name: pixels}
        return self._tokens.feed(network, self._tokens.encode(items))

    def _relative_speed(self, tower: Modality, plain: Tower, int8: Tower) -> float:
        """Return how many times as fast the second is, taking turns."""
        batch, turns = _TIMED
        items = self._items(tower, checked=True)[: plain.batch or batch]
        feed = self._feed(tower, plain, items)
        least = [float("inf"), float("inf")]
        for _ in range(turns):
            for place, network in enumerate((plain, int8)):
                began = time.perf_counter()
                network.run(feed)
                least[place] = min(least[place], time.perf_counter() - began)
        return least[0] / max(least[1], 1e-9)


def choose_samples(
    folder: ModelFolder, pictures: Sequence[Pixels], sentences: Sequence[str]
) -> Samples:
    """Return at most `MOST_SAMPLES` of each, spread over what is given; else drawn ones."""
    drawn = [*_drawn(folder)] if not pictures or not sentences else []
    return Samples(
        _spread(pictures or [picture for picture, _ in drawn]),
        _spread(sentences or [caption for _, captions in drawn for caption in captions]),
        drawn=not pictures,
    )


def _spread(items: Sequence[Any]) -> Sequence[Any]:
    step = max(1, -(-len(items) // MOST_SAMPLES))
    return list(items[::step])


def _drawn(folder: ModelFolder) -> Iterator[tuple[Pixels, tuple[str, ...]]]:
    """Yield drawn scenes with two captions each, always the same."""
    side = 64 if folder.preprocessing is None else min(folder.preprocessing.size)
    rng = np.random.default_rng(0)
    combinations = split_combinations(rng)[Split.TRAIN]
    for scene in sample_scenes(combinations, _DRAWN, rng, repeat=True, alone=0.1):
        picture = np.asarray(draw_scene(scene, max(64, side), rng).convert("RGB"))
        yield picture, caption_scene(scene, 2, rng)
