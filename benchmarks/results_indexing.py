"""The section of the results on indexing: against rclip, where the time goes, memory, drift."""

from collections.abc import Mapping, Sequence

from measuring import Facts, seconds, size, table

_AGAINST = """From an empty library, the same randomly initialised ViT-B/32 at 256 pixels, drawn
JPEGs, in turn. A run without anything to index is taken off both: of rclip, a query alone; of ours,
a second `index`. Memory is the largest sum over all processes of a tool:"""
_STAGES = """Where the time of those runs went, as `index -v` says it. Stages go on side by side:
decoding and preprocessing in seconds of a processor, the network summed over batches that are
encoded at once:"""
_LIMITS = """The limits in pictures a second: the network alone on pictures that are ready, and the
decoder (with resizing) alone on one processor:"""
_SHOWN = ("total", "scan", "read", "decode", "preprocess", "encode", "commit")


def indexing(found: Mapping[str, Facts]) -> str:
    """Return what there is of the section."""
    compared = [facts for name, facts in sorted(found.items()) if name.startswith("rclip-index-")]
    compared.sort(key=lambda facts: (int(facts["pixels"][0]), int(facts["bytes"])))
    grown = [facts for name, facts in sorted(found.items()) if name.startswith("index-growth-")]
    parts = [_compared(compared), *map(_growth, grown), _drift(found.get("drift"))]
    if not any(parts):
        return ""
    return "\n\n".join(["## Indexing", *(part for part in parts if part)])


def _compared(found: Sequence[Facts]) -> str:
    if not found:
        return ""
    rates = [
        [
            f"{_kind(facts)} a file",
            name if name == "rclip" else f"mmsearch, {name}",
            f"{facts['rates'][name]:.1f}",
            f"{facts['ratios'][name]:.2f}",
            size(facts[name]["peak"]),
        ]
        for facts in found
        for name in facts["rates"]
    ]
    stages = [
        [f"{_kind(facts)}, {name}", *(seconds(spent[stage]) for stage in _SHOWN)]
        for facts in found
        for name, spent in facts["stages"].items()
    ]
    limits = [
        [f"{_kind(facts)}, {name}", f"{limit['network']:.1f}", f"{limit['decoder']:.1f}"]
        for facts in found
        for name, limit in facts["limits"].items()
    ]
    header = ["pictures", "tool", "a second", "times rclip", "peak"]
    return "\n\n".join(
        [
            *(_AGAINST, table(header, rates)),
            *(_STAGES, table(["pictures", *_SHOWN], stages)),
            *(_LIMITS, table(["pictures", "network", "decoder"], limits)),
        ]
    )


def _kind(facts: Facts) -> str:
    width, height = facts["pixels"]
    return f"{width} x {height}, {size(facts['bytes'])}"


def _growth(facts: Facts) -> str:
    rows = [
        [f"{int(count):,}", seconds(run["wall"]), size(run["peak"])]
        for count, run in facts["runs"].items()
    ]
    head = (
        f"Memory does not follow the number of pictures (small ones, the model {facts['model']}):"
    )
    return f"{head}\n\n{table(['pictures', 'time', 'peak'], rows)}"


def _drift(facts: Facts | None) -> str:
    if facts is None:
        return ""
    rows = [
        [name, f"{one['photos']}", *(f"{one[of]:.5f}" for of in ("mean", "p95", "largest"))]
        for name, one in facts["models"].items()
    ]
    head = "1 - cosine between scaled and full decoding of enlarged photos, by their short side:"
    return f"{head}\n\n{table(['model', 'photos', 'mean', '95 %', 'largest'], rows)}"
