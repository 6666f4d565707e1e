"""Labels given by the model: `empirical_null` says how near a picture must be to a label's words.

They are kept with the cosine and as the model's, apart from what people have given.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Encoder, Ids, Modality, Space, Vectors
from mmsearch.errors import ConfigError, InputError, SpaceMismatchError
from mmsearch.index.attributes import label_counts, set_labels
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import LabelChange, LabelSource
from mmsearch.index.store import IndexStore, ReplacedError
from mmsearch.retrieval.background import Backgrounds
from mmsearch.retrieval.empirical_null import label_threshold
from mmsearch.retrieval.labelling import clean_label
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.remembered import remembered_model
from mmsearch.retrieval.vocabulary import unknown_words

FEWEST: Final = 50
"""Pictures of which what is usual can be told."""
PLACE: Final = "{}"
_AT_ONCE: Final = 64  # labels whose cosines are held at a time

Scores: TypeAlias = NDArray[np.float32]
FindThreshold: TypeAlias = Callable[[Scores], float | None]


@dataclass(frozen=True, slots=True)
class Labelling:
    """What the model is asked to label with.

    `names` each once, whatever their case; a label's question is `template` with the name in the
    place of `{}`. `threshold`: a cosine for all labels instead of one that the library finds for
    each. `dry_run`: write nothing.
    """

    names: tuple[str, ...]
    template: str = PLACE
    threshold: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("there is no label to give; write one a line")
        if self.template.count(PLACE) != 1:
            raise ConfigError(
                f"the template {self.template!r} must hold {PLACE} once, where the label goes"
            )
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigError(f"a threshold is a cosine from -1 to 1, not {self.threshold}")


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """A label with the pictures that it fits, (m,) best first, and their cosines.

    `threshold` None: no cosine was high enough to be no accident. `unknown` are words of the
    label that the model does not know: then it is given to nothing.
    """

    name: str
    threshold: float | None
    ids: Ids
    scores: Scores
    unknown: tuple[str, ...] = ()


def read_names(file: Path) -> tuple[str, ...]:
    """Return the labels of a file, one a line, each once; empty lines do not count.

    Raises InputError when the file cannot be read or is not UTF-8, or a line is no label.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8; save it as UTF-8 text") from error
    names: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip():
            name = clean_label(line)
            names.setdefault(name.casefold(), name)
    return tuple(names.values())


def label_library(directory: Path, labelling: Labelling) -> list[GivenLabel]:
    """Label the pictures of the library in a directory with its own model.

    Takes the write lock, unless for a dry run. Raises what `label_pictures` raises, and
    ModelError when the model cannot be loaded.
    """
    if not Catalog.exists(directory):
        raise InputError(f"there is no library at {directory}; run `mmsearch index PATH` first")
    with Catalog.open(directory, write=not labelling.dry_run) as catalog:
        return label_pictures(catalog, load_encoder(remembered_model(catalog)), labelling)


def label_pictures(catalog: Catalog, encoder: Encoder, labelling: Labelling) -> list[GivenLabel]:
    """Give the labels to the pictures of a library that they fit; return what was given.

    The catalog must be open for writing, unless for a dry run. What a model gave under these
    names before is replaced; labels from people stay as they are. A label that the library has in
    another spelling, `Beach` for `beach`, keeps that. Raises InputError when there
    are too few pictures to tell what is usual, SpaceMismatchError for another model than the
    library's.
    """
    given = _fitting_labels(catalog, encoder, labelling)
    if not labelling.dry_run:
        set_labels(catalog, list(_changes(catalog, given)))
    return given


def _fitting_labels(catalog: Catalog, encoder: Encoder, labelling: Labelling) -> list[GivenLabel]:
    """Return what is to be given, all by the library of one moment."""
    while True:  # in a later moment, when a writer has replaced an index file of this one
        with suppress(ReplacedError), catalog.snapshot():
            return _labels_of_moment(catalog, encoder, labelling)


def _labels_of_moment(catalog: Catalog, encoder: Encoder, labelling: Labelling) -> list[GivenLabel]:
    threshold = _threshold(catalog, encoder, labelling.threshold)
    spellings = {name.casefold(): name for name in reversed(label_counts(catalog))}
    given: list[GivenLabel] = []
    for start in range(0, len(labelling.names), _AT_ONCE):
        names = labelling.names[start : start + _AT_ONCE]
        prompts = encoder.encode_texts([labelling.template.replace(PLACE, n) for n in names])
        ids, scores = cosines(catalog, encoder.space, prompts)
        for name, row in zip(names, scores, strict=True):
            unknown = unknown_words(encoder, name)
            level = None if unknown else threshold(row)
            given.append(fitting(spellings.get(name.casefold(), name), ids, row, level, unknown))
    return given


def _threshold(catalog: Catalog, encoder: Encoder, fixed: float | None) -> FindThreshold:
    """Return what finds the threshold of a label from its cosines."""
    space = catalog.space()
    if space is None or catalog.counts().images == 0:
        raise InputError(
            f"the library {catalog.directory} holds no pictures; run `mmsearch index PATH` first"
        )
    if space.digest != encoder.space.digest:
        raise SpaceMismatchError(
            f"the model {encoder.space.name} is not the one that the library was indexed with "
            f"({space.name}); index it again: mmsearch index --reindex"
        )
    if fixed is not None:
        return lambda _: fixed
    with catalog.snapshot():
        rows = catalog.vector_table(space, Modality.IMAGE).count()
    if rows < FEWEST:
        raise InputError(
            f"the library has {rows} pictures, and below {FEWEST} nothing tells what is usual for "
            "a label: say how near a picture must be with --threshold, such as 0.3"
        )
    store = IndexStore(catalog, catalog.directory)
    chance = Backgrounds(catalog, store, encoder, space).threshold(Modality.IMAGE, {Modality.TEXT})
    return lambda scores: label_threshold(scores, chance)


def cosines(catalog: Catalog, space: Space, prompts: Vectors) -> tuple[Ids, Scores]:
    """Return ((n,) ids, (labels, n) cosines) of all pictures."""
    ids: list[Ids] = [np.empty(0, dtype=np.int64)]
    scores: list[Scores] = [np.empty((len(prompts), 0), dtype=np.float32)]
    with catalog.snapshot():
        for some, vectors in catalog.vector_table(space, Modality.IMAGE).chunks():
            ids.append(some)
            scores.append(prompts @ vectors.T)
    return np.concatenate(ids), np.concatenate(scores, axis=1)


def fitting(
    name: str, ids: Ids, scores: Scores, threshold: float | None, unknown: tuple[str, ...] = ()
) -> GivenLabel:
    """Return a label with the pictures whose cosine reaches the threshold, ties by id."""
    fits = np.flatnonzero(scores >= np.float32(np.inf if threshold is None else threshold))
    order = fits[np.lexsort((ids[fits], -scores[fits]))]
    return GivenLabel(name, threshold, ids[order], scores[order], unknown)


def _changes(catalog: Catalog, given: Sequence[GivenLabel]) -> Iterator[LabelChange]:
    """Yield what makes the model's labels of these names those that are given."""
    query = "SELECT item_id FROM labels WHERE source = 'auto' AND name = ?"
    for label in given:
        fits = set(label.ids.tolist())
        for (number,) in catalog.rows(query, label.name):
            if number not in fits:
                yield LabelChange(number, label.name, LabelSource.AUTO, None, remove=True)
        for number, score in zip(label.ids.tolist(), label.scores.tolist(), strict=True):
            yield LabelChange(number, label.name, LabelSource.AUTO, score)
