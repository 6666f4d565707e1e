"""Random libraries full of words, with what their catalogs hold, read row by row with SQLite.

Of two kinds: the vectors of one are so plain that cosines are exact and often equal, those of the
other are any. Some pictures are copies, some items have no vector, some lie where nothing is.
"""

import os
import random
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.index.conftest import SPACE
from tests.index.where import catalogs
from tests.index.where.oracle import Row
from tests.retrieval.word_oracle import Columns, columns_of

from mmsearch.core import (
    Interpolation,
    Modality,
    Photo,
    Pixels,
    Preprocessing,
    Resize,
    Vectors,
)
from mmsearch.index import attributes, database
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource, RootKind, TextRow
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.presence import note_place

POLICIES = (Policy(), Policy(kind=IndexKind.FLAT, scan_below=0, few=3))
SIZES = ((30, 12), (190, 130))  # pictures and sentences: a few, or more than are ever ranked
SEEDS = (2, 3, 2, 3, 0, 1)  # the large ones more often than the small
AWAY = (b"/photosx", b"/photos/2024", b"/photos/sea/two dogs.jpg")  # where nothing is
WORDS = (
    "dog", "sea", "boat", "red", "beach", "two", "men", "the", "on", "a",
    "zebra", "okapi", "jpg", "IMG", "caf\u00e9", "Rome", "2024", "run", "p1", "p2", "p3", "p4",
)  # fmt: skip
RARE_WORDS = tuple(f"{first}{last}" for first in ("ak", "el", "gn", "ib") for last in "abcdefghij")
KNOWN_WORDS = ("dog", "sea", "boat", "red", "beach", "two", "the", "on", "jpg", *RARE_WORDS[::2])
NAMES = (
    *catalogs.NAMES,
    b"two dogs.jpg",
    b"dog_on_beach.jpg",
    b"IMG_0412.jpg",
    b"IMG_0001.jpg",
    b"black-and-white boat.PNG",
    b"red boat (2).jpg",
    b"Dog & sea, 2024.webp",
    "cafe\u0301 zebra.jpg".encode(),
)
FOLDERS = (*catalogs.FOLDERS, b"/photos/sea", b"/photos/2024/red dog")
POINTS = np.array(
    [row for n in range(4) for row in (np.eye(4)[n], -np.eye(4)[n])]
    + [np.array(signs) / 2 for signs in product((1, -1), repeat=4)]
)
"""(24, 4): unit rows of values that add and multiply without rounding."""

_RUN = re.compile(r"[^\W_]+")


