"""Which of the places to index are there, and which are merely not mounted: their items stay."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mmsearch.errors import InputError
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import KnownFile, Root, RootKind
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.paths import (
    EVERYTHING,
    Filter,
    Scope,
    contains,
    is_gone,
    separate,
    upwards,
)
from mmsearch.retrieval.presence import (
    Presence,
    filesystem,
    is_stranger,
    is_there,
    note_place,
    presence,
)
from mmsearch.retrieval.reading import digest_file
from mmsearch.retrieval.scan import Found, scan


@dataclass(slots=True)
class Places:
    """Where to look. `online`: root ids by path, to be scanned; `special` has no root.

    `bases`: the outermost known root at or above each. `offline`: paths whose items must not be
    taken for deleted. `touched`: the paths below the online roots that alone are to be looked at,
    None for all of them. `known`: the library's roots. `names`: what is passed over.
    `filesystems`: what each online root was on when it was settled.
    """

    online: dict[bytes, int] = field(default_factory=dict)
    bases: dict[bytes, bytes] = field(default_factory=dict)
    special: list[bytes] = field(default_factory=list)
    offline: list[bytes] = field(default_factory=list)
    touched: list[bytes] | None = None
    known: frozenset[bytes] = frozenset()
    names: Filter = EVERYTHING
    filesystems: dict[bytes, str] = field(default_factory=dict)

    def to_scan(self) -> list[bytes]:
        """Return the paths to give to a scan."""
        return [*self.online, *self.special]

    def scope(self) -> list[bytes]:
        """Return the places at and under which what is not found is no more."""
        return self.to_scan() if self.touched is None else self.touched

    def unmounted(self) -> list[bytes]:
        """Return the online roots that have gone away since they were settled."""
        return [
            path
            for path, before in self.filesystems.items()
            if not is_there(path) or filesystem(path) != before
        ]


def picture_roots(catalog: Catalog) -> dict[bytes, Root]:
    """Return the library's folder and file roots by path."""
    return {root.raw: root for root in catalog.roots() if root.kind is not RootKind.TEXTS}


def remembered_roots(catalog: Catalog) -> list[bytes]:
    """Return the picture roots to look at when none are named.

    One that is forgotten waits for its removal to be finished.
    """
    forgotten = selection.forgotten(catalog)
    return [path for path in picture_roots(catalog) if path not in forgotten]


def welcome(catalog: Catalog, paths: Sequence[bytes]) -> None:
    """Let paths that are named come back, although they were forgotten."""
    lifted = selection.forgotten(catalog) & {*paths}
    if lifted:
        with catalog.transaction() as db:
            for path in lifted:
                db.execute("DELETE FROM forgotten WHERE path = ?", (path,))


def settle(catalog: Catalog, paths: Sequence[bytes], names: Filter = EVERYTHING) -> Places:
    """Decide what to scan, and record which roots are offline and which are back.

    `paths` are absolute; a root that was named inside a hidden or forgotten place below them is
    scanned as well. Raises InputError for one that does not exist and is not a known
    root; nothing is recorded then.
    """
    known = picture_roots(catalog)
    stands = {path: presence(path) for path in paths}
    for path, found in stands.items():
        if found is Presence.MISSING and path not in known:
            raise InputError(_missing(path, known))
    remembered = frozenset(remembered_roots(catalog))
    places = Places(known=remembered, names=names)
    wanted = Scope(paths)
    inside = [path for path in known if path in remembered and wanted.holds(path)]
    with catalog.transaction():  # one, for there may be thousands of paths
        for path in separate([*paths, *inside], names):
            match stands.get(path) or presence(path):
                case Presence.SPECIAL:
                    places.special.append(path)
                case Presence.MISSING:
                    _go_offline(catalog, places, path, known[path])
                case found:
                    _settle_present(catalog, places, path, (found, known.get(path)))
        _settle_inside(catalog, places, known)
    folders = {path for path, root in known.items() if root.kind is RootKind.FOLDER}
    places.bases = {path: _base(path, folders) for path in places.online}
    return places


def _missing(path: bytes, known: Iterable[bytes]) -> str:
    """Return what to say of a path that is not there: its drive may just not be mounted."""
    for root in known:
        if contains(root, path) and presence(root) in (Presence.MISSING, Presence.EMPTY):
            return (
                f"{shown(path)} lies in {shown(root)}, which is missing or empty now; mount it "
                "and run this again"
            )
    return f"no such file or folder: {shown(path)}"


def _base(path: bytes, folders: Collection[bytes]) -> bytes:
    return [step for step in upwards(path) if step == path or step in folders][-1]


