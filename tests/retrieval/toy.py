"""A library in three dimensions, whose answers can be worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tests.retrieval.fakes import unit_rows

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize, Space, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind, TextRow
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library

SPACE = Space("toy", 3, "70" * 32)
PICTURES = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "xy": (0.6, 0.8, 0.0),
    "xz": (0.8, 0.0, 0.6),
}


class ToyEncoder:
    """A sentence is the sum of its axes, `x`, `y` and `z`; a picture its mean colour.

    Another word is nothing at all, and a sentence of such words points everywhere.
    """

    space = SPACE
    preprocessing = Preprocessing(
        (2, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Count the axes that a sentence names."""
        counts = [[float(text.split().count(axis)) for axis in "xyz"] for text in texts]
        return unit_rows([row if any(row) else [1.0] * 3 for row in counts])

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Take red, green and blue for the three axes."""
        return unit_rows([image.reshape(-1, 3).mean(axis=0) for image in images])


def toy_library(
    directory: Path,
    pictures: Mapping[str, Sequence[float]] = PICTURES,
    sentences: Mapping[str, Sequence[float]] | None = None,
) -> Library:
    """Return a library of pictures `/photos/NAME.jpg` and of sentences, with these vectors.

    Ids count from 1, pictures first. A name up to a full stop is the content, so that `a` and
    `a.2` are copies.
    """
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        root = catalog.add_root("/photos", RootKind.FOLDER)
        files = tuple(
            FileRow(
                path=f"/photos/{name}.jpg".encode(),
                root_id=root,
                size=100,
                mtime_ns=1,
                digest=digest(name),
                vector=np.array(vector, dtype=np.float32),
            )
            for name, vector in pictures.items()
        )
        texts = tuple(
            TextRow(text, None, digest(text), np.array(vector, dtype=np.float32))
            for text, vector in (sentences or {}).items()
        )
        catalog.commit(Batch(files=files))
        catalog.commit(Batch(texts=texts))
    catalog = Catalog.open(directory)
    return Library(catalog, IndexStore(catalog, directory), ToyEncoder())


def digest(name: str) -> str:
    """Return what stands for the content of a picture."""
    return name.partition(".")[0].encode().hex().ljust(64, "0")[:64]
