"""Attach captions to the pictures of a library, from the files that say them.

A file says the captions of the pictures that it names, and they replace those that a picture
had. A picture that it no longer names keeps its captions; a row with an empty caption takes them
away. Where several files name a picture, the one that was given last holds. The files are
remembered: they are read again when one has changed, and when new pictures may be those that
were not there the last time. A file that is not there now changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmsearch.core import Encoder
from mmsearch.errors import DataError
from mmsearch.index import attributes
from mmsearch.index.caption_files import (
    CaptionFile,
    caption_files,
    last_id,
    set_caption_files,
)
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.captions import Problem
from mmsearch.retrieval.captions.listed import NO_STAMP, Entry, Listed, read_listed, stamp_of
from mmsearch.retrieval.fusing import fuse
from mmsearch.retrieval.locating import locate
from mmsearch.retrieval.report import IngestReport
from mmsearch.retrieval.timing import Progress

_STEP: Final = 1000  # pictures whose captions are written in one transaction


@dataclass(frozen=True, slots=True)
class Captioning:
    """What a run is to do about captions.

    `given`: files to attach. `weight` of captions in fused vectors; None: the library's.
    `on_progress` is told of fused pictures.
    """

    given: tuple[Listed, ...] = ()
    weight: float | None = None
    on_progress: Callable[[Progress], None] | None = None


def see_to_captions(
    catalog: Catalog, encoder: Encoder, captioning: Captioning, report: IngestReport
) -> IngestReport:
    """End a run: attach captions, and fuse them into the vectors of their pictures.

    Adds to the run's report and returns it. Ctrl-C keeps what is committed.
    """
    if not report.interrupted:
        try:
            attach(catalog, captioning.given, report)
            fuse(catalog, encoder, captioning.weight, report, captioning.on_progress)
        except KeyboardInterrupt:
            report.interrupted = True
    return report


def attach(catalog: Catalog, given: Sequence[Listed], report: IngestReport) -> None:
    """Attach the captions of the files given, and of those remembered that have news.

    `report.captioned` counts the pictures that got other captions than they had, or lost them.
    Broken rows, and pictures that the library does not hold, are problems of files that are
    given or have changed.
    """
    known = caption_files(catalog)
    last = last_id(catalog)
    if not given and not any(_has_news(file, last) for file in known):
        return
    files, notes = _all_files(known, given, report)
    wanted: dict[int, tuple[str, ...]] = {}
    for file, is_new in files:
        found, absent = _resolved(catalog, file)
        wanted |= found
        notes[str(file.path)] = CaptionFile(str(file.path), file.stamp, len(absent), last)
        if is_new:
            report.problems += [*file.problems, *map(_absent_problem, absent)]
    _write(catalog, wanted, report)
    set_caption_files(catalog, notes.values())


def _has_news(file: CaptionFile, last: int) -> bool:
    stamp = stamp_of(Path(file.path))
    return bool(stamp) and (stamp != file.stamp or (file.absent > 0 and last > file.last_id))


def _all_files(
    known: Sequence[CaptionFile], given: Sequence[Listed], report: IngestReport
) -> tuple[list[tuple[Listed, bool]], dict[str, CaptionFile]]:
    """Return the files that can be read, each with whether it is new or changed, in order.

    And what is remembered of every file, those among them that are not there. One that is given
    again counts as given last. One that cannot be read any more is a problem.
    """
    last_given = {str(file.path): file for file in given}
    files: list[tuple[Listed, bool]] = []
    notes: dict[str, CaptionFile] = {}
    for note in known:
        if note.path in last_given:
            continue
        # One that cannot be read now is read when it can be: others may have been read meanwhile.
        notes[note.path] = replace(note, stamp=NO_STAMP)
        if not stamp_of(Path(note.path)):
            continue
        try:
            file = read_listed(Path(note.path))
        except DataError as error:
            report.problems.append(Problem(note.path, str(error)))
        else:
            files.append((file, file.stamp != note.stamp))
    return [*files, *((file, True) for file in last_given.values())], notes


def _resolved(catalog: Catalog, file: Listed) -> tuple[dict[int, tuple[str, ...]], list[Entry]]:
    """Return captions by item, and the entries whose picture the library does not hold."""
    items: dict[int, dict[str, None]] = {}
    absent: list[Entry] = []
    for entry, number in zip(file.entries, locate(catalog, file.entries), strict=True):
        if number is None:
            absent.append(entry)
        else:
            items.setdefault(number, {}).update(dict.fromkeys(entry.captions))
    return {number: tuple(captions) for number, captions in items.items()}, absent


def _absent_problem(entry: Entry) -> Problem:
    return Problem(entry.where, f"the library has no picture {entry.names[0]}")


def _write(catalog: Catalog, wanted: Mapping[int, tuple[str, ...]], report: IngestReport) -> None:
    """Write the captions that differ from those there are."""
    ids = sorted(wanted)
    for start in range(0, len(ids), _STEP):
        some = ids[start : start + _STEP]
        there = attributes.captions(catalog, some)
        changed = {n: wanted[n] for n in some if wanted[n] != there.get(n, ())}
        if changed:
            attributes.set_captions(catalog, changed)
            report.captioned += len(changed)
