"""Folders of real picture files, and libraries that know them, for rescans and renames.

The vectors are synthetic: encoding is not what a rescan costs. Every file is a whole JPEG and
differs from all others in a few bytes after its end.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import WORK, FailedError, Run, measure, mmsearch_command, say
from networks import clip_folder
from PIL import Image
from synthetic import SPACE, VERSION, Synthetic

from mmsearch.core import Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.store import IndexStore

_IN_A_FOLDER = 1000
SMALL = (96, 72)
_PHOTO = (640, 480)
_COMMIT = 5000
_NOTE = "benchmark.json"
_ALBUM = "album"


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of `files` pictures, `renamed` of them photo-sized and in an album of their own."""

    folder: Path
    files: int
    renamed: int

    def rename(self, number: int) -> None:
        """Call the album by a number; 0 is what it was called at first."""
        (album,) = self.folder.glob(f"{_ALBUM}*")
        album.rename(self.folder / f"{_ALBUM} {number}")

    def paths(self) -> list[Path]:
        """Return every picture, sorted."""
        return sorted(self.folder.rglob("*.jpg"))


@dataclass(frozen=True, slots=True)
class File:
    """A file of a tree as both tools want to know it: its content's digests and a vector."""

    path: Path
    status: os.stat_result
    digest: str
    vector: Vectors


def plant(files: int, renamed: int) -> Tree:
    """Return a tree of so many files, made unless it is there."""
    tree = Tree(WORK / f"tree-{files}-{renamed}", files, renamed)
    note = tree.folder / _NOTE
    if not note.exists():
        say(f"writing {files:,} picture files")
        generator = np.random.default_rng(11)
        photos = [jpeg(generator, _PHOTO) for _ in range(16)]
        small = [jpeg(generator, SMALL) for _ in range(16)]
        for number in range(files):
            place, pool = (f"{_ALBUM} 0/", photos) if number < renamed else ("", small)
            folder = tree.folder / f"{place}roll {number // _IN_A_FOLDER:04}"
            if number % _IN_A_FOLDER == 0 or number == renamed:
                folder.mkdir(parents=True, exist_ok=True)
            content = pool[number % len(pool)] + f"#{number:08}".encode()
            (folder / f"IMG_{number:08}.jpg").write_bytes(content)
        note.write_text(json.dumps({"files": files, "renamed": renamed}))
    tree.rename(0)
    return tree


def survey(tree: Tree) -> Iterator[File]:
    """Yield every file with its digest and its vector."""
    source = Synthetic(tree.files)
    vectors = (row for number in range(source.blocks) for row in source.block(number).images)
    for path, vector in zip(tree.paths(), vectors, strict=True):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield File(path, path.stat(), digest, vector)


def library(tree: Tree, *, fresh: bool = False) -> Path:
    """Return a library that knows the tree's files, as if `index` had encoded them."""
    directory = tree.folder.with_name(f"{tree.folder.name}-library")
    note = directory / _NOTE
    facts = {"files": tree.files, "renamed": tree.renamed, "version": VERSION}
    if not fresh and note.exists() and json.loads(note.read_text()) == facts:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.set_setting(f"model:{SPACE.digest}", str(clip_folder()))
        root = catalog.add_root(os.path.realpath(tree.folder), RootKind.FOLDER)
        rows: list[FileRow] = []
        for file in survey(tree):
            rows.append(_row(file, root))
            if len(rows) == _COMMIT:
                catalog.commit(Batch(files=tuple(rows)))
                rows.clear()
        catalog.commit(Batch(files=tuple(rows)))
        IndexStore(catalog, directory).refresh(SPACE)
    note.write_text(json.dumps(facts))
    return directory


def rescan(tree: Tree, directory: Path, **expected: int) -> Run:
    """Run `mmsearch index` on the tree. Raises FailedError unless its counts are `expected`.

    Nothing may be encoded, whatever else is expected.
    """
    run = measure(mmsearch_command("index", tree.folder, "--library", directory, "--json"))
    counts = json.loads(run.output)
    for name, count in {**expected, "encoded": 0, "failed": 0}.items():
        if counts[name] != count:
            raise FailedError(f"{name} should be {count}, but index says {counts}")
    return run


def _row(file: File, root: int) -> FileRow:
    return FileRow(
        path=os.fsencode(os.path.realpath(file.path)),
        root_id=root,
        size=file.status.st_size,
        mtime_ns=file.status.st_mtime_ns,
        digest=file.digest,
        vector=file.vector,
    )


def jpeg(generator: np.random.Generator, size: tuple[int, int]) -> bytes:
    """Return a JPEG with about as much detail as a photo has."""
    coarse = generator.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.float32)
    noisy = picture + generator.normal(0, 6, picture.shape)
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()
