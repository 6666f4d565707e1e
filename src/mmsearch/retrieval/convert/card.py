"""The README of an added model, and what the README of its source says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mmsearch.retrieval.description import Facts, ModelDescription

_CARD: Final = "README.md"
_CARD_BYTES: Final = 1 << 20
_FRONT_MATTER: Final = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_ENTRY: Final = re.compile(r"([A-Za-z_]\w*):[ \t]*(.*)")
_LISTED: Final = re.compile(r"\s*-[ \t]+(.*)")
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class HubFacts:
    """What a hub's card states of a model: its licence, and what it was trained on."""

    licence: str = ""
    data: Facts = field(default_factory=dict)


def hub_facts(directory: Path | None) -> HubFacts:
    """Return what the front matter of the README in `directory` states; nothing without one."""
    if directory is None:
        return HubFacts()
    try:
        with (directory / _CARD).open("rb") as stream:
            text = stream.read(_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return HubFacts()
    entries = _front_matter(text)
    licence = _joined(entries.get("license", []))
    named = [*entries.get("license_name", []), *entries.get("license_link", [])]
    if licence.lower() in {"", "other"} and named:
        licence = " ".join(named)
    data = {"datasets": _joined(entries["datasets"])} if entries.get("datasets") else {}
    return HubFacts(_line(licence), data)


def _front_matter(text: str) -> dict[str, list[str]]:
    """Return the plain entries and lists of plain entries of a card's front matter.

    A part of YAML: keys of the first level, scalars, and lists in either notation.
    """
    found = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    entries: dict[str, list[str]] = {}
    key = ""
    for line in found.group(1).split("\n") if found else ():
        entry, listed = _ENTRY.fullmatch(line), _LISTED.fullmatch(line)
        if entry is not None:
            key = entry.group(1)
            value = entry.group(2).strip()
            values = value[1:-1].split(",") if value.startswith("[") else [value]
            entries[key] = [plain for each in values if (plain := _unquoted(each))]
        elif listed is not None and key:
            entries[key].append(_unquoted(listed.group(1)))
    return entries


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _joined(values: list[str]) -> str:
    return ", ".join(values)


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def render_added_card(description: ModelDescription, agreement: Mapping[str, Any]) -> str:
    """Return the README of an added model: where it is from, how exactly it was taken over.

    `agreement` is what `check_source` returns; empty: nothing was compared.
    """
    name = description.name
    parts = [
        f"# {_cell(name)}",
        (
            "A joint embedding space of pictures and sentences, "
            f"{description.space.dim} dimensions, taken over by `mmsearch models add`."
        ),
        f'```\nmmsearch index PHOTOS --model {name}\nmmsearch query "a sentence"\n```',
        "## Source",
        _table({**description.source, **description.data}),
        "## Agreement",
        _agreement(agreement),
        "## Licence",
        _cell(description.licence)
        or "Not stated by the source; look there before the weights are passed on.",
        "## Removal",
        f"`mmsearch models remove {name}` deletes this folder. Libraries indexed with it stay.",
    ]
    return "\n\n".join(parts) + "\n"


def _agreement(figures: Mapping[str, Any]) -> str:
    if not figures:
        return "Not compared with the source library."
    lines = ["This folder against the source library's own pipeline, at the worst sample:", ""]
    for name in ("image", "text"):
        tower = figures[name]
        lines.append(
            f"- {name} tower, {tower['samples']} samples: cosine {tower['cosine']:.6f}, around "
            f"the mean {tower['centred_cosine']:.6f}; alone or in a batch within "
            f"{tower['alone']:.0e}"
        )
    lines.append(f"- neighbours change places by at most {figures['inversion']:.0e}")
    return "\n".join(lines)


def _table(facts: Facts) -> str:
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
