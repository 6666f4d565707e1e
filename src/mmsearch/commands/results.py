"""What the answers of a query look like on stdout: lines, JSON, CSV, paths.

Everything is bytes, because a file name need not be text.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.commands.plain_query import Flags
    from mmsearch.core import Hit, Item
    from mmsearch.retrieval.details import Details
    from mmsearch.retrieval.ordering import Group

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What is printed for one question.

    `details` by item, for the forms that have a place for them; `groups` instead of one list
    when they were asked for; `marked`: weak answers are to be told from others.
    """

    hits: "Sequence[Hit]"
    details: "Mapping[int, Details]" = field(default_factory=dict)
    groups: "Sequence[Group] | None" = None
    marked: bool = False
    explanation: Mapping[str, object] | None = None

    def parts(self) -> "Iterator[tuple[str | None, Sequence[Hit]]]":
        """Yield the name and the hits of each group; all hits without a name when none is."""
        if self.groups is None:
            yield None, self.hits
        else:
            yield from ((group.name, group.hits) for group in self.groups)


def asked_form(flags: "Flags") -> Form:
    """Return how answers are to be printed. Raises InputError when that is said twice."""
    chosen = [
        form
        for form, wanted in [
            (Form.JSON, flags.as_json),
            (Form.CSV, flags.as_csv),
            (Form.NUL, flags.null),
            (Form.PATHS, flags.paths and not flags.null),
        ]
        if wanted
    ]
    if len(chosen) > 1:
        raise InputError(f"--{chosen[0]} and --{chosen[1]} exclude each other; give one of them")
    return chosen[0] if chosen else Form.LINES


def single(answer: Answer, form: Form) -> bytes:
    """Return the output for one question."""
    match form:
        case Form.JSON:
            whole: object = _records(answer)
            if answer.explanation is not None:
                whole = {"hits": whole, "explanation": answer.explanation}
            return _encoded(json.dumps(whole, indent=2) + "\n")
        case Form.CSV:
            return csv_header(answer) + _csv_rows(list(_csv_body(answer)))
        case _:
            return b"".join(_rows(answer, form))


def several(question: str, answer: Answer, form: Form) -> bytes:
    """Return the output for one of several questions, which is named in every line."""
    match form:
        case Form.JSON:
            record: dict[str, object] = {"query": question, "hits": _records(answer)}
            if answer.explanation is not None:
                record["explanation"] = answer.explanation
            return _encoded(json.dumps(record) + "\n")
        case Form.CSV:
            return _csv_rows([[question, *row] for row in _csv_body(answer)])
        case Form.LINES:
            name = b"\t" + _encoded(one_line(question)) + b"\n"
            return b"".join(row[:-1] + name for row in _rows(answer, form))
        case _:
            return b"".join(_rows(answer, form))


def failed(question: str, reason: str, form: Form) -> bytes:
    """Return the output for one of several questions that could not be asked.

    Only JSON has a place for it: an object a question, whatever comes of it.
    """
    if form is not Form.JSON:
        return b""
    return _encoded(json.dumps({"query": question, "hits": [], "error": reason}) + "\n")


def csv_header(answer: Answer, *, named: bool = False) -> bytes:
    """Return the first line of CSV; `named` has the question as its first column."""
    columns = ["rank", "score", "id", "modality", "path", "text"]
    columns += ["weak"] if answer.marked else []
    columns += ["group"] if answer.groups is not None else []
    return _csv_rows([["query", *columns] if named else columns])


def one_line(text: str) -> str:
    """Return the text as one line that steers no terminal: what would is an escape."""
    return text.translate(_CONTROL)


def score_text(hit: "Hit") -> str:
    """Return the score with three digits, and a question mark when it is no better than chance."""
    return f"{hit.score:.3f}{'?' if hit.weak else ''}"


def _rows(answer: Answer, form: Form) -> Iterator[bytes]:
    for name, hits in answer.parts():
        if name is not None and form is Form.LINES:
            yield _encoded(one_line(name) + "\n")
        for hit in hits:
            if form is Form.LINES:
                yield _encoded(f"{score_text(hit)}\t{one_line(_name(hit.item))}\n")
            elif form is Form.NUL:
                yield _raw(hit.item) + b"\0"
            else:
                yield _raw(hit.item) + b"\n"


def _name(item: "Item") -> str:
    return item.text or "" if item.path is None else item.path


def _raw(item: "Item") -> bytes:
    return _encoded(item.text or "") if item.path is None else os.fsencode(item.path)


def _records(answer: Answer) -> list[dict[str, object]]:
    records = []
    for name, hits in answer.parts():
        for hit in hits:
            record = _record(hit) | _known(answer, hit)
            record |= {"weak": hit.weak} if answer.marked else {}
            record |= {} if name is None else {"group": name}
            records.append(record)
    return records


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


def _known(answer: Answer, hit: "Hit") -> dict[str, object]:
    """Return what is known beside the score; keys of what is not are left out."""
    details = answer.details.get(hit.item.id)
    if details is None:
        return {}
    found: dict[str, object] = {}
    if details.date is not None:
        found["date"] = details.date.isoformat(timespec="seconds")
    if details.photo is not None:
        found |= {"width": details.photo.width, "height": details.photo.height}
        found |= {"camera": details.photo.camera} if details.photo.camera else {}
    found |= {"labels": list(details.labels)} if details.labels else {}
    found |= {"captions": list(details.captions)} if details.captions else {}
    return found


def _csv_body(answer: Answer) -> Iterator[list[object]]:
    for name, hits in answer.parts():
        for hit in hits:
            weak = ["yes" if hit.weak else "no"] if answer.marked else []
            yield [*_csv_row(hit), *weak, *([] if name is None else [name])]


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
