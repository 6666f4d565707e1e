"""Folders of a million names for a few pictures, for rescans that need no million files.

A rescan looks at names, sizes and times: hard links have all three, and take no room on the disk.
What they spare is the reading of a million inodes where the system has them in no cache.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import WORK, say
from networks import clip_folder
from synthetic import SPACE, VERSION
from trees import SMALL, Tree, jpeg

from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import SETTING_KIND, IndexKind
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.store import IndexStore

_IN_A_FOLDER = 1000
_NAMES = 20_000  # of one file; ext4 allows 65,000
_COMMIT = 20_000
_NOTE = "benchmark.json"


def link(files: int) -> Tree:
    """Return a tree of so many names, made unless it is there."""
    tree = Tree(WORK / f"links-{files}", files, renamed=0)
    note = tree.folder / _NOTE
    if not note.exists():
        say(f"linking {files:,} names")
        generator = np.random.default_rng(12)
        for number, path in enumerate(_paths(tree)):
            if number % _IN_A_FOLDER == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            if number % _NAMES == 0:
                original = path
                path.write_bytes(jpeg(generator, SMALL))
            else:
                os.link(original, path)
        note.write_text(json.dumps({"files": files}))
    return tree


def linked_library(tree: Tree) -> Path:
    """Return a library that knows the tree's names, with a flat index, made unless it is there.

    All names of a file have its vector: what a rescan costs does not depend on vectors.
    """
    directory = tree.folder.with_name(f"{tree.folder.name}-library")
    note = directory / _NOTE
    facts = {"files": tree.files, "version": VERSION}
    if note.exists() and json.loads(note.read_text()) == facts:
        return directory
    say(f"making a library of {tree.files:,} rows")
    shutil.rmtree(directory, ignore_errors=True)
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.set_setting(f"model:{SPACE.digest}", str(clip_folder()))
        catalog.set_setting(SETTING_KIND, IndexKind.FLAT.value)
        root = catalog.add_root(os.path.realpath(tree.folder), RootKind.FOLDER)
        rows: list[FileRow] = []
        for row in _rows(tree, root):
            rows.append(row)
            if len(rows) == _COMMIT:
                catalog.commit(Batch(files=tuple(rows)))
                rows.clear()
        catalog.commit(Batch(files=tuple(rows)))
        IndexStore(catalog, directory).refresh(SPACE)
    note.write_text(json.dumps(facts))
    return directory


def _paths(tree: Tree) -> Iterator[Path]:
    for number in range(tree.files):
        yield tree.folder / f"roll {number // _IN_A_FOLDER:04}" / f"IMG_{number:08}.jpg"


def _rows(tree: Tree, root: int) -> Iterator[FileRow]:
    generator = np.random.default_rng(13)
    folder = Path(os.path.realpath(tree.folder))
    for number, path in enumerate(_paths(Tree(folder, tree.files, 0))):
        if number % _NAMES == 0:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            status = path.stat()
            vector = generator.standard_normal(SPACE.dim).astype(np.float32)
            vector /= np.linalg.norm(vector)
        yield FileRow(os.fsencode(path), root, status.st_size, status.st_mtime_ns, digest, vector)