def _settle_inside(catalog: Catalog, places: Places, known: dict[bytes, Root]) -> None:
    """Look at known folders below a scanned one; each may be a mount point of its own."""
    scanned = Scope(places.online)
    for path, root in known.items():
        settled = path in places.online or path in places.offline
        if root.kind is not RootKind.FOLDER or settled or not scanned.holds(path):
            continue
        if not is_there(path):
            _go_offline(catalog, places, path, root)
        elif _is_unmounted(catalog, root, places.names):
            _go_offline(catalog, places, path, root)
            forgotten = places.names.forgotten | {path}  # what lies there is not of this library
            places.names = replace(places.names, forgotten=forgotten)
        else:
            note_place(catalog, root.id, path)
            if root.offline:
                catalog.set_offline(root.id, False)


def _settle_present(
    catalog: Catalog, places: Places, path: bytes, stands: tuple[Presence, Root | None]
) -> None:
    found, root = stands
    if found is Presence.FOLDER and root and _is_unmounted(catalog, root, places.names):
        _go_offline(catalog, places, path, root)
        return
    kind = RootKind.FILE if found is Presence.FILE else RootKind.FOLDER
    if root is None or root.kind is not kind or root.offline:
        root = Root(catalog.add_root(path, kind), os.fsdecode(path), kind, offline=False)
    if found is Presence.EMPTY and selection.count(catalog, selection.of_root(root)):
        _go_offline(catalog, places, path, root)
    else:
        places.online[path] = root.id
        places.filesystems[path] = filesystem(path)
        if found is Presence.FOLDER:
            note_place(catalog, root.id, path)


def _is_unmounted(catalog: Catalog, root: Root, names: Filter) -> bool:
    """Say whether a folder with something in it is the mount point of what was indexed.

    It is not when all of its pictures have only got other names.
    """
    if not is_stranger(catalog, root):
        return False
    digests: dict[int, set[str]] = defaultdict(set)
    for item in catalog.known_under(root.raw).values():
        digests[item.size].add(item.digest)
    files = (file for file in scan([root.raw], names) if isinstance(file, Found))
    return not any(digest_file(f) in digests[f.size] for f in files if f.size in digests)


def _go_offline(catalog: Catalog, places: Places, path: bytes, root: Root) -> None:
    if not root.offline:
        catalog.set_offline(root.id, True)
    places.offline.append(path)


class Certainty:
    """Tells whether a file is no more although every root that it lies in is there.

    Looks at each root once.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._roots = picture_roots(catalog)
        self._there: dict[bytes, bool] = {}

    def is_lost(self, path: bytes) -> bool:
        """Say whether the file is no more."""
        holding = [step for step in upwards(path) if step in self._roots]
        at_hand = all(
            self._is_folder(root if root != path else os.path.dirname(root))  # noqa: PTH120
            for root in holding
        )
        return at_hand and is_gone(path)

    def _is_folder(self, path: bytes) -> bool:
        if path not in self._there:
            root = self._roots.get(path)
            self._there[path] = presence(path) is Presence.FOLDER and not (
                root is not None and is_stranger(self._catalog, root)
            )
        return self._there[path]


def lost_items(
    catalog: Catalog, items: Sequence[KnownFile], places: Places, digests: Mapping[bytes, str]
) -> set[int]:
    """Return those of the items, none of them scanned, whose file is no more where it was.

    It is gone from a root that is there; or the whole root is gone or empty, and all of it stands,
    under the same names, in a scanned folder or one below it: then it was moved. `digests`:
    hex SHA-256 of scanned files by path.
    """
    certainty, scope = Certainty(catalog), Scope(places.scope())
    lost = {item.id for item in items if certainty.is_lost(item.path)}
    away = Scope(places.offline)
    holders: dict[str, list[bytes]] = defaultdict(list)
    for path, digest in digests.items():
        holders[digest].append(path)
    for path, root in picture_roots(catalog).items():
        if scope.holds(path) and not away.holds(path):
            continue
        if is_there(path) and not is_stranger(catalog, root):
            continue
        known = {p[len(path) :]: item for p, item in catalog.known_under(path).items()}
        for base in _bases_of(known, holders, places):
            if all(digests.get(base + below) == item.digest for below, item in known.items()):
                lost.update(item.id for item in known.values())
                break
    return lost


def _bases_of(
    known: Mapping[bytes, KnownFile], holders: Mapping[str, Sequence[bytes]], places: Places
) -> Iterator[bytes]:
    """Yield where a root may stand now: what one of its files would have to lie in.

    `known`: its items by path below it, none for a root that is a file; `holders`: scanned paths
    by digest.
    """
    for below, item in [*known.items()][:1]:
        for path in holders.get(item.digest, ()):
            if path.endswith(below) and (below or path in places.online):
                yield path[: len(path) - len(below)]
