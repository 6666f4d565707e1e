"""Rows to captioned images: find the pictures, check the captions, group by split."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from mmsearch.retrieval.captions.data import (
    WHOLE,
    CaptionedImage,
    Found,
    Problem,
    Row,
    split_name,
)
from mmsearch.retrieval.captions.lines import is_text

_IMAGE_FOLDERS = (
    "images",
    "Images",
    "Flicker8k_Dataset",  # so spelt in the distributed archive
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
)


class ImageFinder:
    """Looks image names up in folders; each name once.

    The order is: `images` when given, beside the captions, in `images/` (or a name that the
    Flickr archives use), then the same in the data's own folder.
    """

    def __init__(self, bases: Sequence[Path], images: Path | None) -> None:
        places = [*([] if images is None else [images]), *usual_places(bases)]
        self._places = [place for place in dict.fromkeys(places) if place.is_dir()]
        self._found: dict[tuple[str, ...], Path | None] = {}

    def __call__(self, names: tuple[str, ...]) -> Path | None:
        """Return the file of the first name that exists, or None."""
        if names not in self._found:
            self._found[names] = self._find(names)
        return self._found[names]

    @property
    def looked_in(self) -> str:
        """The folders, for a message."""
        return ", ".join(str(place) for place in self._places)

    def _find(self, names: tuple[str, ...]) -> Path | None:
        for name in names:
            for form in forms(name):
                for place in self._places:
                    if _is_file(place / form):
                        return place / form
        return None


def usual_places(bases: Iterable[Path]) -> list[Path]:
    """Return where pictures of captions lie: in each base, and in its folders of pictures."""
    return [place for base in bases for place in (base, *(base / name for name in _IMAGE_FOLDERS))]


def forms(name: str) -> tuple[str, ...]:
    """Return how a name may be written on the disk: archives made on a Mac decompose it."""
    composed = unicodedata.normalize("NFC", name)
    return tuple(dict.fromkeys((name, composed, unicodedata.normalize("NFD", name))))


@dataclass(frozen=True, slots=True)
class Collected:
    """Usable images by split, and what was left out."""

    splits: Mapping[str, tuple[CaptionedImage, ...]]
    problems: tuple[Problem, ...]


def collect(parts: Iterable[tuple[Iterable[Found], ImageFinder]]) -> Collected:
    """Group rows by split and image; each missing image is one problem, at its first line.

    Where some rows name a split, rows without one are problems; where none does, all images
    are in the split "all".
    """
    found = [(one, finder) for part, finder in parts for one in part]
    divided = any(isinstance(one, Row) and one.split for one, _ in found)
    groups: dict[str, dict[Path, list[str]]] = {}
    problems: list[Problem] = []
    missing: set[tuple[str, ...]] = set()
    for one, finder in found:
        if isinstance(one, Problem):
            problems.append(one)
            continue
        path = finder(one.images) if is_text(one.images[0]) and one.images[0] else None
        reason = _fault(one, divided=divided)
        if reason is None and path is None:
            if one.images in missing:
                continue
            missing.add(one.images)
            reason = f"image {one.images[0]} is missing (looked in {finder.looked_in})"
        if reason is not None or path is None:
            problems.append(Problem(one.where, str(reason)))
        else:
            split = split_name(one.split) if one.split else WHOLE
            caption = unicodedata.normalize("NFC", one.caption.strip())
            groups.setdefault(split, {}).setdefault(path, []).append(caption)
    splits = {
        split: tuple(CaptionedImage(path, tuple(texts)) for path, texts in images.items())
        for split, images in groups.items()
    }
    return Collected(splits, tuple(problems))


def _fault(row: Row, *, divided: bool) -> str | None:
    """Say what is wrong with a row in itself."""
    if not is_text(row.images[0]) or not is_text(row.caption):
        return "bytes that are not UTF-8"
    if not row.images[0]:
        return "no image name"
    if not row.caption.strip():
        return f"the caption of {row.images[0]} is empty"
    if divided and not row.split:
        return f"no split for {row.images[0]}, while other lines name one"
    return None


def overlaps(splits: Mapping[str, Sequence[CaptionedImage]]) -> list[str]:
    """Warn of images, and of captions of different images, that stand in two splits."""
    warnings = []
    train_first = sorted(splits, key=lambda name: name != "train")
    for one, other in combinations(train_first, 2):
        here = {image.path: image.captions for image in splits[one]}
        there = {image.path: image.captions for image in splits[other]}
        shared = [path for path in here if path in there]
        if shared:
            warnings.append(
                f"{len(shared)} image(s) stand in both {one} and {other}, such as "
                f"{shared[0].name}: figures on {other} will be too good"
            )
        texts = _texts(here, there), _texts(there, here)
        same = [text for text in texts[0] if text in texts[1]]
        if same:
            warnings.append(
                f"{len(same)} caption(s) stand in both {one} and {other} on different images, "
                f"such as {same[0]!r}"
            )
    return warnings


def _texts(here: Mapping[Path, Sequence[str]], there: Mapping[Path, object]) -> dict[str, None]:
    """List the distinct captions of the images that only `here` holds, in order."""
    return {text: None for path, texts in here.items() if path not in there for text in texts}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that cannot be searched
        return False
