"""Synthetic libraries: clustered unit vectors with a modality gap, and real catalog rows.

    python benchmarks/synthetic.py [--rows 10000]

prints how the vectors compare with those of a CLIP model. The generator is deterministic and
works in blocks, so that a million rows need no memory and an interrupted build goes on.

A picture is `OFFSET * cone + content`; its content mixes a topic, a concept of that topic and
something of its own. A sentence of the picture has the other cone, and a content of its own that
agrees with the picture's only in part. Sizes of topics and concepts are heavy-tailed, and all
directions are drawn from a decaying spectrum, as those of trained models are: vectors of equal
variance in 512 directions would make every index look worse than it is.
"""

import argparse
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Space, Vectors

DIM = 512
BLOCK = 5000
VERSION = 2
"""Changes whenever the generator gives other vectors or rows."""

SPACE = Space("benchmark", DIM, hashlib.sha256(b"mmsearch benchmark space 1").hexdigest())
FOLDER = "/photos"

_GAP = 0.30  # cosine between the two cones
_IMAGE_OFFSET = 0.5**0.5  # so that two pictures of nothing in common have a cosine of 0.5
_TEXT_OFFSET = 0.5**0.5
_AGREEMENT = 0.38  # of a sentence's content with that of its picture
_SHARES = (0.15, 0.35, 0.50)  # of topic, concept and the picture itself in its content
_DECAY = 0.4  # the standard deviation falls with the direction's number to this power
_WORDS = ("dog", "cat", "child", "man", "woman", "ball", "grass", "water", "beach", "snow", "bike")


@dataclass(frozen=True, slots=True)
class Block:
    """`BLOCK` pictures (fewer in the last block) and the sentences about some of them.

    `images` (n, DIM) and `texts` (m, DIM) float32 unit rows; `topics` (n,) says which folder a
    picture is in; `about` (m,) is the row of the sentence's picture in this block.
    """

    number: int
    images: Vectors
    topics: NDArray[np.int64]
    texts: Vectors
    about: NDArray[np.int64]


