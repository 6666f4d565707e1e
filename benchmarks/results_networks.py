"""The section of the results on networks by themselves: full precision and 8 bits."""

from collections.abc import Mapping

from measuring import Facts, seconds, size, table

_INTRODUCTION = """ViT-B/32 at 256 pixels, randomly initialised, on all cores: items a second of the
bare networks, and whole processes that load the text tower for one sentence. What the 8-bit
networks lose is measured for each model when it is added; that of a network that has learnt
nothing says little."""


def networks(facts: Facts | None) -> str:
    """Return the section; nothing when it was not measured."""
    if facts is None:
        return ""
    cold: Mapping[str, Facts] = facts["cold"]
    rows = [
        [f"{tower}s a second, {batch} at once", *(f"{rates[name]:.1f}" for name in cold)]
        for tower, batches in facts["rates"].items()
        for batch, rates in batches.items()
    ]
    rows.append(["a process for one sentence", *(seconds(run["wall"]) for run in cold.values())])
    rows.append(["its peak memory", *(size(run["peak"]) for run in cold.values())])
    parts = ["## Networks by themselves", _INTRODUCTION, table(["", *cold], rows)]
    return "\n\n".join([*parts, *_checked(facts["figures"])])


def _checked(figures: Mapping[str, Facts]) -> list[str]:
    """Return a line for each 8-bit network: its recipe and the figures of its check."""
    return [
        f"The {tower} network in 8 bits ({kept['recipe']}): mean cosine {kept['cosine']:.4f}, "
        f"{kept['neighbours']:.0%} of the nearest stay, {size(kept['bytes'])}."
        for tower, kept in figures.items()
        if kept.get("kept")
    ]
