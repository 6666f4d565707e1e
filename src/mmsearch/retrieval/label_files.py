"""Labels in a file beside the pictures: CSV with a header, or JSON lines."""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import Problem
from mmsearch.retrieval.captions.collect import usual_places
from mmsearch.retrieval.captions.csv_rows import IMAGE_COLUMNS, read_record
from mmsearch.retrieval.captions.lines import is_text, read_lines
from mmsearch.retrieval.captions.listed import Entry

LABEL_COLUMNS: Final = ("label", "labels", "keyword", "keywords", "tag", "tags")
ID_COLUMN: Final = "id"
_DELIMITERS: Final = ",;\t|"
_SEPARATOR: Final = re.compile("[;|]")
_MOST_DIGITS: Final = 18  # of an id: SQLite's have no more than 19


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One item's labels as a file has them: by the item's id, else by the name of its picture."""

    where: str
    labels: tuple[str, ...]
    id: int | None = None
    entry: Entry | None = None


def read_label_file(file: Path) -> Iterator[LabelRow | Problem]:
    """Yield the rows of a file, or what is wrong with one; the suffix tells the layout.

    `.jsonl` and `.ndjson`: an object a line. Anything else: CSV whose header, in any order, has
    `path`, `file` or `image` (and some other names), or `id`, and `label`, `labels`, `keywords`
    or `tags`. Labels in one cell are parted by `;` or `|`. Names are relative to the file's
    folder. A row without a label is passed over. Raises DataError when the file cannot be read,
    or has no such header.
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 - links stay: names are beside the link
    rows = _jsonl(path) if path.suffix.lower() in {".jsonl", ".ndjson"} else _csv(path)
    places = tuple(dict.fromkeys(usual_places((path.parent,))))
    for row in rows:
        yield row if isinstance(row, Problem) else _row(row, places)


@dataclass(frozen=True, slots=True)
class _Raw:
    """What a line says, as text: an id, a name, the labels."""

    where: str
    id: str
    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Header:
    delimiter: str
    names: tuple[str, ...]
    id: int | None
    image: int | None
    label: int


def _csv(file: Path) -> Iterator[_Raw | Problem]:
    lines = [line for _, line in read_lines(file)]
    if not any(line.strip() for line in lines):
        return
    header = _header(lines[0], file)
    start = 1
    while start < len(lines):
        where = f"{file}:{start + 1}"
        cells, used = read_record(lines, start, header.delimiter)
        start += used
        if cells is None:
            yield Problem(where, "a quote is opened and not closed properly")
        elif any(cell.strip() for cell in cells):
            yield _record(cells, header, where)


def _header(line: str, file: Path) -> _Header:
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader([line], delimiter=delimiter))
        except csv.Error:  # a line too long for any header
            break
        names = tuple(name.strip().lower() for name in cells)
        image = next((names.index(name) for name in IMAGE_COLUMNS if name in names), None)
        number = names.index(ID_COLUMN) if ID_COLUMN in names else None
        label = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
        if label is not None and (image is not None or number is not None):
            return _Header(delimiter, names, number, image, label)
    raise DataError(
        f"{file}:1: no header with an item and a label; the first line must be like path,label or "
        f"id,labels and is {line.strip()[:60]!r}"
    )


def _record(cells: Sequence[str], header: _Header, where: str) -> _Raw | Problem:
    if len(cells) > len(header.names):
        reason = f"{len(cells)} cells where the header has {len(header.names)}; quote what holds"
        return Problem(where, f"{reason} {header.delimiter!r}")

    def cell(column: int | None) -> str:
        return cells[column].strip() if column is not None and column < len(cells) else ""

    return _Raw(where, cell(header.id), cell(header.image), (cell(header.label),))


def _jsonl(file: Path) -> Iterator[_Raw | Problem]:
    for number, line in read_lines(file):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            value: object = json.loads(line)
        except (ValueError, RecursionError):
            yield Problem(where, "not JSON")
            continue
        yield _object(value, where)


def _object(value: object, where: str) -> _Raw | Problem:
    if not isinstance(value, dict):
        return Problem(where, 'no object such as {"path": "a.jpg", "labels": ["beach"]}')
    given = next((value[name] for name in LABEL_COLUMNS if name in value), ())
    labels = given if isinstance(given, list | tuple) else (given,)
    name = next((value[name] for name in IMAGE_COLUMNS if name in value), "")
    number = value.get(ID_COLUMN, "")
    if isinstance(number, bool) or not isinstance(number, int | str) or not isinstance(name, str):
        return Problem(where, "an id is a whole number and a path a text")
    if not all(isinstance(label, str) for label in labels):
        return Problem(where, "no text, or list of texts, as labels")
    return _Raw(where, str(number), name, tuple(labels))


def _row(raw: _Raw, places: tuple[Path, ...]) -> LabelRow | Problem:
    parted = (part.strip() for cell in raw.labels for part in _SEPARATOR.split(cell))
    labels = tuple(dict.fromkeys(filter(None, parted)))
    if not all(map(is_text, (raw.name, *labels))):
        return Problem(raw.where, "bytes that are not UTF-8")
    if raw.id:
        digits = raw.id.isascii() and raw.id.isdigit() and len(raw.id) <= _MOST_DIGITS
        if not digits:
            return Problem(raw.where, f"{raw.id[:60]!r} is no id; an id is a whole number")
        return LabelRow(raw.where, labels, id=int(raw.id))
    if not raw.name or "\0" in raw.name:
        return Problem(raw.where, "no path and no id")
    return LabelRow(raw.where, labels, entry=Entry((raw.name,), places, raw.where))
