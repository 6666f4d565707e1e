"""Whatever happened to a library before, every vector is as its setting says."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import opened
from tests.retrieval.drawing import draw
from tests.retrieval.fakes import WORDS, FakeEncoder

from mmsearch.core import Modality, Vectors
from mmsearch.index import attributes, fusing
from mmsearch.index.catalog import Catalog
from mmsearch.index.vectors import pack
from mmsearch.retrieval import fusing as passes
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.report import IngestOptions

STEPS = 14
COUNT = 6


class Fragile(FakeEncoder):
    """Is interrupted after so many more calls for sentences; None: never."""

    left: int | None = None

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().encode_texts(texts)


class History:
    """A library, its pictures and captions, and what can happen to them."""

    def __init__(self, library: Library, folder: Path, rng: random.Random) -> None:
        self.library = library
        self.folder = folder
        self.rng = rng
        self.file = folder.parent / "captions.csv"
        self.weight: float | None = None
        self._made = 0
        for _ in range(COUNT):
            self.draw_another()

    def step(self) -> None:
        """Let something happen, then run."""
        things: list[Callable[[], None]] = [
            self.draw_another,
            self.draw_over,
            self.move,
            self.copy,
            self.delete,
            self.weigh,
            *[self.caption] * 5,
        ]
        self.rng.choice(things)()
        self.library.refresh(IngestOptions(fuse=self.weight))
        self.weight = None

    def draw_another(self) -> None:
        self._made += 1
        self._draw(self.folder / f"{self._made}.png")

    def draw_over(self) -> None:
        self._draw(self._one(), size=(5 + self.rng.randrange(40), 7))

    def move(self) -> None:
        self._made += 1
        self._one().rename(self.folder / f"{self._made}.png")

    def copy(self) -> None:
        self._made += 1
        (self.folder / f"{self._made}.png").write_bytes(self._one().read_bytes())

    def delete(self) -> None:
        if len(list(self.folder.iterdir())) > 2:
            self._one().unlink()

    def weigh(self) -> None:
        self.weight = self.rng.choice((0.0, 0.3, 0.3, 0.6))

    def caption(self) -> None:
        """Say something about some pictures, or that nothing is said."""
        rows = ["image,caption"]
        for picture in sorted(self.folder.iterdir()):
            if self.rng.random() < 0.5:
                texts = [
                    " ".join(self.rng.choices(WORDS, k=2))
                    for _ in range(self.rng.choice((0, 1, 2)))
                ]
                rows += [f"{self.folder.name}/{picture.name},{text}" for text in texts or [""]]
        self.file.write_text("\n".join([*rows, ""]))
        self.library.attach_captions(self.file)

    def _one(self) -> Path:
        return self.rng.choice(sorted(self.folder.iterdir()))

    def _draw(self, path: Path, size: tuple[int, int] = (6, 6)) -> None:
        draw(path, (self.rng.randrange(256), self.rng.randrange(256), self._made % 256), size)


@pytest.mark.parametrize("seed", range(8))
def test_every_history_ends_as_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(passes, "_STEP", 2)
    rng = random.Random(seed)
    encoder = Fragile()
    (tmp_path / "photos").mkdir()
    with opened(tmp_path / "library", encoder) as library:
        history = History(library, tmp_path / "photos", rng)
        library.add(tmp_path / "photos", IngestOptions(fuse=0.3))
        for _ in range(STEPS):
            encoder.left = rng.choice((None, 0, 1, 2))
            history.step()
            if rng.random() < 0.3:
                encoder.left = None
                library.refresh()
                check(library, encoder)
        encoder.left = None
        library.refresh()
        check(library, encoder)


def check(library: Library, encoder: FakeEncoder) -> None:
    """Compare every picture with what its own vector and its captions give."""
    with Catalog.open(library.directory) as catalog:
        weight = fusing.wanted_weight(catalog)
        ids, vectors = catalog.all_vectors(encoder.space, Modality.IMAGE)
        captions = attributes.captions(catalog, ids)
        rows = fusing.fused_rows(catalog, encoder.space, ids)
        assert set(rows) == (set(captions) if weight else set())
        own = catalog.own_vectors(encoder.space, ids)
        for number, item in catalog.items(ids).items():
            place = ids.tolist().index(number)
            assert item.path is not None
            (fresh,) = encoder.encode_images([library.image_term(item.path).pixels])
            assert pack(number, fresh, len(fresh)) == pack(number, own[place], len(fresh))
            expected = own[place].astype(np.float64)
            if number in rows:
                text = FakeEncoder().encode_texts(captions[number]).astype(np.float64).mean(axis=0)
                expected = (1 - weight) * expected + weight * text / np.linalg.norm(text)
                expected /= np.linalg.norm(expected)
            assert vectors[place] == pytest.approx(expected, abs=1e-3)