@dataclass(frozen=True)
class Synthetic:
    """A library of `rows` pictures and about `sentences` sentences, drawn from `seed`."""

    rows: int
    sentences: int = 20_000
    seed: int = 0

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.rows // BLOCK)

    def block(self, number: int) -> Block:
        """Return one block; the same whenever it is asked for."""
        generator = np.random.default_rng([self.seed, 1, number])
        count = min(BLOCK, self.rows - number * BLOCK)
        concepts = generator.choice(len(self._concepts), count, p=self._frequencies)
        own = self._directions(generator, count)
        content = self._content(concepts, own)
        images = _unit(_IMAGE_OFFSET * self._cones[0] + (1 - _IMAGE_OFFSET**2) ** 0.5 * content)
        described = round(self.sentences * count / self.rows)
        about = np.sort(generator.choice(count, min(described, count), replace=False))
        texts = self._texts(generator, content[about])
        return Block(number, images, self._topic_of[concepts], texts, about)

    def queries(self, count: int) -> Vectors:
        """Return (count, DIM) sentences that are not in the library, about pictures that are."""
        generator = np.random.default_rng([self.seed, 2])
        chosen = np.linspace(0, self.blocks - 1, min(self.blocks, 8)).astype(int)
        shares = np.array_split(np.arange(count), len(chosen))
        found = []
        for number, share in zip(chosen, shares, strict=True):
            images = self.block(int(number)).images
            picked = images[generator.integers(0, len(images), len(share))]
            content = _unit(picked - (picked @ self._cones[0])[:, np.newaxis] * self._cones[0])
            found.append(self._texts(generator, content))
        return np.concatenate(found)

    def cone(self) -> Vectors:
        """Return (DIM,): the mean direction of sentences."""
        return np.asarray(self._cones[1], dtype=np.float32)

    def _texts(self, generator: np.random.Generator, content: Vectors) -> Vectors:
        noise = self._directions(generator, len(content))
        mixed = _unit(_AGREEMENT * content + (1 - _AGREEMENT**2) ** 0.5 * noise)
        return _unit(_TEXT_OFFSET * self._cones[1] + (1 - _TEXT_OFFSET**2) ** 0.5 * mixed)

    def _content(self, concepts: NDArray[np.int64], own: Vectors) -> Vectors:
        topics = self._topics[self._topic_of[concepts]]
        parts = (topics, self._concepts[concepts], own)
        mixed = sum(share**0.5 * part for share, part in zip(_SHARES, parts, strict=True))
        return _unit(np.asarray(mixed, dtype=np.float32))

    def _directions(self, generator: np.random.Generator, count: int) -> Vectors:
        """Return unit rows of the decaying spectrum, at right angles to both cones."""
        drawn = generator.standard_normal((count, DIM), dtype=np.float32) * self._spectrum
        rows = drawn @ self._rotation
        basis = self._plane
        return _unit(rows - (rows @ basis.T) @ basis)

    @cached_property
    def _spectrum(self) -> NDArray[np.float32]:
        return np.asarray(np.arange(1, DIM + 1) ** -_DECAY, dtype=np.float32)

    @cached_property
    def _rotation(self) -> NDArray[np.float32]:
        drawn = np.random.default_rng([self.seed, 3]).standard_normal((DIM, DIM))
        return np.asarray(np.linalg.qr(drawn)[0], dtype=np.float32)

    @cached_property
    def _plane(self) -> NDArray[np.float32]:
        """(2, DIM): an orthonormal basis of the plane of both cones."""
        drawn = np.random.default_rng([self.seed, 4]).standard_normal((DIM, 2))
        return np.asarray(np.linalg.qr(drawn)[0].T, dtype=np.float32)

    @cached_property
    def _cones(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        first, second = self._plane
        return first, np.asarray(_GAP * first + (1 - _GAP**2) ** 0.5 * second, dtype=np.float32)

    @cached_property
    def _topics(self) -> Vectors:
        return self._directions(np.random.default_rng([self.seed, 5]), 200)

    @cached_property
    def _concepts(self) -> Vectors:
        count = int(np.clip(self.rows // 40, 64, 20_000))
        return self._directions(np.random.default_rng([self.seed, 6]), count)

    @cached_property
    def _frequencies(self) -> NDArray[np.float64]:
        weights = (np.arange(len(self._concepts)) + 10.0) ** -0.8
        return np.asarray(weights / weights.sum())

    @cached_property
    def _topic_of(self) -> NDArray[np.int64]:
        weights = (np.arange(len(self._topics)) + 5.0) ** -0.8
        generator = np.random.default_rng([self.seed, 7])
        chosen = generator.choice(len(weights), len(self._concepts), p=weights / weights.sum())
        return np.asarray(chosen, dtype=np.int64)


def picture_path(number: int, topic: int) -> bytes:
    """Return the path of picture `number` of a library: a folder a topic, then a year."""
    return f"{FOLDER}/topic-{topic:03}/{2005 + number % 20}/IMG_{number:08}.jpg".encode()


def sentence(number: int) -> str:
    """Return the text of a sentence; no two are the same."""
    drawn = np.random.default_rng([8, number]).choice(_WORDS, 4, replace=False)
    return f"a {drawn[0]} and a {drawn[1]} with a {drawn[2]} near the {drawn[3]}, number {number}"


def _unit(rows: NDArray[np.floating]) -> Vectors:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / lengths, dtype=np.float32)


def main() -> None:
    """Print the cosines within and between the modalities."""
    parser = argparse.ArgumentParser(description="Show what the synthetic vectors are like.")
    parser.add_argument("--rows", type=int, default=10_000)
    asked = parser.parse_args()
    block = Synthetic(asked.rows).block(0)
    some, texts = block.images[:2000], block.texts[:2000]
    across = np.einsum("nd,nd->n", texts, block.images[block.about[:2000]])
    for name, values in (
        ("pictures with pictures", (some @ some.T)[np.triu_indices(len(some), 1)]),
        ("sentences with sentences", (texts @ texts.T)[np.triu_indices(len(texts), 1)]),
        ("sentences with any picture", (texts @ some.T).ravel()),
        ("sentences with their picture", across),
    ):
        low, middle, high = np.percentile(values, (5, 50, 95))
        print(f"cosine of {name:<29} median {middle:.3f} (5 % {low:.3f}, 95 % {high:.3f})")


if __name__ == "__main__":
    main()
