"""Captions by the names of their pictures, whether or not the pictures are at hand."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mmsearch.errors import DataError
from mmsearch.retrieval.captions.collect import forms, usual_places
from mmsearch.retrieval.captions.data import Found, Problem, Row, Source
from mmsearch.retrieval.captions.lines import is_text
from mmsearch.retrieval.captions.load import find_sources, read_source

NO_STAMP: Final = ""


@dataclass(slots=True)
class Entry:
    """What a file says of one picture; no captions where it says that there are none.

    `names` are relative to one of `places`, or absolute; the first is the one to report.
    `where` is the line that names it first.
    """

    names: tuple[str, ...]
    places: tuple[Path, ...]
    where: str
    captions: list[str] = field(default_factory=list)

    def candidates(self, more: Iterable[Path] = ()) -> Iterator[Path]:
        """Yield where the picture may lie, the likeliest first; `more` places come last."""
        for places in (self.places, tuple(more)):
            for name in self.names:
                for form in forms(name):
                    yield from (place / form for place in places)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or folder of captions, read. `path` is absolute; `stamp` tells when it changes."""

    path: Path
    stamp: str
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def read_listed(data: Path) -> Listed:
    """Read the captions of a file or folder in a layout that training reads.

    They are in NFC, without white space around or line breaks inside, each once a picture, in
    the order of the file; splits do not matter. A row without a caption says that its picture
    has none. Broken rows are problems. Raises DataError when nothing can be read.
    """
    path = Path(os.path.abspath(data))  # noqa: PTH100 - links stay: names are beside the link
    try:
        return _read(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _read(path: Path) -> Listed:
    kind, sources, _ = find_sources(path)
    stamp = _stamp(sources)
    entries: dict[tuple[Path, tuple[str, ...]], Entry] = {}
    problems: list[Problem] = []
    for source in sources:
        base = path if path.is_dir() else path.parent
        places = tuple(dict.fromkeys(usual_places((source.file.parent, base))))
        for row in _rows(read_source(kind, source)):
            if isinstance(row, Problem):
                problems.append(row)
                continue
            key = (source.file.parent, row.images)
            entry = entries.setdefault(key, Entry(row.images, places, row.where))
            caption = unicodedata.normalize("NFC", " ".join(row.caption.split()))
            if caption and caption not in entry.captions:
                entry.captions.append(caption)
    return Listed(path, stamp, tuple(entries.values()), tuple(problems))


def stamp_of(data: Path) -> str:
    """Return what changes when a file or folder of captions does; "" when nothing is there."""
    try:
        return _stamp(find_sources(data)[1])
    except (DataError, OSError):
        return NO_STAMP


def _rows(found: Iterable[Found]) -> Iterator[Found]:
    """Yield rows that can be used, and problems."""
    for one in found:
        fault = None if isinstance(one, Problem) else _fault(one)
        yield one if fault is None else Problem(one.where, fault)


def _fault(row: Row) -> str | None:
    if not is_text(row.images[0]) or not is_text(row.caption):
        return "bytes that are not UTF-8"
    if not row.images[0]:
        return "no image name"
    if "\0" in row.images[0] or "\0" in row.caption:
        return "a NUL character; is this a text file?"
    return None


def _stamp(sources: Sequence[Source]) -> str:
    """Return a digest of the names, sizes and times of files."""
    digest = hashlib.sha256()
    for source in sources:
        status = source.file.stat()
        digest.update(os.fsencode(source.file))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]
