"""Give and take the labels of items: by hand, or from a file.

Labels are compared without regard to case, so that `Beach` and `beach` are one: the library's
first spelling holds. Each call is one transaction.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from mmsearch.conditions import Condition
from mmsearch.core import Ids, Modality
from mmsearch.errors import InputError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import LabelChange, LabelSource
from mmsearch.retrieval.captions import Problem
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.label_files import LabelRow, read_label_file

LONGEST_LABEL: Final = 200


@dataclass(slots=True)
class LabelReport:
    """What came of a call: how many items it was about, labels given and taken, rows left out."""

    items: int = 0
    given: int = 0
    taken: int = 0
    problems: list[Problem] = field(default_factory=list)


def clean_label(text: str) -> str:
    """Return a label as it is kept: NFC, each run of white space one space, none around it.

    Raises InputError when nothing is left, when it is longer than 200 characters, holds a
    control character, or is not valid Unicode.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the label {ascii(text)[:60]} is not valid Unicode") from error
    label = unicodedata.normalize("NFC", " ".join(text.split()))
    if not label:
        raise InputError("a label is empty; give it a name")
    if len(label) > LONGEST_LABEL:
        raise InputError(
            f"the label {label[:40]!r}... has {len(label)} characters; {LONGEST_LABEL} are the most"
        )
    if any(unicodedata.category(sign) == "Cc" for sign in label):
        raise InputError(f"the label {ascii(label)[:60]} holds a control character; leave it out")
    return label


def chosen(catalog: Catalog, named: Sequence[AnyPath | int], where: Condition | None = None) -> Ids:
    """Return the sorted ids of the items that are named, and of these those a condition chooses.

    A number is an id; a path stands for the picture there, for all below a folder, or for the
    sentences of a file. With a condition and no name, all items that it holds for. Raises
    InputError for an id that the library does not have, a path at which it holds nothing, and
    a condition that makes no sense.
    """
    ids = _named(catalog, named)
    if where is None:
        return ids
    from mmsearch.index.where.select import select

    fitting = np.concatenate([select(catalog, where, modality).ids for modality in Modality])
    return np.sort(np.intersect1d(ids, fitting) if named else fitting)


def label(
    catalog: Catalog, ids: Ids, *, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> LabelReport:
    """Give labels to some items and take labels away, in one transaction.

    A label that is both given and taken is given. Needs a catalog open for writing. Raises
    InputError for a text that is no label.
    """
    given = [clean_label(text) for text in add]
    taken = [clean_label(text) for text in remove]
    return _apply(catalog, {int(number): given for number in ids}, taken)


def label_from(catalog: Catalog, file: Path) -> LabelReport:
    """Give the labels that a file lists, in one transaction; see `read_label_file`.

    Rows that cannot be read or match no item are problems, each with its line. Needs a catalog
    open for writing. Raises DataError when the file cannot be read.
    """
    rows: list[LabelRow] = []
    problems: list[Problem] = []
    for found in read_label_file(file):
        if isinstance(found, Problem):
            problems.append(found)
        elif found.labels:
            rows.append(found)
    wanted: dict[int, list[str]] = {}
    for row, number in zip(rows, _items_of(catalog, rows), strict=True):
        if number is None:
            problems.append(Problem(row.where, f"the library has no {_meant(row)}"))
            continue
        for text in row.labels:
            try:
                wanted.setdefault(number, []).append(clean_label(text))
            except InputError as error:
                problems.append(Problem(row.where, str(error)))
    report = _apply(catalog, wanted, ())
    report.problems = sorted(problems, key=_line)
    return report


def _apply(catalog: Catalog, wanted: dict[int, list[str]], taken: Sequence[str]) -> LabelReport:
    """Write what differs from the labels there are, and count it."""
    report = LabelReport(items=len(wanted))
    spellings = {name.casefold(): name for name in reversed(attributes.label_counts(catalog))}
    unwanted = {name.casefold() for name in taken}
    there = attributes.labels(catalog, list(wanted))
    changes: list[LabelChange] = []
    for number, names in wanted.items():
        given = {n.casefold(): spellings.setdefault(n.casefold(), n) for n in names}
        held = {each.name.casefold(): each for each in there.get(number, ())}
        for key, name in given.items():
            if key not in held or held[key].source is not LabelSource.USER:
                kept = held[key].name if key in held else name
                changes.append(LabelChange(number, kept, LabelSource.USER, None))
                report.given += 1
        for each in there.get(number, ()):
            if each.name.casefold() in unwanted - given.keys():
                changes.append(LabelChange(number, each.name, LabelSource.USER, None, remove=True))
                report.taken += 1
    if changes:
        attributes.set_labels(catalog, changes)
    return report


def _named(catalog: Catalog, named: Sequence[AnyPath | int]) -> Ids:
    from mmsearch.retrieval.forget import find

    numbers = [one for one in named if isinstance(one, int)]
    there = catalog.items(numbers)
    for number in numbers:
        if number not in there:
            raise InputError(f"the library has no item {number}; `mmsearch query --json` shows ids")
    paths = [one for one in named if not isinstance(one, int)]
    held = {*numbers}
    for holding in find(catalog, paths):
        held.update(holding.images, holding.texts)
    return np.array(sorted(held), dtype=np.int64)


def _items_of(catalog: Catalog, rows: Sequence[LabelRow]) -> list[int | None]:
    """Return the item of each row, None where the library has none."""
    from mmsearch.retrieval.locating import locate

    there = catalog.items([row.id for row in rows if row.id is not None])
    found = iter(locate(catalog, [row.entry for row in rows if row.entry is not None]))
    return [next(found) if row.id is None else row.id if row.id in there else None for row in rows]


def _meant(row: LabelRow) -> str:
    return f"item {row.id}" if row.entry is None else f"picture {row.entry.names[0]}"


def _line(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])
