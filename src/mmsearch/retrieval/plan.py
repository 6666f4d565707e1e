"""What a rescan must do, worked out from what the catalog knows and what the disk shows.

Pure: values in, values out. `compare` looks at size and modification time alone; `resolve`
takes the digests of the files that `compare` could not settle.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mmsearch.index.rows import Failure, KnownFile
from mmsearch.retrieval.scan import Found


class Kind(StrEnum):
    """How a file stands to the catalog, by the names of the report's counts."""

    NEW = "new"
    CHANGED = "changed"
    MOVED = "moved"
    UNCHANGED = "unchanged"


@dataclass(slots=True)
class Difference:
    """What size and modification time say.

    `new`: paths without an item. `modified`: the stat differs from the item's. `unencoded`:
    the item has no vector in the current space. `doubtful`: a failure whose file's stat
    changed. `failing`: a failure whose file is as it was. `unseen`: items whose file was not
    found. `unchanged` is a count.
    """

    unchanged: int = 0
    new: list[Found] = field(default_factory=list)
    modified: list[tuple[Found, KnownFile]] = field(default_factory=list)
    unencoded: list[tuple[Found, KnownFile]] = field(default_factory=list)
    doubtful: list[tuple[Found, Failure]] = field(default_factory=list)
    failing: list[Failure] = field(default_factory=list)
    unseen: dict[bytes, KnownFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """A file to be read and encoded; `item` is the catalog's id when it has one."""

    found: Found
    kind: Kind
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """An item whose file stands under another path now."""

    item: int
    found: Found


@dataclass(frozen=True, slots=True)
class Copy:
    """A file with the content, hence the vector, of the item `source`."""

    found: Found
    kind: Kind
    digest: str
    source: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What was learnt by reading.

    `digests`: hex SHA-256 by path, for the files of `to_digest` that could be read. `holders`:
    the library's items by digest. `lost`: items outside the scan whose file is no more.
    """

    digests: Mapping[bytes, str] = field(default_factory=dict)
    holders: Mapping[str, Sequence[KnownFile]] = field(default_factory=dict)
    lost: Collection[int] = ()

    def of(self, file: Found) -> str | None:
        """Return the file's digest, None when it was not read."""
        return self.digests.get(file.path)


@dataclass(slots=True)
class Plan:
    """What is to be done. `touched`: same content under a new modification time."""

    unchanged: int = 0
    touched: list[tuple[Found, KnownFile]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    failing: list[Failure] = field(default_factory=list)


def compare(
    found: Iterable[Found],
    known: Mapping[bytes, KnownFile],
    failures: Mapping[bytes, Failure],
) -> Difference:
    """Sort the files found by what their size and modification time say."""
    difference = Difference(unseen=dict(known))
    for file in found:
        item = difference.unseen.pop(file.path, None)
        failure = failures.get(file.path)
        if failure is not None and failure.digest is None:
            failure = None  # not even its bytes were read: tried again each time
        if failure is not None and _is_unchanged(file, item, failure):
            difference.failing.append(failure)
        elif item is not None:
            _compare_item(difference, file, item)
        elif failure is None:
            difference.new.append(file)
        else:
            difference.doubtful.append((file, failure))
    return difference


def _is_unchanged(file: Found, item: KnownFile | None, failure: Failure) -> bool:
    """Say whether a file is as it was when it failed; an item with a vector has outlived that."""
    same = (failure.size, failure.mtime_ns) == (file.size, file.mtime_ns)
    return same and (item is None or not item.encoded)


def _compare_item(difference: Difference, file: Found, item: KnownFile) -> None:
    if (item.size, item.mtime_ns) != (file.size, file.mtime_ns):
        difference.modified.append((file, item))
    elif item.encoded:
        difference.unchanged += 1
    else:
        difference.unencoded.append((file, item))


def to_digest(difference: Difference, sizes: Collection[int]) -> list[Found]:
    """Return the files whose content decides; `sizes` are those of all items of the library."""
    return [
        *(file for file, _ in difference.modified),
        *(file for file, _ in difference.doubtful),
        *(file for file in difference.new if file.size in sizes),
    ]


def resolve(difference: Difference, contents: Contents) -> Plan:
    """Work out the plan.

    A content that left one path and stands under another is a move; several new files may
    share it, and then the rest are copies. When a move lands on the path of another item, that
    item has left its path in turn.
    """
    plan = Plan(unchanged=difference.unchanged, failing=list(difference.failing))
    wanting: list[Task] = [Task(file, Kind.NEW) for file in difference.new]
    for file, failure in difference.doubtful:
        if contents.of(file) == failure.digest:
            plan.failing.append(_seen_again(failure, file))
        else:
            wanting.append(Task(file, Kind.NEW))
    for file, item in difference.modified:
        if contents.of(file) != item.digest:
            wanting.append(Task(file, Kind.CHANGED, item.id))
        elif item.encoded:
            plan.touched.append((file, item))
        else:
            plan.tasks.append(Task(file, Kind.UNCHANGED, item.id))
    plan.tasks += [Task(file, Kind.UNCHANGED, item.id) for file, item in difference.unencoded]
    left = _match_moves(plan, wanting, difference, contents)
    _match_copies(plan, left, contents)
    plan.tasks.sort(key=lambda task: task.found.path)
    return plan


def _seen_again(failure: Failure, file: Found) -> Failure:
    return Failure(
        path=failure.path,
        reason=failure.reason,
        size=file.size,
        mtime_ns=file.mtime_ns,
        digest=failure.digest,
        root_id=failure.root_id,
    )


def _match_moves(
    plan: Plan, wanting: Sequence[Task], difference: Difference, contents: Contents
) -> list[Task]:
    """Add moves and gone items to the plan; return the tasks that found no item."""
    seekers = _Seekers(wanting, contents)
    item_at = {item.id: item for _, item in difference.modified}
    elsewhere = [i for items in contents.holders.values() for i in items if i.id in contents.lost]
    homeless = list({i.id: i for i in (*elsewhere, *difference.unseen.values())}.values())
    while homeless:
        item = homeless.pop()
        closest = seekers.take(item)
        if closest is not None:
            plan.moves.append(Move(item.id, closest.found))
            if not item.encoded:
                plan.tasks.append(Task(closest.found, Kind.MOVED, item.id))
            if closest.item is not None:
                homeless.append(item_at[closest.item])
        elif item.id not in contents.lost:
            plan.gone.append(item.id)
    return [task for task in wanting if task.found.path not in seekers.placed]


class _Seekers:
    """Files whose content may be that of an item; `placed`: the paths of those that were taken.

    Where several have the same content they are found by the ends of their paths, so that a
    folder of ten thousand equal files is matched in as many steps.
    """

    def __init__(self, tasks: Iterable[Task], contents: Contents) -> None:
        self.placed: set[bytes] = set()
        self._tasks: dict[str, list[Task]] = defaultdict(list)
        self._by_tail: dict[str, dict[bytes, deque[Task]]] = {}
        for task in tasks:
            digest = contents.of(task.found)
            if digest is not None:
                self._tasks[digest].append(task)

    def take(self, item: KnownFile) -> Task | None:
        """Take the file whose path ends most like the item's, the first of several; or None."""
        tasks = self._tasks.get(item.digest, [])
        if len(tasks) <= 1:
            return self._place(deque(tasks))
        by_tail = self._by_tail.get(item.digest)
        if by_tail is None:
            by_tail = self._by_tail[item.digest] = defaultdict(deque)
            for task in tasks:
                for tail in _tails(task.found.path):
                    by_tail[tail].append(task)
        for tail in _tails(item.path):
            closest = self._place(by_tail.get(tail, deque()))
            if closest is not None:
                return closest
        return None

    def _place(self, tasks: deque[Task]) -> Task | None:
        while tasks:
            task = tasks.popleft()
            if task.found.path not in self.placed:
                self.placed.add(task.found.path)
                return task
        return None


def _tails(path: bytes) -> Iterator[bytes]:
    """Yield the ends of a path, the whole first, a name less each time, at last nothing."""
    yield path
    place = path.find(b"/")
    while place >= 0:
        yield path[place + 1 :]
        place = path.find(b"/", place + 1)
    yield b""


def _match_copies(plan: Plan, tasks: Iterable[Task], contents: Contents) -> None:
    gone = set(plan.gone)
    for task in tasks:
        holders = contents.holders.get(contents.of(task.found) or "", ())
        sources = [item.id for item in holders if item.encoded and item.id not in gone]
        if sources:
            plan.copies.append(Copy(task.found, task.kind, holders[0].digest, min(sources)))
        else:
            plan.tasks.append(task)
