"""Write benchmarks/results.md from the JSON files that the benchmarks leave behind.

    python benchmarks/results.py [--print]

Every figure of the page is read from a file in build/benchmarks/results; what was not measured is
not there. The projection to tens of millions is arithmetic on measured parts and says so.
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from growth import growth_table
from measuring import RESULTS, ROOT, Facts, say, seconds, size, table
from results_indexing import indexing
from results_networks import networks
from results_start import starting

PAGE = ROOT / "benchmarks" / "results.md"
PROJECTED = (10_000_000, 30_000_000)
_DIM = 512
_INTRODUCTION = """# Results

Written by `python benchmarks/results.py` from what the benchmarks measured;
[docs/performance.md](../docs/performance.md) says what is measured and how to repeat it.
"""
_QUESTIONS = """Questions of the other modality in one process, one at a time, with and without a
filter; recall@10 against brute force over the catalog:"""
_EXPONENT = """The exponent is that between the smallest and the largest size measured: 0 is
constant, 1 linear."""
_ARITHMETIC = """Not measured: bytes and seconds of the library named, times the ratio of the rows.
Bytes follow the rows closely. Seconds of indexing are a rough guess for indexes that have lists:
their number, and with it the work of a row, grows with the rows, while measuring how many of them
to probe takes about as long for any number."""


def page(found: dict[str, Facts]) -> str:
    """Return the page for results by name; parts without results are left out."""
    parts = [
        _INTRODUCTION,
        machines(found.values()),
        scale(_numbered(found, "scale")),
        against_rclip(found),
        indexing(found),
        starting(found),
        networks(found.get("precision")),
        against_ann(_numbered(found, "ann")),
        growth(found.get("growth")),
        projection(_numbered(found, "scale")),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def machines(found: Iterable[Facts]) -> str:
    """Describe each machine that results come from once, and how busy it was.

    Results that went before the machine's other work say nothing of its load.
    """
    packages: dict[str, set[str]] = {}
    loads: dict[str, list[float]] = {}
    for machine in (facts["machine"] for facts in found):
        line = (
            f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']:.0f} GB, "
            f"{machine['system']}, Python {machine['python']}"
        )
        versions = (f"{name} {version}" for name, version in machine["packages"].items())
        packages.setdefault(line, set()).update(versions)
        loads.setdefault(line, []).extend([] if machine.get("first") else [machine["load"]])
    return "\n\n".join(
        f"Machine: {line}; {', '.join(sorted(packages[line]))}. Load average when results were "
        f"kept: {min(loads[line], default=0):.1f} to {max(loads[line], default=0):.1f}; the others "
        "were measured before the machine's other work, at the highest priority."
        for line in packages
    )


def scale(found: Sequence[Facts]) -> str:
    """Return the section on synthetic libraries."""
    if not found:
        return ""
    libraries, cold, filters = [], [], []
    for facts in found:
        name = _library(facts)
        rows, build, disk = facts["rows"], facts["build"], facts["disk"]
        libraries.append(
            [
                name,
                f"{build['write_seconds']:.1f} s",
                f"{build['index_seconds']:.1f} s",
                f"{disk['index'] / rows:.0f} B",
                f"{disk['catalog'] / rows:.0f} B",
            ]
        )
        cold += [
            [name, network, seconds(s["wall"]), _range(s), seconds(s["cpu"]), size(s["peak"])]
            for network, s in facts["cold"].items()
        ]
        filters += [
            [
                name,
                warm["name"],
                f"{warm['rows']:,}",
                f"{warm['recall']:.4f}",
                f"{warm['per_second']:.0f}",
                seconds(warm["p50"]),
                seconds(warm["p99"]),
            ]
            for warm in facts["warm"]
        ]
    return "\n\n".join(
        [
            "## Synthetic libraries",
            table(
                ["library", "rows written", "indexed", "index, each", "catalog, each"],
                libraries,
            ),
            "A whole `mmsearch query` process:",
            table(["library", "network", "wall", "range", "CPU", "peak memory"], cold),
            _QUESTIONS,
            table(["library", "filter", "rows", "recall@10", "a second", "p50", "p99"], filters),
        ]
    )


def against_rclip(found: dict[str, Facts]) -> str:
    """Return the section on rclip."""
    queries, files = [], []
    for facts in _numbered(found, "rclip-query"):
        theirs = facts["rclip"]
        for name, ratio in facts.get("ratios", {"mmsearch": facts["ratio"]}).items():
            ours = facts[name]
            queries.append(
                [
                    f"{facts['rows']:,}{name.removeprefix('mmsearch')}",
                    seconds(ours["wall"]),
                    size(ours["peak"]),
                    seconds(theirs["wall"]),
                    size(theirs["peak"]),
                    f"{ratio:.3f}",
                ]
            )
    steps = [(facts, "unchanged rescan") for facts in _numbered(found, "rclip-rescan")]
    steps += [(facts, "renamed folder") for facts in _numbered(found, "rclip-rename")]
    for facts, step in steps:
        of = f" {facts['renamed']:,} of" if "renamed" in facts else ""
        files.append(
            [
                f"{step},{of} {facts['files']:,} files",
                seconds(facts["mmsearch"]["wall"]),
                seconds(facts["rclip_seconds"]),
                f"{facts['ratio']:.1f}",
            ]
        )
    if not queries:
        return ""
    header = ["pictures", "mmsearch", "peak", "rclip", "peak", "ratio of times"]
    parts = ["## Against rclip 3.3", "A whole query process:", table(header, queries)]
    if files:
        parts += [
            "Looking for changes; nothing was encoded. Of rclip, its query is taken off:",
            table(["step", "mmsearch", "rclip", "times as fast"], files),
        ]
    return "\n\n".join(parts)


def against_ann(found: Sequence[Facts]) -> str:
    """Return the section on hnswlib and usearch."""
    if not found:
        return ""
    parts = ["## Against hnswlib and usearch"]
    for facts in found:
        ordered = sorted(facts["points"], key=lambda point: (point["tool"], point["recall"]))
        points = [
            [
                point["tool"],
                point["setting"],
                f"{point['recall']:.4f}",
                f"{point['single']:.0f}",
                f"{point['batched']:.0f}",
            ]
            for point in ordered
        ]
        parts.append(f"{facts['rows']:,} vectors, one thread, {facts['queries']} questions:")
        header = ["tool", "setting", "recall@10", "a second, one at a time", "32 at once"]
        parts.append(table(header, points))
        parts.append("\n".join(_compared(fact) for fact in facts["compared"]))
        built = [
            f"{peer['tool']} {seconds(peer['build_seconds'])} ({size(peer['bytes'])})"
            for peer in facts["peers"]
            if peer["build_seconds"]
        ]
        own = seconds(facts["index_seconds"])
        parts.append(f"Index built: mmsearch {own} on all cores; by one thread {', '.join(built)}.")
    return "\n\n".join(parts)


def _compared(fact: Facts) -> str:
    place = f"- {fact['setting']}, at recall {fact['recall']:.4f}: "
    if not fact["peer_reaches"]:
        return f"{place}{fact['peer']} does not get there at any setting"
    return (
        f"{place}{fact['single_ratio']:.2f} of {fact['peer']}'s speed one at a time, "
        f"{fact['batched_ratio']:.2f} 32 at once"
    )


def growth(facts: Facts | None) -> str:
    """Return the section on growth."""
    if facts is None:
        return ""
    return "\n\n".join(
        [
            "## As the library grows",
            _EXPONENT,
            growth_table(facts["costs"]),
        ]
    )


def projection(found: Sequence[Facts]) -> str:
    """Return the arithmetic for tens of millions, from the largest library of each kind."""
    largest: dict[str, Facts] = {facts["index"]["kind"]: facts for facts in found}
    largest = {kind: facts for kind, facts in largest.items() if facts["rows"] >= 100_000}
    if not largest:
        return ""
    rows = []
    for kind, facts in largest.items():
        count, disk, build = facts["rows"], facts["disk"], facts["build"]
        for projected in PROJECTED:
            more = projected / count
            rows.append(
                [
                    f"{projected:,}, {kind}",
                    f"{count:,}",
                    size(disk["index"] * more),
                    size(disk["catalog"] * more),
                    f"{build['write_seconds'] * more / 60:.0f} min",
                    f"{build['index_seconds'] * more / 60:.0f} min",
                ]
            )
    return "\n\n".join(
        [
            "## Tens of millions, by arithmetic",
            _ARITHMETIC,
            table(["pictures", "measured at", "index", "catalog", "rows written", "indexed"], rows),
        ]
    )


def read() -> dict[str, Facts]:
    """Return every result by its name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))}


