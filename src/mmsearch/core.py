"""The nouns: plain data and Protocols. Standard library and NumPy only.

Scores are cosines everywhere: float32, higher is better, 1.0 is the same direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.choices import USUAL_NEGATION
from mmsearch.choices import Cutoff as Cutoff  # noqa: PLC0414 - part of this module, too
from mmsearch.choices import Mode as Mode  # noqa: PLC0414 - part of this module, too
from mmsearch.choices import Negation as Negation  # noqa: PLC0414 - part of this module, too
from mmsearch.errors import ConfigError

if TYPE_CHECKING:
    from mmsearch.conditions import Condition

Vectors: TypeAlias = NDArray[np.float32]
"""(n, dim) float32, unit rows."""

Ids: TypeAlias = NDArray[np.int64]
"""(n,) int64, catalog row ids."""

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB, upright."""


class Modality(StrEnum):
    """What an item is."""

    IMAGE = "image"
    TEXT = "text"


class Resize(StrEnum):
    """How a picture meets the encoder's input size.

    SQUASH ignores the aspect ratio; CROP scales the short side and cuts the centre; PAD scales
    the long side and lays the picture in the middle of a plain ground.
    """

    SQUASH = "squash"
    CROP = "crop"
    PAD = "pad"


class Cut(StrEnum):
    """Where a central cut begins, of `gap` pixels that are too many.

    ROUND is round(gap / 2), half to even, as torchvision does; FLOOR is gap // 2, as
    transformers does.
    """

    ROUND = "round"
    FLOOR = "floor"


class Interpolation(StrEnum):
    """Resampling filter of the resize, by Pillow's names."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to a picture before the encoder sees it.

    `size` is (height, width) in pixels; `mean` and `std` act on RGB in [0, 1]. With CROP the
    short side is scaled to `short_side` pixels before the centre is cut out; None: so that the
    picture just covers `size`. With PAD the ground has the grey value `fill`, 0 to 255.
    """

    size: tuple[int, int]
    resize: Resize
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    short_side: int | None = None
    cut: Cut = Cut.ROUND
    fill: int = 0

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(f"image size {self.size} must be at least 1 x 1 pixel")
        if self.short_side is not None and self.short_side < max(self.size):
            raise ConfigError(f"a short side of {self.short_side} does not cover {self.size}")
        if not 0 <= self.fill <= 255:
            raise ConfigError(f"fill must be from 0 to 255, not {self.fill}")
        if min(self.std) <= 0:
            raise ConfigError(f"std {self.std} must be positive")


@dataclass(frozen=True, slots=True)
class Space:
    """A joint embedding space; vectors of two spaces never mix.

    `digest` is the hex SHA-256 of source weights, tokenizer and preprocessing.
    """

    name: str
    dim: int
    digest: str


@dataclass(frozen=True, slots=True)
class Item:
    """One picture or sentence in a library.

    `path` and `root` are absolute, decoded by `os.fsdecode` (surrogates stand for bytes that
    are not UTF-8). A sentence has `text`; its `root` is the file that it was read from, or
    None when it was added from Python. `digest` is the hex SHA-256 of the content.
    """

    id: int
    modality: Modality
    root: str | None
    path: str | None
    text: str | None
    digest: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Photo:
    """What a picture's file says of it, apart from what it shows.

    `width` and `height` in pixels, upright. `taken` is the camera's clock as seconds since
    1970-01-01T00:00 on that clock, without a zone. `latitude` and `longitude` in degrees north
    and east. `fingerprint` is the 64-bit difference hash of the picture, unsigned.
    """

    width: int
    height: int
    taken: int | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    fingerprint: int


MOST_WEIGHT: Final = 1000.0
"""No term has a weight of 0, or of more than this either way."""


@dataclass(frozen=True, slots=True)
class TextTerm:
    """A sentence to look for; a negative weight pushes away.

    `phrase`: where words are searched, these very words in a row. It is the same term.
    """

    text: str
    weight: float = 1.0
    phrase: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ImageTerm:
    """A picture to look for: (h, w, 3) uint8 RGB.

    `digest` is the hex SHA-256 of its file, so that it can be left out of its own results.
    """

    pixels: Pixels
    weight: float = 1.0
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class ItemTerm:
    """An item of the library to look for, by id; it is left out of its own results."""

    id: int
    weight: float = 1.0


Term: TypeAlias = TextTerm | ImageTerm | ItemTerm


@dataclass(frozen=True, slots=True)
class Query:
    """A question: weighted terms, the k best items of `target` for which `where` holds.

    `target` None means any modality the library holds. `online`: leave out what lies on a drive
    or in a folder that is not there now. `own`: a picture that is a term may be its own answer.
    `mode` None is VECTOR, except for words that the model does not know: these are looked for as
    text.
    """

    terms: tuple[Term, ...]
    k: int = 10
    target: Modality | None = Modality.IMAGE
    online: bool = False
    where: "Condition | None" = None
    mode: Mode | None = None
    negation: Negation = USUAL_NEGATION
    min_score: float | None = None
    cutoff: Cutoff = Cutoff.OFF
    own: bool = False

    def __post_init__(self) -> None:
        if not self.terms:
            raise ConfigError("a query needs at least one term")
        if self.k < 1:
            raise ConfigError(f"k must be at least 1, not {self.k}")
        for term in self.terms:
            if not 0 < abs(term.weight) <= MOST_WEIGHT:
                raise ConfigError(
                    f"a weight is not 0 and at most {MOST_WEIGHT:g}, not {term.weight}"
                )
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise ConfigError(f"a score is a cosine, from -1 to 1, not {self.min_score:g}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One result. `rank` 1 is best; `score` is the cosine; `weak`: no better than chance."""

    rank: int
    score: float
    item: Item
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """One query's answer, best first, ties by id, never padded.

    `ids` (m,) int64; `scores` (m,) float32 cosines; m may be smaller than the k asked for.
    """

    ids: Ids
    scores: NDArray[np.float32]


class Encoder(Protocol):
    """Maps pictures and sentences into one space."""

    @property
    def space(self) -> Space:
        """The space that the vectors belong to."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What `encode_images` does to pictures; a caller may resize beforehand."""
        ...

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Return (n, dim) float32 unit rows, one a picture, in order."""
        ...

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Return (n, dim) float32 unit rows, one a sentence, in order."""
        ...


class VectorIndex(Protocol):
    """Nearest neighbours by cosine over rows named by catalog ids."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        ...

    def __len__(self) -> int: ...

    def add(self, ids: Ids, vectors: Vectors, /) -> None:
        """Add rows. Ids must be new. Raises ConfigError when shapes do not fit."""
        ...

    def search(self, queries: Vectors, /, k: int, *, among: Ids | None = None) -> list[Matches]:
        """Return the k best for each query row; `among` restricts to those ids.

        `among` None means no filter; empty means that nothing can be found.
        """
        ...
