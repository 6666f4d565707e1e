"""Pick the layout of captioned data and read it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import csv_rows, flickr, jsonl, karpathy
from mmsearch.retrieval.captions.collect import Collected, ImageFinder, collect, overlaps
from mmsearch.retrieval.captions.data import (
    SPLIT_NAMES,
    CaptionData,
    DataFormat,
    Found,
    Source,
    split_name,
)

ACCEPTED = (
    "accepted are a folder with captions.csv or captions_{train,dev,test}.csv (image,caption), "
    "metadata.jsonl or captions_{train,dev,test}.jsonl (file_name, text), dataset_*.json "
    "(Karpathy) or *.token(.txt) (Flickr8k/30k), or one such file"
)


@dataclass(frozen=True, slots=True)
class _Layout:
    suffixes: tuple[str, ...]
    find: Callable[[Path], list[Source]]
    read: Callable[[Source], Iterator[Found]]


_LAYOUTS: Mapping[DataFormat, _Layout] = {
    DataFormat.CSV: _Layout(csv_rows.SUFFIXES, csv_rows.find_csv, csv_rows.read_csv),
    DataFormat.JSONL: _Layout(jsonl.SUFFIXES, jsonl.find_jsonl, jsonl.read_jsonl),
    DataFormat.KARPATHY: _Layout(karpathy.SUFFIXES, karpathy.find_karpathy, karpathy.read_karpathy),
    DataFormat.FLICKR: _Layout(flickr.SUFFIXES, flickr.find_flickr, flickr.read_flickr),
}


def load_captions(
    data: Path,
    *,
    format: DataFormat | None = None,  # noqa: A002 - the flag's name
    images: Path | None = None,
) -> CaptionData:
    """Read captioned images from a folder or a file; the layout is detected, or given.

    `images` is a folder to look pictures up in, before the usual places. Broken lines, empty
    captions and missing images are problems of the result, and an image or a caption in two
    splits is one of its warnings. Raises DataError when nothing is usable, or no layout fits.
    """
    if images is not None and not images.is_dir():
        raise DataError(f"the image folder {images} does not exist")
    chosen, sources, warnings = find_sources(data, format)
    found = collect(
        (read_source(chosen, source), _finder(source, data, images)) for source in sources
    )
    return _result(data, chosen, found, [*warnings, *_unused(sources, found)])


def find_sources(
    data: Path, wanted: DataFormat | None = None
) -> tuple[DataFormat, list[Source], list[str]]:
    """Return the layout of a folder or a file, its files of captions, and warnings.

    Raises DataError when there is nothing, or no layout fits.
    """
    if data.is_dir():
        return _in_folder(data, wanted)
    if data.is_file():
        return _of_file(data, wanted)
    raise DataError(f"{data} does not exist; {ACCEPTED}")


def read_source(kind: DataFormat, source: Source) -> Iterator[Found]:
    """Yield what a file of captions says, row by row. Raises DataError."""
    return _LAYOUTS[kind].read(source)


def _in_folder(
    folder: Path, wanted: DataFormat | None
) -> tuple[DataFormat, list[Source], list[str]]:
    formats = DataFormat if wanted is None else (wanted,)
    found = [(one, sources) for one in formats if (sources := _LAYOUTS[one].find(folder))]
    found = found or [(one, sources) for one in formats if (sources := _only_file(folder, one))]
    if not found:
        kind = "captions" if wanted is None else f"captions in the {wanted} layout"
        raise DataError(f"{folder} holds no {kind}; {ACCEPTED}")
    (chosen, sources), *others = found
    warnings = [
        f"{rest[0].file} ({one}) is not read, {sources[0].file} ({chosen}) is; "
        f"name the file or the format to choose"
        for one, rest in others
    ]
    return chosen, sources, warnings


def _only_file(folder: Path, kind: DataFormat) -> list[Source]:
    """Take a table of any name when the folder holds just one."""
    if kind not in (DataFormat.CSV, DataFormat.JSONL):
        return []
    files = [file for file in folder.iterdir() if file.suffix.lower() in _LAYOUTS[kind].suffixes]
    return [Source(files[0])] if len(files) == 1 else []


def _of_file(file: Path, wanted: DataFormat | None) -> tuple[DataFormat, list[Source], list[str]]:
    chosen = wanted or _format_of(file)
    if chosen is None:
        raise DataError(f"{file} has no known layout; {ACCEPTED}")
    last = file.stem.lower().rpartition("_")[2]
    split = split_name(last) if last in SPLIT_NAMES else None
    named = chosen in (DataFormat.CSV, DataFormat.JSONL)
    return chosen, [Source(file, split if named else None)], []


def _format_of(file: Path) -> DataFormat | None:
    name = file.name.lower()
    for kind, layout in _LAYOUTS.items():
        if name.endswith(layout.suffixes):
            return kind
    if name.endswith(".txt"):
        return DataFormat.FLICKR if flickr.looks_like_flickr(file) else DataFormat.CSV
    return None


def _finder(source: Source, data: Path, images: Path | None) -> ImageFinder:
    return ImageFinder([source.file.parent, data if data.is_dir() else data.parent], images)


def _unused(sources: Sequence[Source], found: Collected) -> list[str]:
    return [
        f"{source.file} holds nothing usable"
        for source in sources
        if source.split is not None and source.split not in found.splits
    ]


def _result(data: Path, kind: DataFormat, found: Collected, warnings: Sequence[str]) -> CaptionData:
    splits = dict(found.splits)
    unlisted = splits.pop(flickr.UNLISTED, ())
    notes = list(warnings)
    if unlisted:
        notes.append(f"{len(unlisted)} image(s) stand in no split list and are left out")
    if not splits:
        why = "; it is empty"
        if found.problems:
            why = f"; {len(found.problems)} problem(s), the first: {found.problems[0]}"
        raise DataError(f"{data} holds no usable caption{why}")
    return CaptionData(kind, splits, found.problems, (*notes, *overlaps(splits)))
