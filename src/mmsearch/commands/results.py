"""What the answers of a query look like on stdout: lines, JSON, CSV, paths.

Everything is bytes, because a file name need not be text.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmsearch.core import Hit, Item

# Control characters, line ends, and what turns the direction of the text that follows.
_UNSHOWN = (range(0x20), range(0x7F, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A))
_CONTROL = {n: ascii(chr(n))[1:-1] for numbers in _UNSHOWN for n in numbers}


class Form(StrEnum):
    """How answers are printed. NUL: paths that end with a zero byte."""

    LINES = "lines"
    JSON = "json"
    CSV = "csv"
    PATHS = "paths"
    NUL = "nul"


def single(hits: "Sequence[Hit]", form: Form) -> bytes:
    """Return the output for one question."""
    match form:
        case Form.JSON:
            return _encoded(json.dumps([_record(hit) for hit in hits], indent=2) + "\n")
        case Form.CSV:
            return csv_header() + _csv_rows([_csv_row(hit) for hit in hits])
        case _:
            return b"".join(_rows(hits, form))


def several(question: str, hits: "Sequence[Hit]", form: Form) -> bytes:
    """Return the output for one of several questions, which is named in every line."""
    match form:
        case Form.JSON:
            record = {"query": question, "hits": [_record(hit) for hit in hits]}
            return _encoded(json.dumps(record) + "\n")
        case Form.CSV:
            return _csv_rows([[question, *_csv_row(hit)] for hit in hits])
        case Form.LINES:
            name = b"\t" + _encoded(one_line(question)) + b"\n"
            return b"".join(row[:-1] + name for row in _rows(hits, form))
        case _:
            return b"".join(_rows(hits, form))


def failed(question: str, reason: str, form: Form) -> bytes:
    """Return the output for one of several questions that could not be asked.

    Only JSON has a place for it: an object a question, whatever comes of it.
    """
    if form is not Form.JSON:
        return b""
    return _encoded(json.dumps({"query": question, "hits": [], "error": reason}) + "\n")


def csv_header(*, named: bool = False) -> bytes:
    """Return the first line of CSV; `named` has the question as its first column."""
    columns = ["rank", "score", "id", "modality", "path", "text"]
    return _csv_rows([["query", *columns] if named else columns])


def one_line(text: str) -> str:
    """Return the text as one line that steers no terminal: what would is an escape."""
    return text.translate(_CONTROL)


def _rows(hits: "Sequence[Hit]", form: Form) -> Iterator[bytes]:
    for hit in hits:
        if form is Form.LINES:
            yield _encoded(f"{hit.score:.3f}\t{one_line(_name(hit.item))}\n")
        elif form is Form.NUL:
            yield _raw(hit.item) + b"\0"
        else:
            yield _raw(hit.item) + b"\n"


def _name(item: "Item") -> str:
    return item.text or "" if item.path is None else item.path


def _raw(item: "Item") -> bytes:
    return _encoded(item.text or "") if item.path is None else os.fsencode(item.path)


def _record(hit: "Hit") -> dict[str, object]:
    item = hit.item
    content = {"text": item.text} if item.path is None else {"path": item.path}
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "id": item.id,
        "modality": item.modality.value,
        **content,
    }


def _csv_row(hit: "Hit") -> list[object]:
    item = hit.item
    score = f"{hit.score:.6f}"
    return [hit.rank, score, item.id, item.modality.value, item.path or "", item.text or ""]


def _csv_rows(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return _encoded(text.getvalue())


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
