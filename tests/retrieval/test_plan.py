import time
from collections import defaultdict
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from mmsearch.index.rows import Failure, KnownFile
from mmsearch.retrieval.plan import (
    Contents,
    Copy,
    Kind,
    Move,
    Plan,
    Task,
    compare,
    resolve,
    to_digest,
)
from mmsearch.retrieval.scan import Found

ROOT = b"/r"


def digest_of(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def file(path: str, size: int = 1, mtime: int = 0) -> Found:
    return Found(path.encode(), ROOT, size, mtime)


def item(
    number: int, path: str, content: str, mtime: int = 0, *, encoded: bool = True
) -> KnownFile:
    return KnownFile(number, path.encode(), 1, mtime, digest_of(content), encoded)


def plan_for(
    disk: dict[str, tuple[str, int]],
    items: list[KnownFile],
    failures: list[Failure] | None = None,
    lost: set[int] | None = None,
) -> Plan:
    """Plan a rescan; `disk` gives content and mtime by path, every size is 1.

    Items whose id is in `lost` lie outside of the scan.
    """
    lost = lost or set()
    found = [file(path, 1, mtime) for path, (_, mtime) in disk.items()]
    difference = compare(
        found,
        {known.path: known for known in items if known.id not in lost},
        {failure.path: failure for failure in failures or []},
    )
    digests = {f.path: digest_of(disk[f.path.decode()][0]) for f in to_digest(difference, {1})}
    holders: dict[str, list[KnownFile]] = defaultdict(list)
    for known in items:
        if known.digest in digests.values():
            holders[known.digest].append(known)
    return resolve(difference, Contents(digests, holders, lost))


def test_the_same_stat_is_unchanged_and_not_read() -> None:
    difference = compare([file("/r/a")], {b"/r/a": item(1, "/r/a", "x")}, {})
    assert difference.unchanged == 1
    assert to_digest(difference, {1}) == []


def test_a_new_file_is_read_beforehand_only_when_an_item_has_its_size() -> None:
    difference = compare([file("/r/a", 5), file("/r/b", 6)], {}, {})
    assert to_digest(difference, {6}) == [file("/r/b", 6)]


def test_a_rename_is_a_move() -> None:
    plan = plan_for({"/r/b": ("x", 0)}, [item(1, "/r/a", "x")])
    assert plan == Plan(moves=[Move(1, file("/r/b"))])


def test_of_several_candidates_the_most_alike_path_is_the_move() -> None:
    disk = {"/r/new/one/a": ("x", 0), "/r/new/two/a": ("x", 0), "/r/other": ("x", 0)}
    plan = plan_for(disk, [item(1, "/r/old/two/a", "x")])
    assert plan.moves == [Move(1, file("/r/new/two/a"))]
    assert [(copy.found.path, copy.source) for copy in plan.copies] == [
        (b"/r/new/one/a", 1),
        (b"/r/other", 1),
    ]


def test_a_folder_of_equal_files_is_matched_name_by_name_in_linear_time() -> None:
    count = 3000
    disk = {f"/r/new/{n % 10}/{n}": ("x", 0) for n in range(count)}
    items = [item(n + 1, f"/r/old/{n % 10}/{n}", "x") for n in range(count)]
    started = time.process_time()
    plan = plan_for(disk, items)
    assert time.process_time() - started < 2.0  # comparing all pairs takes a minute
    assert {(move.item, move.found.path) for move in plan.moves} == {
        (n + 1, f"/r/new/{n % 10}/{n}".encode()) for n in range(count)
    }


def test_a_chain_of_renames_is_all_moves() -> None:
    disk = {"/r/b": ("x", 1), "/r/c": ("y", 2)}
    plan = plan_for(disk, [item(1, "/r/a", "x", 1), item(2, "/r/b", "y", 2)])
    assert sorted((move.item, move.found.path) for move in plan.moves) == [
        (1, b"/r/b"),
        (2, b"/r/c"),
    ]
    assert (plan.tasks, plan.copies, plan.gone) == ([], [], [])


def test_a_file_moved_over_another_replaces_it() -> None:
    plan = plan_for({"/r/b": ("x", 1)}, [item(1, "/r/a", "x", 1), item(2, "/r/b", "y", 2)])
    assert plan == Plan(moves=[Move(1, file("/r/b", 1, 1))], gone=[2])


def test_a_backup_of_an_edited_file_is_a_copy_and_the_edit_a_change() -> None:
    disk = {"/r/a": ("edited", 9), "/r/backup": ("x", 0)}
    plan = plan_for(disk, [item(1, "/r/a", "x")])
    assert plan == Plan(
        copies=[Copy(file("/r/backup"), Kind.NEW, digest_of("x"), 1)],
        tasks=[Task(file("/r/a", 1, 9), Kind.CHANGED, 1)],
    )


def test_an_item_lost_elsewhere_moves_here_and_is_otherwise_left_alone() -> None:
    elsewhere = [item(1, "/other/a", "x"), item(2, "/other/b", "y")]
    plan = plan_for({"/r/a": ("x", 0)}, elsewhere, lost={1, 2})
    assert plan == Plan(moves=[Move(1, file("/r/a"))])


def test_an_item_without_a_vector_is_encoded_and_counted_as_unchanged() -> None:
    plan = plan_for({"/r/a": ("x", 0)}, [item(1, "/r/a", "x", encoded=False)])
    assert plan == Plan(tasks=[Task(file("/r/a"), Kind.UNCHANGED, 1)])


def test_a_failure_is_tried_again_when_its_content_changed() -> None:
    known = Failure(b"/r/a", "bad", 1, 0, digest_of("x"))
    again = plan_for({"/r/a": ("x", 0)}, [], [known])
    assert (again.failing, again.tasks) == ([known], [])
    touched = plan_for({"/r/a": ("x", 7)}, [], [known])
    assert touched.failing == [Failure(b"/r/a", "bad", 1, 7, digest_of("x"))]
    changed = plan_for({"/r/a": ("y", 7)}, [], [known])
    assert changed.tasks == [Task(file("/r/a", 1, 7), Kind.NEW)]


def test_a_failure_that_was_never_read_is_tried_each_time() -> None:
    known = Failure(b"/r/a", "permission denied", 1, 0, None)
    assert plan_for({"/r/a": ("x", 0)}, [], [known]).tasks == [Task(file("/r/a"), Kind.NEW)]


paths = st.sampled_from([f"/r/{folder}/{name}" for folder in "pq" for name in "abc"])
states = st.dictionaries(paths, st.tuples(st.sampled_from("uvwxyz"), st.integers(0, 3)))


def apply(plan: Plan, items: list[KnownFile], disk: dict[str, tuple[str, int]]) -> dict[str, str]:
    """Return the digest by path that the plan leaves behind, done in the order of a run."""
    left = {known.id: (known.path.decode(), known.digest) for known in items}
    for gone in plan.gone:
        del left[gone]
    for move in plan.moves:
        left[move.item] = (move.found.path.decode(), left[move.item][1])
    after = dict(left.values())
    assert len(after) == len(left)  # no two items at one path
    fresh = [copy for copy in plan.copies if copy.kind is Kind.NEW]
    over = [copy for copy in plan.copies if copy.kind is not Kind.NEW]
    for copies in (fresh, over):
        sources = [left[copy.source][1] for copy in copies]
        for copy, digest in zip(copies, sources, strict=True):
            assert digest == copy.digest
            after[copy.found.path.decode()] = digest
    for task in plan.tasks:
        path = task.found.path.decode()
        assert (task.kind is Kind.NEW) == (path not in after)
        after[path] = digest_of(disk[path][0])
    return after


@given(before=states, after=states)
def test_any_plan_ends_with_what_is_on_the_disk(
    before: dict[str, tuple[str, int]], after: dict[str, tuple[str, int]]
) -> None:
    # A content change that keeps size and time cannot be seen; let none happen.
    disk = {
        path: (content, time + 10 if path in before and before[path][0] != content else time)
        for path, (content, time) in after.items()
    }
    items = [
        item(number, path, content, time)
        for number, (path, (content, time)) in enumerate(before.items(), start=1)
    ]
    plan = plan_for(disk, items)
    assert apply(plan, items, disk) == {path: digest_of(c) for path, (c, _) in disk.items()}
    held = {content for content, _ in before.values()}
    assert all(disk[task.found.path.decode()][0] not in held for task in plan.tasks)
    kinds = [task.kind for task in plan.tasks] + [copy.kind for copy in plan.copies]
    assert len(disk) == len(before) + kinds.count(Kind.NEW) - len(plan.gone)
