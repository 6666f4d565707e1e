"""Fuse pictures with their captions: one vector of both is searched.

A picture's vector v and the unit vectors c_1 … c_m of its captions give

    normalise((1 - w) v + w normalise((c_1 + … + c_m) / m))

with the weight w of the captions, 0 <= w < 1. The picture's own vector is kept beside it, so
that another weight, other captions or none take neither decoding nor encoding of pictures: the
captions alone are encoded.

A run goes over the pictures that are not as the library's setting says, in steps that are each
committed as one. Whatever interrupts it, every vector is wholly the one or the other, and the
next run goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Encoder, Modality, Space, Vectors
from mmsearch.errors import ConfigError
from mmsearch.index import attributes, fusing
from mmsearch.index.catalog import Catalog
from mmsearch.index.fusing import Change, Fused
from mmsearch.retrieval.report import IngestReport
from mmsearch.retrieval.timing import Pace, Progress

_LOOK: Final = 4096  # pictures looked at together
_STEP: Final = 256  # pictures fused together, in one transaction
_SHORT: Final = 1e-6  # a sum this short points nowhere

NONE: Final = "none"
_KEY: Final = "caption"


def parse_fuse(text: str) -> float:
    """Return the weight of captions that `caption=W` or `none` means. Raises ConfigError."""
    if text.strip().lower() == NONE:
        return 0.0
    key, _, number = text.partition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = float("nan")
    if key.strip() != _KEY or not np.isfinite(weight):
        raise ConfigError(f"--fuse takes caption=WEIGHT, such as caption=0.3, or none; not {text}")
    return fusing.checked_weight(weight)


def fused_vector(own: Vectors, captions: Vectors, weight: float) -> Vectors:
    """Return one vector of a picture's, (dim,) float32, and those of its captions, (m, dim).

    Captions that cancel each other out, or the picture, leave the picture's own vector.
    """
    text = _unit(captions.astype(np.float64).mean(axis=0))
    both = None if text is None else _unit((1 - weight) * own.astype(np.float64) + weight * text)
    return own if both is None else both.astype(np.float32)


def fuse(
    catalog: Catalog,
    encoder: Encoder,
    asked: float | None,
    report: IngestReport,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Bring the vectors of all captioned pictures to what is asked, or to the library's setting.

    `report.fused` counts what is committed, and `on_progress` is told how many pictures that is.
    A library that is empty in another space than the encoder's stays as it is. Raises ConfigError
    for a weight that is none.
    """
    if asked is not None:
        fusing.set_wanted_weight(catalog, asked)
    current = catalog.space()
    if current is None or current.digest != encoder.space.digest:
        return
    weight = fusing.wanted_weight(catalog)
    waiting = fusing.unsettled(catalog, encoder.space, weight)
    pace = Pace(len(waiting))
    for start in range(0, len(waiting), _LOOK):
        for changes in _changes(catalog, encoder, waiting[start : start + _LOOK], weight):
            fusing.write(catalog, encoder.space, changes)
            report.fused += len(changes)
            if on_progress is not None:
                on_progress(pace.progress(report.fused, report.timing))
    fusing.settle(catalog, encoder.space, weight)


def _changes(
    catalog: Catalog, encoder: Encoder, ids: Sequence[int], weight: float
) -> Iterator[list[Change]]:
    """Yield what has to change about some pictures, a step at a time."""
    captions = attributes.captions(catalog, ids) if weight > 0 else {}
    fused = fusing.fused_rows(catalog, encoder.space, ids)
    digests = {number: fusing.captions_digest(some) for number, some in captions.items()}
    wrong = [
        number for number in ids if not _is_right(fused.get(number), digests.get(number), weight)
    ]
    for start in range(0, len(wrong), _STEP):
        own = _own_vectors(catalog, encoder.space, wrong[start : start + _STEP], fused)
        texts = _encoded(encoder, [captions[number] for number in own if number in captions])
        changes = []
        for number, vector in own.items():
            change = Change(number, vector, None)
            if number in captions:
                rows = np.stack([texts[text] for text in captions[number]])
                change = Change(
                    number,
                    fused_vector(vector, rows, weight),
                    Fused(weight, digests[number], vector),
                )
            changes.append(change)
        if changes:
            yield changes


def _is_right(fused: Fused | None, digest: bytes | None, weight: float) -> bool:
    """Say whether a picture is fused as it should be; `digest` is that of its captions."""
    if digest is None or fused is None:
        return digest is None and fused is None
    return fused.weight == weight and fused.captions == digest


def _own_vectors(
    catalog: Catalog, space: Space, ids: Sequence[int], fused: Mapping[int, Fused]
) -> dict[int, Vectors]:
    """Return the pictures' own vectors, (dim,) float32; of those that are encoded."""
    with catalog.snapshot():
        found, vectors = catalog.vector_table(space, Modality.IMAGE).find(ids)
    searched = dict(zip(found.tolist(), vectors, strict=True))
    return {
        number: fused[number].own if number in fused else vector
        for number, vector in searched.items()
    }


def _encoded(encoder: Encoder, captions: Iterable[Sequence[str]]) -> dict[str, Vectors]:
    """Return the unit vectors of captions, (dim,) float32, each encoded once."""
    texts = list(dict.fromkeys(text for some in captions for text in some))
    return dict(zip(texts, encoder.encode_texts(texts), strict=True)) if texts else {}


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the vector in length one; None when it is too short to have a direction."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > _SHORT else None
