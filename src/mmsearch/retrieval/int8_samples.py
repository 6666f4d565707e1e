"""The user's own pictures, and captions where there are any, to try 8-bit networks on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from mmsearch.core import Pixels, Preprocessing
from mmsearch.errors import DataError, DecodeError, InputError
from mmsearch.retrieval.candidates import is_picture
from mmsearch.retrieval.captions.data import CaptionedImage
from mmsearch.retrieval.captions.load import load_captions
from mmsearch.retrieval.decode import decode

MOST: Final = 500
"""So many pictures are read, spread evenly over all."""
_MOST_FILES: Final = 20_000
_SPLITS: Final = ("dev", "test", "all", "train")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Int8Samples:
    """Pictures at the network's size; with captions, `labelled` has each beside its picture."""

    pictures: Sequence[Pixels]
    sentences: Sequence[str] = ()
    labelled: Sequence[tuple[Pixels, Sequence[str]]] | None = None


def require_pictures(folder: Path) -> None:
    """Raise InputError for a folder without pictures, before a model is made that wants them."""
    if not _captioned(folder) and not any(is_picture(bytes(file)) for file in _files(folder)):
        raise _no_pictures(folder)


def read_int8_samples(folder: Path, preprocessing: Preprocessing) -> Int8Samples:
    """Read what a folder holds: captioned data, as `evaluate` takes it, else its pictures.

    Files that are no pictures are passed over. Raises InputError when there is no picture.
    """
    captioned = _captioned(folder)
    if captioned:
        read = [(_pixels(image.path, preprocessing), image.captions) for image in captioned]
        labelled = [(pixels, captions) for pixels, captions in read if pixels is not None]
        if labelled:
            sentences = [caption for _, captions in labelled for caption in captions]
            return Int8Samples([pixels for pixels, _ in labelled], sentences, labelled)
    files = _spread(_files(folder))
    pictures = [p for file in files if (p := _pixels(file, preprocessing)) is not None]
    if not pictures:
        raise _no_pictures(folder)
    return Int8Samples(pictures)


def _no_pictures(folder: Path) -> InputError:
    return InputError(f"{folder} holds no pictures; give a folder of them to --calibrate")


def _captioned(folder: Path) -> list[CaptionedImage]:
    """Return captioned pictures of the split that a model was not trained on, if any."""
    try:
        data = load_captions(folder)
    except DataError:
        return []
    chosen = next((name for name in _SPLITS if data.splits.get(name)), None)
    return _spread(data.splits[chosen]) if chosen is not None else []


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for file in folder.rglob("[!.]*"):
        if file.is_file():
            found.append(file)
        if len(found) == _MOST_FILES:
            break
    return sorted(found)


def _spread(things: Iterable[T]) -> list[T]:
    every = list(things)
    if len(every) <= MOST:
        return every
    return [every[n] for n in np.linspace(0, len(every) - 1, MOST).astype(int)]


def _pixels(file: Path, preprocessing: Preprocessing) -> Pixels | None:
    try:
        return decode(file, preprocessing)
    except DecodeError:
        return None
