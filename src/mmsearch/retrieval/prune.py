"""Find and remove what is gone for good: drives that will not come back, and leftovers."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from mmsearch.core import Modality
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Root, RootKind
from mmsearch.index.spaces import OldSpace, drop_space, old_spaces
from mmsearch.retrieval.forget import refresh_indexes, remove_items, remove_roots
from mmsearch.retrieval.paths import contains
from mmsearch.retrieval.presence import stands
from mmsearch.retrieval.roots import Certainty


@dataclass(frozen=True, slots=True)
class Absent:
    """A root that is not there and its items' ids; of nested roots the outermost has them."""

    root: Root
    images: tuple[int, ...]
    texts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What can go.

    `absent`: roots that are not there and hold items. `empty`: roots that are not there, or are
    empty folders, and hold none. `failures`: paths of files that are no more although their
    folder is there. `forgotten`: paths remembered as removed that would not come back anyway.
    """

    absent: tuple[Absent, ...] = ()
    empty: tuple[Root, ...] = ()
    failures: tuple[bytes, ...] = ()
    forgotten: tuple[bytes, ...] = ()
    spaces: tuple[OldSpace, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remove."""
        return self == Leftovers()

    def count(self, modality: Modality) -> int:
        """Return how many items of a modality would go."""
        return sum(len(a.images if modality is Modality.IMAGE else a.texts) for a in self.absent)


def survey(catalog: Catalog, *, spaces: bool = False) -> Leftovers:
    """Return what is gone for good, as far as the disk shows; with the old `spaces` when asked."""
    with catalog.snapshot():
        return _survey(catalog, spaces=spaces)


def _survey(catalog: Catalog, *, spaces: bool) -> Leftovers:
    roots = catalog.roots()
    away = [root for root in roots if not stands(catalog, root)]
    absent = _with_items(catalog, away)
    holding = {a.root.id for a in absent}
    certainty = Certainty(catalog)
    gone = {
        path
        for a in absent
        if a.root.kind is not RootKind.TEXTS
        for path in selection.failed(catalog, a.root.raw)
    }
    gone.update(f.path for f in catalog.failures() if certainty.is_lost(f.path))
    folders = [r.raw for r in roots if r.kind is RootKind.FOLDER and r not in away]
    return Leftovers(
        absent,
        tuple(root for root in away if root.id not in holding),
        tuple(sorted(gone)),
        tuple(sorted(_idle(catalog, folders, away, certainty))),
        tuple(old_spaces(catalog)) if spaces else (),
    )


def prune(catalog: Catalog, agreed: Leftovers) -> bool:
    """Remove what was agreed to, as far as it is still gone; needs a catalog open for writing.

    Returns False when Ctrl-C cut it short; saying it again goes on.
    """
    now = _still(survey(catalog, spaces=bool(agreed.spaces)), agreed)
    try:
        for absent in now.absent:
            remove_items(catalog, [*absent.images, *absent.texts])
        with catalog.transaction() as db:
            if now.failures:
                catalog.commit(Batch(cleared=now.failures))
            remove_roots(catalog, [*(absent.root for absent in now.absent), *now.empty])
            for path in now.forgotten:
                db.execute("DELETE FROM forgotten WHERE path = ?", (path,))
        for old in now.spaces:
            drop_space(catalog, old.space)
        refresh_indexes(catalog)
    except KeyboardInterrupt:
        return False
    return True


def _still(now: Leftovers, agreed: Leftovers) -> Leftovers:
    """Return what was agreed to and is still so: a drive may have come back meanwhile."""
    roots = {a.root.id for a in agreed.absent} | {root.id for root in agreed.empty}
    digests = {old.space.digest for old in agreed.spaces}
    return replace(
        now,
        absent=tuple(a for a in now.absent if a.root.id in roots),
        empty=tuple(root for root in now.empty if root.id in roots),
        failures=tuple(sorted({*now.failures} & {*agreed.failures})),
        forgotten=tuple(sorted({*now.forgotten} & {*agreed.forgotten})),
        spaces=tuple(old for old in now.spaces if old.space.digest in digests),
    )


def _with_items(catalog: Catalog, away: Collection[Root]) -> tuple[Absent, ...]:
    """Return the roots that hold items, each item with the outermost root that has it."""
    seen: set[int] = set()
    found = []
    for root in sorted(away, key=lambda root: (len(root.raw), root.id)):
        numbers = [n for n in selection.ids(catalog, selection.of_root(root)) if n not in seen]
        seen.update(numbers)
        texts = root.kind is RootKind.TEXTS
        if numbers:
            found.append(
                Absent(root, () if texts else tuple(numbers), tuple(numbers) if texts else ())
            )
    return tuple(found)


def _idle(
    catalog: Catalog, folders: Collection[bytes], away: Collection[Root], certainty: Certainty
) -> list[bytes]:
    """Return the forgotten paths that no folder of the library would bring back."""
    gone = [root.raw for root in away]
    return [
        path
        for path in selection.forgotten(catalog)
        if not any(contains(folder, path) for folder in (*folders, *gone))
        or (any(contains(folder, path) for folder in folders) and certainty.is_lost(path))
    ]
