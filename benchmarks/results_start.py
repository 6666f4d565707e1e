"""The sections of the results on starting: where a query's time goes, the core's size, a peer."""

from collections.abc import Mapping, Sequence

from measuring import Facts, seconds, size, table

_WHERE = """Median steps of a whole `mmsearch query` process, ViT-B/32; they add up to its life
with clocks between its parts. What holds the interpreter (reading the tokenizer, importing FAISS)
is done beside the network's loading and running: these steps are shorter than their parts."""
_LEAST = """The least is a process that only imports NumPy and ONNX Runtime, loads the same network
and runs it once on the same number of tokens: no library, no tokenizer, no search."""
_NETWORKS = """In 32 bits, by ONNX Runtime on all processors, of random weights except `mini`: the
speed that the network leaves for everything else. Pictures in batches of eight."""
_INSTALLED = """The wheel installed with pip into an empty environment, without extras:"""
_PEER = """The same randomly initialised CLIP ViT-B/32 at 224 pixels, ours converted from theirs.
Their pictures a second leave out loading the model; ours are those of a whole `mmsearch index`
process with its library on disk. A query is a whole process: theirs loads saved vectors."""


def starting(found: Mapping[str, Facts]) -> str:
    """Return what there is of these sections."""
    where = [facts for name, facts in sorted(found.items()) if name.startswith("where-query-")]
    parts = [
        _steps(sorted(where, key=lambda facts: int(facts["rows"]))),
        _networks(found.get("architectures")),
        _core(found.get("core-install")),
        _peer(found.get("sentence-transformers")),
    ]
    return "\n\n".join(part for part in parts if part)


def _steps(found: Sequence[Facts]) -> str:
    if not found:
        return ""
    names = list(found[0]["steps"])
    rows = [[name, *(_share(facts, name) for facts in found)] for name in names]
    rows += [
        ["together", *(seconds(sum(facts["steps"].values())) for facts in found)],
        ["without clocks", *(seconds(facts["wall"]) for facts in found)],
        ["the least", *(seconds(facts["least"]) for facts in found)],
        ["the network alone, loaded and warm", *(seconds(f["network"]) for f in found)],
    ]
    header = ["step", *(f"{facts['rows']:,} pictures" for facts in found)]
    return "\n\n".join(["## Where the time of a query goes", _WHERE, table(header, rows), _LEAST])


def _share(facts: Facts, name: str) -> str:
    spent = facts["steps"][name]
    return f"{seconds(spent)} ({spent / sum(facts['steps'].values()):.0%})"


def _networks(facts: Facts | None) -> str:
    if facts is None:
        return ""
    rows = [
        [
            name,
            f"{each['side']}",
            f"{each['dim']}",
            size(each["image_bytes"] + each["text_bytes"]),
            f"{each['images_a_second']:.1f}",
            f"{seconds(each['sentence'])} ({each['tokens']})",
        ]
        for name, each in facts["found"].items()
    ]
    header = ["network", "side", "dimensions", "on disk", "pictures a second", "sentence (tokens)"]
    return "\n\n".join(["## Networks to choose between", _NETWORKS, table(header, rows)])


def _core(facts: Facts | None) -> str:
    if facts is None:
        return ""
    weights = list(facts["weights"].items())
    rows = [
        *([name, size(count)] for name, count in weights[:8]),
        [f"{len(weights) - 8} others", size(sum(count for _, count in weights[8:]))],
        ["all without FAISS", size(facts["rest"])],
        ["the same without compiled modules", size(facts["rest"] - facts["compiled"])],
        ["FAISS", size(facts["faiss"])],
    ]
    spent = f"Installed in {seconds(facts['seconds'])}; a first query takes "
    spent += f"{seconds(facts['query']['wall'])} and {size(facts['query']['peak'])}."
    return "\n\n".join(["## The core alone", _INSTALLED, table(["package", "size"], rows), spent])


def _peer(facts: Facts | None) -> str:
    if facts is None:
        return ""
    encoding, queries = facts["encoding"], facts["queries"]
    peer = "sentence-transformers"
    rows = [
        [
            f"pictures a second, {encoding['photos']} of 640x480",
            f"{encoding['ours']:.1f}",
            f"{encoding['theirs']:.1f}",
        ],
        ["peak memory of that", size(encoding["mmsearch"]["peak"]), size(encoding[peer]["peak"])],
        [
            f"a query of {queries['rows']:,}",
            seconds(queries["mmsearch"]["wall"]),
            seconds(queries[peer]["wall"]),
        ],
        ["peak memory of that", size(queries["mmsearch"]["peak"]), size(queries[peer]["peak"])],
    ]
    title = f"## Against {peer} {facts['version']}"
    return "\n\n".join([title, _PEER, table(["", "mmsearch", peer], rows)])
