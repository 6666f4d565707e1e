"""Compare with rclip 3.3: cold queries, an unchanged rescan, a renamed folder.

    python benchmarks/against_rclip.py [--rows 10000] [--files 2000] [--renamed 200]

Both tools run the same randomly initialised ViT-B/32, on as many rows and on the same files, and
take turns; every query is a text not asked before. The page cache is warm. rclip looks for changes
as part of a query, so that its rescan is the difference to `rclip --no-indexing`; ours is the
whole `mmsearch index` process. A run also asserts that nothing was encoded, by the counts of
`index --json`.
"""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import measuring
from libraries import build, remember_model
from measuring import WORK, Facts, Summary, keep, measure, mmsearch_command, say, seconds, size
from networks import clip_folder, int8_folder, new_question, question
from peer_rclip import VERSION, Picture, Rclip, filled, from_catalog
from trees import Tree, library, plant, rescan, survey

QUERY_TARGETS = {20_000: 0.6, 100_000: 0.4, 1_000_000: 0.05}
RESCAN_TARGET = 3.0
RESCAN_FILES = 100_000
_BOTH = ("mmsearch", "rclip")
_HEAD, _TAIL = 1 << 20, 1 << 10  # of a file, in rclip's digest


def compare_queries(rows: int, runs: int) -> Facts:
    """Time whole query processes on libraries of as many rows."""
    built = build(rows)
    remember_model(built.directory, clip_folder())
    facts = {"rows": rows, "version": built.stamp.version}
    rclip = filled(WORK / f"rclip-{rows}", facts, from_catalog(built.directory))
    say(f"cold queries, {rows:,} pictures")
    int8 = int8_folder()
    variants: dict[str, list[str | Path]] = {"mmsearch": []}
    if int8 is not None:
        variants["mmsearch int8"] = ["--model", int8]
    summaries = measuring.alternate(
        {
            **{name: partial(_ask, built.directory, more) for name, more in variants.items()},
            "rclip": lambda _: rclip.query(new_question(), Path("/")),
        },
        runs,
    )
    ratios = {name: summaries[name].wall / summaries["rclip"].wall for name in variants}
    return {"rows": rows, "ratio": ratios["mmsearch"], "ratios": ratios, **_kept(summaries)}


def _ask(directory: Path, more: list[str | Path], _: int) -> measuring.Run:
    return measure(mmsearch_command("query", new_question(), "--library", directory, *more))


def compare_files(tree: Tree, runs: int) -> tuple[Facts, Facts]:
    """Time rescans of an unchanged tree, then of one with a renamed folder."""
    directory = library(tree)
    facts = {"files": tree.files, "renamed": tree.renamed}
    rclip = filled(tree.folder.with_name(f"{tree.folder.name}-rclip"), facts, _pictures(tree))
    rescan(tree, directory)
    say(f"rescans of {tree.files:,} unchanged files")
    unchanged = measuring.alternate(
        {
            "mmsearch": lambda _: rescan(tree, directory, unchanged=tree.files),
            "rclip": lambda turn: rclip.query(question(turn), tree.folder, indexing=True),
            "rclip without rescan": lambda turn: rclip.query(question(turn), tree.folder),
        },
        runs,
    )
    say(f"a renamed folder of {tree.renamed:,} files")
    renamed = _renames(tree, directory, rclip)
    idle = unchanged["rclip without rescan"].wall
    return (
        {"files": tree.files, **_compared(unchanged, idle)},
        {"files": tree.files, "renamed": tree.renamed, "encoded": 0, **_compared(renamed, idle)},
    )


