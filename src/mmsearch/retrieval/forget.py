"""Remove from a library on purpose: what lies at a path, or single items.

A path that is forgotten while a folder above it stays is remembered, so that the next run over
that folder does not bring it back; indexing the path itself does. What is removed is written
down as forgotten first, then removed some thousands of items at a time, each in a transaction:
a removal that is cut short is never undone by an `index` run, and is finished by saying it again.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mmsearch.core import Modality
from mmsearch.errors import InputError
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Root, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.paths import absolute, contains, is_gone, upwards
from mmsearch.retrieval.presence import forget_place, stands

CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Holding:
    """What the library holds at and under a path; without one, a sentence that has no file.

    `images` and `texts`: ids. `failures`: paths. `roots`: those at or under it.
    `comes_back`: a folder that stays would bring it back.
    """

    path: bytes
    images: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()
    failures: tuple[bytes, ...] = ()
    roots: tuple[Root, ...] = ()
    comes_back: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.images or self.texts or self.failures or self.roots)


def find(catalog: Catalog, paths: Iterable[AnyPath]) -> list[Holding]:
    """Return what the library holds at some paths; of nested ones the outermost.

    A path need not exist any more. Raises InputError for one that the library holds nothing at.
    """
    found: dict[bytes, Holding] = {}
    roots = catalog.roots()
    for path in paths:
        holding = _named(catalog, roots, path)
        if holding is None:
            raise InputError(
                f"the library holds nothing at {shown(path)}; `mmsearch status` lists its folders"
            )
        found[holding.path] = holding
    return [
        h for h in found.values() if not any(up in found for up in upwards(h.path) if up != h.path)
    ]


def find_items(catalog: Catalog, numbers: Sequence[int]) -> list[Holding]:
    """Return the pictures of some ids as `find` does, and sentences that came from no file.

    Raises InputError for an id that the library does not have, and for a sentence of a file,
    which would come back from there.
    """
    items = catalog.items(numbers)
    holdings: list[Holding] = []
    for number in dict.fromkeys(numbers):
        item = items.get(number)
        if item is None:
            raise InputError(f"the library has no item {number}; `mmsearch query --json` shows ids")
        if item.path is not None:
            holdings += find(catalog, [item.path])
        elif item.root is not None:
            raise InputError(
                f"item {number} is a sentence of {shown(item.root)}; take it out of that file and "
                "run `mmsearch index`, or forget the file"
            )
        else:
            holdings.append(Holding(b"", texts=(number,)))
    return holdings


def forget(catalog: Catalog, holdings: Sequence[Holding]) -> bool:
    """Remove what was found, and write index files anew where that pays.

    Returns False when Ctrl-C cut it short: what was removed until then is gone, and saying it
    again goes on. Needs a catalog open for writing.
    """
    try:
        _mark(catalog, holdings)
        for holding in holdings:
            remove_items(catalog, [*holding.images, *holding.texts])
            with catalog.transaction() as db:
                catalog.commit(Batch(cleared=holding.failures))
                remove_roots(catalog, holding.roots)
                for where, values in selection.at_or_under(holding.path) if holding.path else ():
                    db.execute(f"DELETE FROM forgotten WHERE {where}", values)
                if holding.comes_back:
                    db.execute("INSERT INTO forgotten (path) VALUES (?)", (holding.path,))
        refresh_indexes(catalog)
    except KeyboardInterrupt:
        return False
    return True


def remove_items(catalog: Catalog, numbers: Sequence[int]) -> None:
    """Delete items, a few thousand in a transaction."""
    for start in range(0, len(numbers), CHUNK):
        catalog.commit(Batch(gone=tuple(numbers[start : start + CHUNK])))


def remove_roots(catalog: Catalog, roots: Iterable[Root]) -> None:
    """Delete roots that nothing belongs to any more."""
    with catalog.transaction() as db:
        for root in roots:
            removed = db.execute(
                "DELETE FROM roots WHERE id = ? "
                "AND NOT EXISTS (SELECT 1 FROM items WHERE root_id = roots.id) "
                "AND NOT EXISTS (SELECT 1 FROM failures WHERE root_id = roots.id)",
                (root.id,),
            ).rowcount
            if removed:
                forget_place(catalog, root.id)


def refresh_indexes(catalog: Catalog) -> None:
    """Write the index files anew where much was removed."""
    space = catalog.space()
    if space is not None:
        IndexStore(catalog, catalog.directory).refresh(space)


def _mark(catalog: Catalog, holdings: Iterable[Holding]) -> None:
    """Write down what is about to be removed, so that no run in between brings it back."""
    with catalog.transaction() as db:
        for holding in holdings:
            pictures = [root.raw for root in holding.roots if root.kind is not RootKind.TEXTS]
            for path in {*pictures, *([holding.path] if holding.comes_back else [])}:
                db.execute("INSERT OR IGNORE INTO forgotten (path) VALUES (?)", (path,))


def _named(catalog: Catalog, roots: Sequence[Root], path: AnyPath) -> Holding | None:
    """Return what is held at the first reading of a path under which anything is."""
    for candidate in dict.fromkeys(_readings(path)):
        holding = look(catalog, roots, candidate)
        if not holding.is_empty:
            return holding
    return None


def _readings(path: AnyPath) -> Iterator[bytes]:
    """Yield what a path may stand for: a link in the library, or what the link leads to."""
    plain = os.path.abspath(os.fsencode(path))  # noqa: PTH100 - bytes
    folder, name = os.path.split(plain)
    yield os.path.join(absolute(folder), name) if name else plain  # noqa: PTH118 - bytes
    yield plain
    yield absolute(path)


def look(catalog: Catalog, roots: Sequence[Root], path: bytes) -> Holding:
    """Return what the library holds at and under an absolute path."""
    inside = tuple(root for root in roots if contains(path, root.raw))
    texts = [c for root in inside if root.kind is RootKind.TEXTS for c in selection.of_root(root)]
    images = selection.ids(catalog, selection.at_or_under(path))
    failures = selection.failed(catalog, path)
    pictures = any(root.kind is not RootKind.TEXTS for root in inside)
    return Holding(
        path,
        tuple(images),
        tuple(selection.ids(catalog, texts)),
        tuple(failures),
        inside,
        bool(images or failures or pictures) and _comes_back(catalog, roots, path),
    )


def _comes_back(catalog: Catalog, roots: Iterable[Root], path: bytes) -> bool:
    """Say whether a folder above the path that stays has, or may have, the path."""
    above = [
        root
        for root in roots
        if root.kind is RootKind.FOLDER and root.raw != path and contains(root.raw, path)
    ]
    return bool(above) and (not is_gone(path) or not all(stands(catalog, root) for root in above))


def count(holdings: Iterable[Holding], modality: Modality) -> int:
    """Return how many items of a modality were found."""
    return sum(len(h.images if modality is Modality.IMAGE else h.texts) for h in holdings)