def _numbered(found: dict[str, Facts], name: str) -> list[Facts]:
    """Return the results called `name-NUMBER` or `name-NUMBER-VARIANT`, by number."""
    pattern = re.compile(rf"{name}-(\d+)(-.*)?")
    chosen = [(match, facts) for key, facts in found.items() if (match := pattern.fullmatch(key))]
    chosen.sort(key=lambda pair: (int(pair[0][1]), pair[0][2] or ""))
    return [facts for _, facts in chosen]


def _library(facts: Facts) -> str:
    cold = ", cold page cache" if facts["page_cache"] == "cold" else ""
    return f"{facts['rows']:,}, {facts['index']['kind']}{cold}"


def _range(summary: Facts) -> str:
    return f"{seconds(summary['wall_min'])} to {seconds(summary['wall_max'])}"


def write(path: Path = PAGE) -> None:
    """Write the page."""
    path.write_text(page(read()), encoding="utf-8")


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description="Make the page of results.")
    parser.add_argument("--print", action="store_true", help="print it instead of writing it")
    asked = parser.parse_args()
    if not any(RESULTS.glob("*.json")):
        parser.error("there are no results yet; run the benchmarks first: make bench")
    if asked.print:
        say(page(read()))
    else:
        write()


if __name__ == "__main__":
    main()