def _renames(tree: Tree, directory: Path, rclip: Rclip) -> dict[str, Summary]:
    """Rename the folder twice, each time looked at by both tools.

    Never back: rclip takes pictures that reappear for known and leaves them out of its answers.
    """
    rclip.discard()
    seen: dict[str, list[measuring.Run]] = {name: [] for name in _BOTH}
    for turn in (1, 2):
        tree.rename(turn)
        seen["mmsearch"].append(rescan(tree, directory, moved=tree.renamed, gone=0, new=0))
        seen["rclip"].append(rclip.query(question(turn), tree.folder, indexing=True))
        say("  " + ", ".join(f"{name}: {seconds(runs[-1].wall)}" for name, runs in seen.items()))
    return {name: measuring.summarise(runs) for name, runs in seen.items()}


def _compared(summaries: dict[str, Summary], idle: float) -> Facts:
    """Return both tools' runs and how many times as long rclip takes, its query taken off."""
    spent = summaries["rclip"].wall - idle
    return {
        "rclip_seconds": spent,
        "ratio": spent / summaries["mmsearch"].wall,
        **_kept(summaries),
    }


def _kept(summaries: dict[str, Summary]) -> Facts:
    return {name: asdict(summary) for name, summary in summaries.items()}


def _pictures(tree: Tree) -> Iterator[Picture]:
    for file in survey(tree):
        content = file.path.read_bytes()
        digest = hashlib.sha256(content[:_HEAD])
        if len(content) > _TAIL:
            digest.update(content[-_TAIL:])
        status = file.status
        path = str(file.path)
        yield Picture(path, status.st_mtime, status.st_size, digest.hexdigest(), file.vector)


def report(queries: Facts, unchanged: Facts | None, renamed: Facts | None) -> None:
    """Print what was measured beside what is wanted."""
    rows = queries["rows"]
    wanted = next((t for r, t in sorted(QUERY_TARGETS.items(), reverse=True) if rows >= r), None)
    theirs = queries["rclip"]
    for name, ratio in queries["ratios"].items():
        ours = queries[name]
        say(
            f"cold query, {rows:,} pictures: {name} {seconds(ours['wall'])}, "
            f"{size(ours['peak'])}; rclip {seconds(theirs['wall'])}, {size(theirs['peak'])}; "
            f"ratio {ratio:.3f}"
            + ("" if wanted is None else f" ({_met(ratio <= wanted)}: at most {wanted})")
        )
    for name, facts in (("unchanged rescan", unchanged), ("renamed folder", renamed)):
        if facts is not None:
            say(
                f"{name}, {facts.get('renamed', facts['files']):,} of {facts['files']:,} files: "
                f"mmsearch {seconds(facts['mmsearch']['wall'])} with nothing encoded, "
                f"rclip {seconds(facts['rclip_seconds'])}: {facts['ratio']:.1f} times as fast"
            )
    if unchanged is not None and unchanged["files"] >= RESCAN_FILES:
        say(f"{_met(unchanged['ratio'] >= RESCAN_TARGET)}: rescan {RESCAN_TARGET} times as fast")


def _met(good: bool) -> str:
    return "met" if good else "NOT MET"


def main() -> None:
    """Install, build, measure, print, keep."""
    parser = argparse.ArgumentParser(description=f"Compare with rclip {VERSION}.")
    parser.add_argument("--rows", type=int, default=10_000, help="of the queried libraries")
    parser.add_argument("--files", type=int, default=2_000, help="of the rescans; 0 for none")
    parser.add_argument("--renamed", type=int, default=200, help="files in the renamed folder")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    if asked.files and not 0 < asked.renamed <= asked.files:
        parser.error("--renamed must be between 1 and --files")
    machine = measuring.machine("pillow")
    queries = compare_queries(asked.rows, asked.runs)
    keep(f"rclip-query-{asked.rows}", {"machine": machine, **queries})
    unchanged = renamed = None
    if asked.files:
        unchanged, renamed = compare_files(plant(asked.files, asked.renamed), asked.runs)
        keep(f"rclip-rescan-{asked.files}", {"machine": machine, **unchanged})
        keep(f"rclip-rename-{asked.renamed}", {"machine": machine, **renamed})
    report(queries, unchanged, renamed)


if __name__ == "__main__":
    main()