class Signpost:
    """Points where the first word that it knows says, and else where the letters do."""

    space = SPACE
    preprocessing = Preprocessing(
        (2, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        return self._points([self._place(text) for text in texts])

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        return self._points([int(image[0, 0].sum()) for image in images])

    def unknown_words(self, text: str, /) -> tuple[str, ...]:
        words = dict.fromkeys(self.runs(text))
        return tuple(word for word in words if word.casefold() not in KNOWN_WORDS)

    @staticmethod
    def runs(text: str) -> list[str]:
        """Return the runs of letters and digits in a text: what the model takes for words."""
        found: list[str] = _RUN.findall(text)
        return found

    def _place(self, text: str) -> int:
        known = [word for word in self.runs(text.casefold()) if word in KNOWN_WORDS]
        return KNOWN_WORDS.index(known[0]) * 5 if known else sum(map(ord, text))

    def _points(self, places: Sequence[int]) -> Vectors:
        return np.asarray(POINTS[np.array(places) % len(POINTS)], dtype=np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class Known:
    """A library under some kind of index, and all rows of its catalog.

    `plain`: its vectors are of `POINTS`. Vectors are those of the rows that have one, by id.
    `away` are the ids of what was indexed where nothing is now.
    """

    library: Library
    plain: bool
    rows: tuple[Row, ...]
    words: dict[int, Columns]
    vectors: dict[int, NDArray[np.float64]]
    digests: dict[int, str]
    away: frozenset[int]


class Libraries:
    """Random libraries by seed and policy, each made once. Even seeds are plain."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[Library] = []
        self.of = cache(self._of)

    def close(self) -> None:
        for library in self._opened:
            library.close()

    def _of(self, seed: int, policy: int) -> Known:
        directory = self._folder / f"{seed}-{policy}"
        (self._folder / "there.txt").touch()
        make(directory, seed, POLICIES[policy], self._folder / "there.txt")
        catalog = Catalog.open(directory)
        library = Library(catalog, IndexStore(catalog, directory, POLICIES[policy]), Signpost())
        self._opened.append(library)
        return read(library, plain=seed % 2 == 0)


def make(directory: Path, seed: int, policy: Policy, there: Path) -> None:
    """Make the library of a seed; of its sentences some are from a file that is `there`."""
    generator = random.Random(seed)
    pictures, sentences = SIZES[seed // 2]
    paths = [folder.rstrip(b"/") + b"/" + name for folder in FOLDERS for name in NAMES]
    paths.remove(AWAY[2])
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        roots = [catalog.add_root("/", RootKind.FOLDER)]
        roots += [catalog.add_root(os.fsdecode(path), RootKind.FOLDER) for path in AWAY[:2]]
        roots += [catalog.add_root(os.fsdecode(AWAY[2]), RootKind.FILE)]
        texts = [
            catalog.add_root(str(there), RootKind.TEXTS),
            catalog.add_root("/photosx/captions.txt", RootKind.TEXTS),
        ]
        with catalog.transaction():
            note_place(catalog, 1, b"/")
        files = [
            replace(_file(generator, path, seed), root_id=_root(path, roots))
            for path in [AWAY[2], *generator.sample(paths, pictures)]
        ]
        files = [_copy(generator, file, files) for file in files]
        lines = {_said(generator) for _ in range(2 * sentences)}
        rows = [
            TextRow(line, generator.choice([None, *texts]), f"{n:064x}", _vector(generator, seed))
            for n, line in enumerate(sorted(lines)[:sentences])
        ]
        catalog.commit(Batch(files=tuple(files[9:]), texts=tuple(rows)))
        IndexStore(catalog, directory, policy).refresh(SPACE)
        catalog.commit(Batch(files=tuple(files[:12])))  # newer than the index file
        _attach(catalog, generator)


def _attach(catalog: Catalog, generator: random.Random) -> None:
    """Give labels and captions, and take the vectors of one item in fifteen."""
    held = catalog.rows("SELECT id, path FROM items ORDER BY id")
    labels = (*catalogs.LABELS, "red dog", "sea", "zebra")
    changes = [
        LabelChange(number, label, LabelSource.USER, None)
        for number, _ in held
        for label in _some(generator, labels)
    ]
    attributes.set_labels(catalog, changes)
    captions = (*catalogs.CAPTIONS, *(_said(generator) for _ in range(20)))
    told = {n: _some(generator, captions) for n, path in held if path is not None}
    attributes.set_captions(catalog, {n: texts for n, texts in told.items() if texts})
    catalog.commit(Batch(blank=tuple(n for n, _ in held if generator.random() < 1 / 15)))


def _root(path: bytes, roots: Sequence[int]) -> int:
    for away, root in zip(AWAY[::-1], roots[:0:-1], strict=True):
        if path == away or path.startswith(away + b"/"):
            return root
    return roots[0]


def _file(generator: random.Random, path: bytes, seed: int) -> FileRow:
    return catalogs.file_row(generator, path, _vector(generator, seed))


def _copy(generator: random.Random, file: FileRow, files: Sequence[FileRow]) -> FileRow:
    """Let one file in eight hold what another one does."""
    other = generator.choice(files)
    if generator.random() > 1 / 8:
        return file
    return replace(file, digest=other.digest, vector=other.vector)


def _vector(generator: random.Random, seed: int) -> NDArray[np.float32]:
    if seed % 2 == 0:
        return np.asarray(generator.choice(list(POINTS)), dtype=np.float32)
    vector = np.array([generator.gauss(0, 1) for _ in range(SPACE.dim)])
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _said(generator: random.Random) -> str:
    words = (*WORDS * 3, *RARE_WORDS)
    return " ".join(generator.choices(words, k=generator.randint(1, 7)))


def _some(generator: random.Random, choices: Sequence[str]) -> tuple[str, ...]:
    return tuple(generator.sample(choices, generator.choice((0, 0, 1, 2))))


def read(library: Library, *, plain: bool) -> Known:
    """Read every row of a library's catalog, without its help."""
    with sqlite3.connect(library.directory / database.FILE) as connection:
        roots = {
            number: (path, kind)
            for number, path, kind in connection.execute("SELECT id, path, kind FROM roots")
        }
        items = connection.execute(
            "SELECT id, modality, root_id, path, text, digest, size, mtime_ns FROM items"
        ).fetchall()
        rows = {item[0]: _row(connection, item) for item in items}
        vectors = {
            number: np.frombuffer(blob, dtype="<f2").astype(np.float64)
            for modality in Modality
            for number, blob in connection.execute(
                f"SELECT item_id, vector FROM vectors_1_{modality.value}"
            )
        }
    connection.close()
    folders = {n: path for n, (path, kind) in roots.items() if kind == "folder"}
    return Known(
        library,
        plain,
        tuple(rows[number] for number in sorted(rows)),
        {item[0]: columns_of(rows[item[0]], folders.get(item[2])) for item in items},
        vectors,
        {item[0]: item[5].hex() for item in items},
        frozenset(item[0] for item in items if _is_away(item[3], roots.get(item[2]))),
    )


def _row(connection: sqlite3.Connection, item: tuple[Any, ...]) -> Row:
    number, modality, _, path, text, _, size, mtime_ns = item
    facts = connection.execute(
        "SELECT width, height, taken, camera, latitude, longitude, fingerprint FROM photos "
        "WHERE item_id = ?",
        (number,),
    ).fetchone()
    captions = "SELECT text FROM captions WHERE item_id = ? ORDER BY place"
    labels = "SELECT name FROM labels WHERE item_id = ?"
    return Row(
        number,
        Modality(modality),
        path,
        text,
        size,
        mtime_ns,
        None if facts is None else Photo(*facts),
        tuple(name for (name,) in connection.execute(labels, (number,))),
        tuple(said for (said,) in connection.execute(captions, (number,))),
    )


def _is_away(path: bytes | None, root: tuple[bytes, str] | None) -> bool:
    """Say whether an item is below a folder, or of a file, where nothing is."""
    if path is None:
        return root is not None and not Path(os.fsdecode(root[0])).exists()
    return any(path == away or path.startswith(away + b"/") for away in AWAY)
