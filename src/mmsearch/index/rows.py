"""Rows of the catalog: what is written in a batch and what is read back.

Paths are absolute bytes as the operating system gives them (`os.fsencode`); digests are hex
SHA-256 of the content.
"""

import math
import os
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Modality, Photo, Space
from mmsearch.errors import InputError
from mmsearch.index.policy import IndexKind, Parameters


class RootKind(StrEnum):
    """What a root is: a folder of pictures, one picture, or a file of sentences."""

    FOLDER = "folder"
    FILE = "file"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Root:
    """A place that was indexed. `path` is decoded by `os.fsdecode`."""

    id: int
    path: str
    kind: RootKind
    offline: bool

    @property
    def raw(self) -> bytes:
        """The path as the operating system has it."""
        return os.fsencode(self.path)


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A picture the catalog holds. `encoded`: it has a vector in the current space."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    digest: str
    encoded: bool


@dataclass(frozen=True, slots=True)
class KnownText:
    """A sentence the catalog holds. `encoded`: it has a vector in the current space."""

    id: int
    digest: str
    encoded: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be indexed. It is worth another try only when it changes.

    `when` is ISO 8601 in UTC, filled in by the catalog.
    """

    path: bytes
    reason: str
    size: int
    mtime_ns: int
    digest: str | None = None
    root_id: int | None = None
    when: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the library holds. `offline`: items whose root is not mounted."""

    images: int
    texts: int
    failed: int
    offline: int

    @property
    def items(self) -> int:
        """Pictures and sentences together."""
        return self.images + self.texts


@dataclass(frozen=True, slots=True)
class FileRow:
    """A new or changed picture, with its vector (dim,) float32 in the current space.

    A path the catalog knows keeps its id. When the digest is another one, the item's vectors
    in other spaces are dropped: they describe what the file no longer shows. So are its facts;
    without `photo` they are unknown then, and otherwise as they were.
    """

    path: bytes
    root_id: int
    size: int
    mtime_ns: int
    digest: str
    vector: NDArray[np.float32]
    photo: Photo | None = None


def require_unicode(text: str, what: str) -> None:
    """Raise InputError when a text holds what UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} {text!r} is not valid Unicode ({error.reason}); leave it out"
        ) from error


@dataclass(frozen=True, slots=True)
class TextRow:
    """A sentence, with its vector (dim,) float32 in the current space.

    Its identity is (root, digest): the same sentence twice in one root is one item.
    `root_id` None: added from Python.
    """

    text: str
    root_id: int | None
    digest: str
    vector: NDArray[np.float32]

    def __post_init__(self) -> None:
        require_unicode(self.text, "the sentence")


@dataclass(frozen=True, slots=True)
class MovedRow:
    """A picture found under another path with the same content: nothing to encode."""

    id: int
    path: bytes
    root_id: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class TouchedRow:
    """A picture whose modification time changed while its content did not."""

    id: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything one commit changes; the order within a field does not matter.

    `gone`: ids of items to delete. `blank`: ids of items whose file shows nothing readable now:
    they lose their vectors and facts and keep their rows. `cleared`: paths whose failure no
    longer stands; that of a path that is committed or moved to is cleared without being named.
    """

    files: tuple[FileRow, ...] = ()
    texts: tuple[TextRow, ...] = ()
    moved: tuple[MovedRow, ...] = ()
    touched: tuple[TouchedRow, ...] = ()
    gone: tuple[int, ...] = ()
    blank: tuple[int, ...] = ()
    failures: tuple[Failure, ...] = ()
    cleared: tuple[bytes, ...] = ()


class LabelSource(StrEnum):
    """Who gave a label: a person, or a model that was asked."""

    USER = "user"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Label:
    """A label of an item. `score`: the model's, None for a person's."""

    name: str
    source: LabelSource
    score: float | None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """A label to give to an item, or to `remove` from it.

    Raises InputError for a name that is empty, begins or ends with white space, has several
    lines or is not valid Unicode, and for a score that is not finite.
    """

    item_id: int
    name: str
    source: LabelSource
    score: float | None
    remove: bool = False

    def __post_init__(self) -> None:
        require_unicode(self.name, "the label")
        if self.name != self.name.strip() or len(self.name.splitlines()) != 1:
            raise InputError(f"the label {self.name!r} is not one line of text; change it")
        if self.score is not None and not math.isfinite(self.score):
            raise InputError(f"the score {self.score} of the label {self.name!r} is not finite")


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a file looked when it was written: cheap to compare, unlike its checksum."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One written index file: a cache of the vectors up to `revision`.

    `file` is relative to the library folder; `sha256` is the hex checksum of its bytes.
    `parameters` say how it is searched; None for a flat one, which is exact.
    """

    number: int
    space: Space
    modality: Modality
    kind: IndexKind
    revision: int
    rows: int
    file: str
    sha256: str
    stamp: Stamp
    parameters: Parameters | None = None
