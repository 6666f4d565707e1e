"""Sentences to index, from a file that the user wrote: text, CSV or JSONL."""

import csv
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import Problem
from mmsearch.retrieval.captions.csv_rows import read_record
from mmsearch.retrieval.captions.lines import is_text, read_lines

COLUMNS: Final = ("caption", "text", "sentence", "captions", "texts", "sentences")

_Line: TypeAlias = tuple[int, str | Problem]


@dataclass(frozen=True, slots=True)
class Sentences:
    """What a file holds, in its order: NFC, stripped, none empty; each sentence once.

    `problems` are the lines that were left out.
    """

    texts: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_sentences(file: Path) -> Sentences:
    """Read the sentences of a file; its suffix tells the layout.

    `.csv` and `.tsv`: a header with a column caption, text or sentence (a single column may
    have any name). `.jsonl` and `.ndjson`: a line is a string, or an object whose caption,
    text or sentence is a string or a list of strings. Anything else: a sentence a line.
    Raises DataError when the file cannot be read or has no such column.
    """
    match file.suffix.lower():
        case ".csv" | ".tsv":
            lines = _csv(file)
        case ".jsonl" | ".ndjson":
            lines = _jsonl(file)
        case _:
            lines = iter(read_lines(file))
    texts: dict[str, None] = {}
    problems: list[Problem] = []
    for number, line in lines:
        where = f"{file}:{number}"
        if isinstance(line, Problem):
            problems.append(line)
        elif not is_text(line):
            problems.append(Problem(where, "bytes that are not UTF-8"))
        elif "\0" in line:
            problems.append(Problem(where, "a NUL character; is this a text file?"))
        elif clean := unicodedata.normalize("NFC", " ".join(line.split())):
            texts[clean] = None
    return Sentences(tuple(texts), tuple(problems))


def _csv(file: Path) -> Iterator[_Line]:
    lines = [line for _, line in read_lines(file)]
    if not any(line.strip() for line in lines):
        return
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    names = [name.strip().lower() for name in next(csv.reader([lines[0]], delimiter=delimiter))]
    column = next((names.index(name) for name in COLUMNS if name in names), None)
    if column is None and len(names) > 1:
        raise DataError(
            f"{file}:1: no column with sentences; name one of the header's columns "
            f"caption, text or sentence (it has {', '.join(names)[:60]})"
        )
    start = 1
    while start < len(lines):
        number = start + 1
        cells, used = read_record(lines, start, delimiter)
        start += used
        if cells is None:
            yield number, Problem(f"{file}:{number}", "a quote is opened and not closed properly")
        elif len(cells) > len(names):
            reason = f"{len(cells)} cells where the header has {len(names)}; quote sentences"
            yield number, Problem(f"{file}:{number}", f"{reason} that hold {delimiter!r}")
        elif len(cells) > (column or 0):
            yield number, cells[column or 0]


def _jsonl(file: Path) -> Iterator[_Line]:
    for number, line in read_lines(file):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line)
        except (ValueError, RecursionError):
            yield number, Problem(f"{file}:{number}", "not JSON")
            continue
        yield from ((number, text) for text in _json_texts(value, f"{file}:{number}"))


def _json_texts(value: object, where: str) -> Iterator[str | Problem]:
    if isinstance(value, dict):
        value = next((value[key] for key in COLUMNS if key in value), None)
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str):
            yield text
        else:
            yield Problem(where, "no string under caption, text or sentence")
