"""Pictures that a library holds more than once: the same bytes, or what looks the same.

Nothing is changed or deleted. Exact duplicates have the same digest. Near ones have vectors with
a high cosine and fingerprints that differ in few bits: a model alone takes two players on two
courts for one, a fingerprint alone two dark pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Item, Modality, Photo
from mmsearch.errors import InputError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.fingerprints import Fingerprints
from mmsearch.index.own_vectors import own_chunks
from mmsearch.retrieval.online import offline_ids
from mmsearch.retrieval.stars import Nearness, Pictures, Star, best_first

DEFAULT: Final = Nearness(threshold=0.9, distance=11)
_SAME: Final = (
    "SELECT id FROM items WHERE modality = ? AND digest IN "
    "(SELECT digest FROM items WHERE modality = ? GROUP BY digest HAVING count(*) > 1)"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for. `near` None: exact duplicates alone. `among`: sorted ids; None: all.

    Raises InputError when near sentences are asked for.
    """

    exact: bool = True
    near: Nearness | None = DEFAULT
    modality: Modality = Modality.IMAGE
    among: Ids | None = None

    def __post_init__(self) -> None:
        if self.near is not None and self.modality is Modality.TEXT:
            raise InputError("near duplicates are of pictures; of sentences ask for --exact ones")


@dataclass(frozen=True, slots=True)
class Member:
    """One item of a group.

    `cosine` and `distance`, in bits, are to the group's best; None in exact groups. `copies`: of
    a near group, other items with the same bytes. `offline`: it is not there now.
    """

    item: Item
    photo: Photo | None = None
    cosine: float | None = None
    distance: int | None = None
    copies: tuple[Item, ...] = ()
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are duplicates of the first, the best of them."""

    members: tuple[Member, ...]

    @property
    def spare(self) -> int:
        """The bytes that all but the best take."""
        best = self.members[0]
        return sum(
            item.size
            for member in self.members
            for item in ((*member.copies,) if member is best else (member.item, *member.copies))
        )


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What was found, in each list the groups first that take most space.

    `compared`: pictures that were compared for near duplicates; `unread`: those that could not
    be, since an older version indexed them; `cut`: those not compared with all that look alike.
    """

    exact: tuple[Group, ...] = ()
    near: tuple[Group, ...] = ()
    compared: int = 0
    unread: int = 0
    cut: int = 0


@dataclass(slots=True)
class _Known:
    """What is read of pictures that have a vector and a fingerprint, row by row."""

    ids: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    facts: list[tuple[int, int, int, int]] = field(default_factory=list)
    vectors: list[NDArray[np.float16]] = field(default_factory=list)
    unread: int = 0


def find_duplicates(catalog: Catalog, wanted: Wanted) -> Duplicates:
    """Return the groups of duplicates of a library, or of some of its items.

    Takes a kilobyte a picture for the vectors (of 512 values). Raises UnsoundLibraryError when
    a row does not match its checksum.
    """
    with catalog.snapshot():
        away = frozenset(offline_ids(catalog).tolist())
        exact = _exact(catalog, wanted, away) if wanted.exact else ()
        if wanted.near is None or catalog.space() is None:
            return Duplicates(exact)
        known = _read(catalog, wanted.among)
        holders = _holders(known, away)
        order = _distinct(known, holders)
        marks, vectors = _arrays(known, order)
        pictures = Pictures(marks, vectors)
        stars = list(pictures.stars(wanted.near))
        near = _near(catalog, stars, [holders[known.digests[n]] for n in order], away)
    return Duplicates(exact, near, len(known.ids), known.unread, pictures.cut)


def _exact(catalog: Catalog, wanted: Wanted, away: frozenset[int]) -> tuple[Group, ...]:
    name = wanted.modality.value
    ids = np.array([row[0] for row in catalog.rows(_SAME, name, name)], dtype=np.int64)
    if wanted.among is not None:
        ids = ids[np.isin(ids, wanted.among)]
    photos = attributes.photos(catalog, ids)
    items = sorted(
        catalog.items(ids).values(), key=lambda i: (i.digest, i.id in away, i.mtime_ns, i.id)
    )
    groups = []
    for _, same in groupby(items, key=lambda item: item.digest):
        members = [Member(i, photos.get(i.id), offline=i.id in away) for i in same]
        groups += [Group(tuple(members))] if len(members) > 1 else []
    return _sorted(groups)


def _read(catalog: Catalog, among: Ids | None) -> _Known:
    """Read the pictures that can be compared; each row is verified."""
    space = catalog.space()
    known = _Known()
    assert space is not None  # the caller has looked
    for ids, vectors in own_chunks(catalog, space, Modality.IMAGE, among=among):
        items, photos = catalog.items(ids), attributes.photos(catalog, ids)
        for number, vector in zip(ids.tolist(), vectors.astype(np.float16), strict=True):
            item, photo = items.get(number), photos.get(number)
            if item is None or photo is None:
                known.unread += 1
                continue
            known.ids.append(number)
            known.digests.append(item.digest)
            pixels = photo.width * photo.height
            known.facts.append((photo.fingerprint, pixels, item.size, item.mtime_ns))
            known.vectors.append(vector)
    return known


def _holders(known: _Known, away: frozenset[int]) -> dict[str, list[int]]:
    """Return the ids of each content: what is there before what is not, then the oldest."""
    found: dict[str, list[tuple[bool, int, int]]] = {}
    for number, digest, facts in zip(known.ids, known.digests, known.facts, strict=True):
        found.setdefault(digest, []).append((number in away, facts[3], number))
    return {digest: [number for *_, number in sorted(some)] for digest, some in found.items()}


def _distinct(known: _Known, holders: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the rows of the pictures without copies, from the best to the worst."""
    firsts = {numbers[0] for numbers in holders.values()}
    rows = [row for row, number in enumerate(known.ids) if number in firsts]
    facts = np.array([known.facts[row][1:] for row in rows], dtype=np.int64).reshape(-1, 3)
    ids = np.array([known.ids[row] for row in rows], dtype=np.int64)
    order = best_first(facts[:, 0], facts[:, 1], facts[:, 2], ids)
    return [rows[place] for place in order.tolist()]


def _arrays(known: _Known, order: Sequence[int]) -> tuple[Fingerprints, NDArray[np.float16]]:
    marks = np.array([known.facts[row][0] for row in order], dtype=np.uint64)
    vectors = np.array([known.vectors[row] for row in order], dtype=np.float16)
    return marks, vectors.reshape(len(order), len(vectors[0]) if order else 0)


def _near(
    catalog: Catalog,
    stars: Sequence[Star],
    holders: Sequence[Sequence[int]],
    away: frozenset[int],
) -> tuple[Group, ...]:
    """Return the groups of some stars; `holders` are the ids of each of their positions."""
    places = [place for star in stars for place in (star.best, *star.others.tolist())]
    numbers = [number for place in places for number in holders[place]]
    items, photos = catalog.items(numbers), attributes.photos(catalog, numbers)

    def member(place: int, cosine: float, distance: int) -> Member:
        first, *others = holders[place]
        copies = tuple(items[number] for number in others)
        offline = away.issuperset(holders[place])
        return Member(items[first], photos.get(first), cosine, distance, copies, offline)

    groups = []
    for star in stars:
        figures = zip(
            star.others.tolist(), star.cosines.tolist(), star.distances.tolist(), strict=True
        )
        groups.append(Group((member(star.best, 1.0, 0), *(member(*some) for some in figures))))
    return _sorted(groups)


def _sorted(groups: Sequence[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: (-group.spare, group.members[0].item.id)))
