"""Flickr8k/30k token files (`img.jpg#0<TAB>caption`) with lists of images per split."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from mmsearch.retrieval.captions.data import Found, Problem, Row, Source, split_name
from mmsearch.retrieval.captions.lines import read_lines

SUFFIXES = (".token", ".token.txt")
_LINE = re.compile(r"(?P<image>.+)#\d+\s*\t(?P<caption>.*)", re.DOTALL)
_LIST = re.compile(r"(?:.*[._-])?(?P<split>train|dev|val|test)(?:_?images)?\.txt", re.IGNORECASE)
UNLISTED = "unlisted"


def find_flickr(folder: Path) -> list[Source]:
    """Find the token file, also in a folder such as `Flickr8k_text`; not the lemmatised one."""
    for place in (folder, *sorted(folder.glob("*[Tt]ext*/"))):
        files = [file for file in sorted(place.iterdir()) if file.name.endswith(SUFFIXES)]
        files = [file for file in files if "lemma" not in file.name and file.is_file()]
        if files:
            return [Source(files[0])]
    return []


def read_flickr(source: Source) -> Iterator[Found]:
    """Yield a row per line and split; without lists beside the file, rows have no split.

    Images that stand in no list get the split `unlisted`, which `load_captions` leaves out.
    """
    lists = _split_lists(source.file)
    seen: set[str] = set()
    for number, line in read_lines(source.file):
        where = f"{source.file}:{number}"
        match = _LINE.fullmatch(line)
        if match:
            image, caption = match["image"].strip(), match["caption"]
            listed = _listed(image, lists)
            seen.add(listed)
            named = list(lists[listed]) if listed in lists else [UNLISTED if lists else None]
            yield from (Row((image,), caption, split, where) for split in named)
        elif line.strip():
            yield Problem(where, "not a line of the form image.jpg#0<TAB>caption")
    for image, places in lists.items():
        if image not in seen:
            yield from (Problem(where, f"{image} has no caption") for where in places.values())


def looks_like_flickr(file: Path) -> bool:
    """Tell by its first line whether a text file is a token file."""
    _, line = next(read_lines(file), (1, ""))
    return _LINE.fullmatch(line) is not None


def _split_lists(token_file: Path) -> Mapping[str, Mapping[str, str]]:
    """Read the lists beside the token file: image → split → the line that says so."""
    lists: dict[str, dict[str, str]] = {}
    for file in sorted(token_file.parent.iterdir()):
        match = _LIST.fullmatch(file.name)
        if match is None or not file.is_file():
            continue
        for number, line in read_lines(file):
            if line.strip():
                lists.setdefault(line.strip(), {})[split_name(match["split"])] = f"{file}:{number}"
    return lists


def _listed(image: str, lists: Mapping[str, object]) -> str:
    """Return the image's name as the lists write it; Flickr30k's leave the suffix out."""
    stem = PurePath(image).stem
    return stem if image not in lists and stem in lists else image
