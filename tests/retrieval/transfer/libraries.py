"""A library with all that an item can have, and how to look at one."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.index.conftest import digest, unit_rows

from mmsearch.core import ItemTerm, Modality, Photo, Query, Space
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource, RootKind, TextRow
from mmsearch.index.store import IndexStore

SPACE = Space("toy", 16, "dd" * 32)
OTHER = Space("other", 16, "ee" * 32)
ODD = b"/far/photos/odd \xff\xfe\n.jpg"
PHOTO = Photo(640, 480, 1_700_000_000, "Canon EOS", 48.2, -16.4, 2**64 - 5)


def picture(path: bytes, number: int, *, photo: Photo | None = None, content: str = "") -> FileRow:
    """Return a picture of root 1 whose vector has a number."""
    vector = unit_rows(number + 1, SPACE.dim, seed=5)[number]
    content = content or os.fsdecode(path).encode("utf-8", "replace").decode()
    mtime = 1_600_000_000_123_456_789 + number
    return FileRow(path, 1, 1000 + number, mtime, digest(content), vector, photo)


def fill(directory: Path, *, space: Space = SPACE, pictures: int = 5) -> Path:
    """Make a library of pictures and sentences, with labels and captions."""
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(space)
        catalog.add_root("/far/photos", RootKind.FOLDER)
        alone = catalog.add_root("/far/alone.png", RootKind.FILE)
        texts = catalog.add_root("/far/texts.txt", RootKind.TEXTS)
        rows = [picture(b"/far/photos/%d.jpg" % n, n) for n in range(pictures)]
        rows += [picture(ODD, 20, photo=PHOTO)]
        rows += [replace(picture(b"/far/alone.png", 21, photo=PHOTO), root_id=alone)]
        vectors = unit_rows(3, space.dim, seed=9)
        sentences = [
            TextRow(text, root, digest(text), vector)
            for text, root, vector in zip(
                ("a dog", "ein Hund\u2028\U0001f600", "a dog"),
                (texts, texts, None),
                vectors,
                strict=True,
            )
        ]
        catalog.commit(Batch(files=tuple(rows), texts=tuple(sentences)))
        attributes.set_labels(
            catalog,
            [
                LabelChange(1, "beach", LabelSource.USER, None),
                LabelChange(1, "dog", LabelSource.AUTO, 0.25),
                LabelChange(8, "animal", LabelSource.USER, None),
            ],
        )
        attributes.set_captions(catalog, {1: ("one caption", "zwei"), 2: ("three",)})
        IndexStore(catalog, directory).refresh(space)
    return directory


def contents(directory: Path) -> list[dict[str, Any]]:
    """Return all that a library holds of its items, without ids, in order."""
    found = []
    with Catalog.open(directory) as catalog, catalog.snapshot():
        space = catalog.space()
        assert space is not None
        for modality in Modality:
            ids, _ = catalog.all_vectors(space, modality)
            own = catalog.own_vectors(space, ids)
            items, photos = catalog.items(ids), attributes.photos(catalog, ids)
            labels = attributes.labels(catalog, ids)
            captions = attributes.captions(catalog, ids)
            for number, vector in zip(ids.tolist(), own, strict=True):
                found.append(
                    {
                        "item": replace(items[number], id=0),
                        "photo": photos.get(number),
                        "labels": labels.get(number, ()),
                        "captions": captions.get(number, ()),
                        "vector": vector.astype(np.float16).tobytes(),
                    }
                )
    return sorted(found, key=repr)


def hits(directory: Path, path: bytes = b"/far/photos/0.jpg") -> list[tuple[float, str | None]]:
    """Return scores and paths of what is like a picture."""
    with Catalog.open(directory) as catalog:
        space = catalog.space()
        assert space is not None
        ((number,),) = catalog.rows("SELECT id FROM items WHERE path = ?", path)
        query = Query((ItemTerm(number),))
        vector = catalog.vectors(
            space, [term.id for term in query.terms if isinstance(term, ItemTerm)]
        )
        store = IndexStore(catalog, directory)
        (matches,) = store.search(space, Modality.IMAGE, vector, 10)
        items = catalog.items(matches.ids)
    pairs = zip(matches.scores.tolist(), matches.ids.tolist(), strict=True)
    return sorted((score, items[found].path) for score, found in pairs)
