"""Random catalogs with what catalogs hold, and worse: odd names, unknown values, equal ones."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.index.conftest import SPACE, one_hot
from tests.index.where.oracle import Row

from mmsearch.core import Modality, Photo
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource, RootKind, TextRow

FOLDERS = (b"/photos", b"/photos/2024", b"/photos/2024/Rome", b"/photosx", b"/Photos", b"/")
NAMES = (
    b"a.jpg",
    b"A.JPG",
    b"b.jpeg",
    b"IMG_0001.png",
    b"IMGx0001.PNG",
    b".hidden",
    b".hidden.jpg",
    b"no extension",
    b"ends.",
    b"two.dots.tif",
    b"100%.jpg",
    b"it's.jpg",
    b'say "x".jpg',
    b"new\nline.jpg",
    "\u00fcber.jpg".encode(),
    "\u00dcBER.jpg".encode(),
    b"\xff\xfe.jpg",
    b"\xc3",
    b"\xa9.jpg",
    b"caf\xe9.JPG",
    "\U0001f600.gif".encode(),
)
CAMERAS = ("Canon EOS 5D", "canon eos 5d", "NIKON D850", "iPhone \u00fc", "")
LABELS = ("dog", "Dog", "cat", "new york", "\u00c9t\u00e9", "50%")
CAPTIONS = ("a dog on grass", "A Cat", "two men; DROP TABLE items", "caf\u00e9", "100% sure")
SENTENCES = ("a dog runs", "A DOG RUNS", "the sea", "it's late", "\u00fcber alles", "50% off")
PLACES = ((48.2, 16.4), (48.3, 16.3), (-17.8, 177.9), (-17.8, -179.5), (89.9, 10.0), (-90.0, 0.0))
SECONDS = (0, -86_400, 951_782_400, 1_717_200_000, 1_717_243_200, 1_717_243_201, 1_719_791_999)


def make(directory: Path, seed: int, pictures: int = 40) -> list[Row]:
    """Make a library with a catalog of that seed; return what it holds, sorted by id.

    Every second catalog has vectors of many directions, the others have four and many ties.
    """
    generator = random.Random(seed)
    paths = _paths(generator, pictures)
    files = [file_row(generator, path, _vector(generator, seed)) for path in paths]
    texts = generator.sample(SENTENCES, len(SENTENCES))
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/", RootKind.FOLDER)
        rows = [
            TextRow(text, None, f"{n:064x}", _vector(generator, seed))
            for n, text in enumerate(texts)
        ]
        catalog.commit(Batch(files=tuple(files), texts=tuple(rows)))
        held = _held(catalog, files)
        labelled = {row.id: _some(generator, LABELS) for row in held}
        told = {row.id: _some(generator, CAPTIONS) for row in held if row.path is not None}
        attributes.set_labels(
            catalog,
            [
                LabelChange(number, label, LabelSource.USER, None)
                for number, labels in labelled.items()
                for label in labels
            ],
        )
        attributes.set_captions(catalog, {n: texts for n, texts in told.items() if texts})
    return [
        Row(
            row.id,
            row.modality,
            row.path,
            row.text,
            row.size,
            row.mtime_ns,
            row.photo,
            labelled[row.id],
            told.get(row.id, ()),
        )
        for row in held
    ]


def _paths(generator: random.Random, count: int) -> list[bytes]:
    every = [folder.rstrip(b"/") + b"/" + name for folder in FOLDERS for name in NAMES]
    every += [b"/photos/\xc3/\xa9.jpg", b"/photos0", b"/photos/2024x/a.jpg", b"/photos/2024.jpg"]
    return generator.sample(every, count)


def _vector(generator: random.Random, seed: int) -> NDArray[np.float32]:
    if seed % 2 == 0:
        return one_hot(generator.randrange(SPACE.dim))
    vector = np.array([generator.gauss(0, 1) for _ in range(SPACE.dim)])
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def file_row(generator: random.Random, path: bytes, vector: NDArray[np.float32]) -> FileRow:
    """Return a picture of root 1 with random facts, unknown ones among them."""
    photo = None if generator.random() < 0.2 else _photo(generator)
    size = generator.choice((0, 1, 999, 1_000_000, 2_000_000, 2**40))
    second = generator.choice(SECONDS) * 10**9 + generator.choice((0, 1, 999_999_999))
    digest = f"{generator.getrandbits(256):064x}"
    return FileRow(path, 1, size, second, digest, vector, photo)


def _photo(generator: random.Random) -> Photo:
    latitude, longitude = generator.choice((*PLACES, (None, None), (1.0, None)))
    return Photo(
        generator.choice((1, 640, 1920, 4000)),
        generator.choice((1, 640, 1080, 3000)),
        generator.choice((*SECONDS, None)),
        generator.choice((*CAMERAS, None)),
        latitude,
        longitude,
        generator.getrandbits(64),
    )


def _some(generator: random.Random, choices: Sequence[str]) -> tuple[str, ...]:
    return tuple(generator.sample(choices, generator.choice((0, 0, 1, 2))))


def _held(catalog: Catalog, files: Sequence[FileRow]) -> list[Row]:
    """Return what was committed under the ids that it got."""
    by_path = {file.path: file for file in files}
    held = []
    for number, path, text in catalog.rows("SELECT id, path, text FROM items ORDER BY id"):
        if path is None:
            row = Row(number, Modality.TEXT, text=text, size=len(text.encode()))
        else:
            file = by_path[path]
            row = Row(
                number,
                Modality.IMAGE,
                path,
                size=file.size,
                mtime_ns=file.mtime_ns,
                photo=file.photo,
            )
        held.append(row)
    return held
