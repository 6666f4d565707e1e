"""CSV with a header: an image column and a caption column, in any order."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.retrieval.captions.data import SPLIT_NAMES, Found, Problem, Row, Source, split_name
from mmsearch.retrieval.captions.lines import read_lines

SUFFIXES = (".csv", ".tsv")
IMAGE_COLUMNS = ("image", "file_name", "filename", "image_name", "image_path", "path", "file")
CAPTION_COLUMNS = ("caption", "text", "sentence", "comment")
_DELIMITERS = ",;\t|"
_LONGEST = 100  # lines of one quoted record; a quote that stays open longer is a mistake


@dataclass(frozen=True, slots=True)
class _Header:
    delimiter: str
    columns: int
    image: int
    caption: int
    split: int | None


def find_csv(folder: Path) -> list[Source]:
    """Find `captions_{train,dev,test}.csv`, else `captions.csv` and its other names."""
    return find_tables(folder, SUFFIXES) or [
        Source(file) for file in (folder / "captions.txt",) if file.is_file()
    ]


def find_tables(folder: Path, suffixes: tuple[str, ...]) -> list[Source]:
    """Find files by the names that folders of captions use, the ones that name splits first."""
    for suffix in suffixes:
        named = [(folder / f"captions_{split}{suffix}", split) for split in SPLIT_NAMES]
        named += [(folder / split / f"metadata{suffix}", split) for split in SPLIT_NAMES]
        whole = [folder / f"captions{suffix}", folder / f"metadata{suffix}"]
        sources = [Source(file, split_name(split)) for file, split in named if file.is_file()]
        sources = sources or [Source(file) for file in whole if file.is_file()][:1]
        if sources:
            return sources
    return []


def read_csv(source: Source) -> Iterator[Found]:
    """Yield a row or a problem per record; the delimiter is the one that the header shows.

    Raises DataError when the first line is no header.
    """
    lines = [line for _, line in read_lines(source.file)]
    if not any(line.strip() for line in lines):
        return
    header = _header(lines[0], source.file)
    start = 1
    while start < len(lines):
        where = f"{source.file}:{start + 1}"
        cells, used = read_record(lines, start, header.delimiter)
        start += used
        if cells is None:
            yield Problem(where, "a quote is opened and not closed properly")
        elif any(cell.strip() for cell in cells):
            yield _row(cells, header, source.split, where)


def _header(line: str, file: Path) -> _Header:
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader([line], delimiter=delimiter))
        except csv.Error:  # a line too long for any header
            break
        names = [name.strip().lower() for name in cells]
        image = next((names.index(name) for name in IMAGE_COLUMNS if name in names), None)
        caption = next((names.index(name) for name in CAPTION_COLUMNS if name in names), None)
        if image is not None and caption is not None:
            split = names.index("split") if "split" in names else None
            return _Header(delimiter, len(names), image, caption, split)
    raise DataError(
        f"{file}:1: no header with an image and a caption column; the first line must be "
        f"image,caption and is {line.strip()[:60]!r}"
    )


def read_record(lines: list[str], start: int, delimiter: str) -> tuple[list[str] | None, int]:
    """Parse the CSV record at `start`: its cells and the number of lines it takes.

    A broken record takes one line, so that a stray quote costs itself and not its successors.
    """
    text = ""
    for used, line in enumerate(lines[start : start + _LONGEST], start=1):
        text += line
        try:
            cells = next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error:
            if text.count('"') % 2 == 0:
                break
        else:
            return cells, used
    return None, 1


def _row(cells: list[str], header: _Header, split: str | None, where: str) -> Found:
    if len(cells) != header.columns:
        return Problem(
            where,
            f"{len(cells)} cell(s) where the header has {header.columns}; "
            f"quote captions that hold {header.delimiter!r}",
        )
    if split is None and header.split is not None:
        split = cells[header.split]
    return Row((cells[header.image].strip(),), cells[header.caption], split, where)
