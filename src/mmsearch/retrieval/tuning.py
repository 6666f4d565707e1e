"""Choose and measure the indexes of a library with the questions that people ask of it.

Pictures are asked for with sentences and sentences with pictures. Half of the questions choose
the parameters, the other half, which had no say, measures what they are worth.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmsearch.core import Ids, Modality, Space
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index.building import QUESTIONS
from mmsearch.index.calibration import FEWEST
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import AUTOMATIC, SETTING_KIND, SETTING_RECALL, IndexKind, Policy
from mmsearch.index.rows import Generation
from mmsearch.index.store import IndexStore
from mmsearch.index.truth import RECALL_AT, Questions, Truth
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.plain_sentences import plain_sentences
from mmsearch.retrieval.remembered import remembered_model
from mmsearch.retrieval.sentences import read_sentences

# Half of the questions choose, half of them measure. Those of the library cost no encoding.
_ENCODED = 512
_OF_LIBRARY = 2 * QUESTIONS
_SEED = 0
_MANY: Final = {Modality.IMAGE: "pictures", Modality.TEXT: "sentences"}


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is asked for; None keeps what the library has.

    `kind` "auto" lets the number of rows decide. `queries` is a file of sentences to measure
    the pictures' index with.
    """

    recall: float | None = None
    kind: str | None = None
    queries: Path | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """The index of one modality: how it is searched, and what was measured.

    `recall` is recall@10 against brute force with questions that had no part in the choice;
    None when there were none, as is `milliseconds`, a query. `nlist`, `nprobe` and
    `candidates` are None for a flat index, which is exact.
    """

    modality: Modality
    kind: IndexKind
    rows: int
    nlist: int | None
    nprobe: int | None
    candidates: int | None
    target: float
    recall: float | None
    milliseconds: float | None
    questions: int
    origin: str

    def as_dict(self) -> dict[str, Any]:
        """Return what `tune --json` prints."""
        return {
            "modality": self.modality.value,
            "kind": self.kind.value,
            "rows": self.rows,
            "nlist": self.nlist,
            "nprobe": self.nprobe,
            "candidates": self.candidates,
            "target": self.target,
            "recall": None if self.recall is None else round(self.recall, 4),
            "milliseconds": None if self.milliseconds is None else round(self.milliseconds, 3),
            "questions": self.questions,
            "origin": self.origin,
        }


def tune(directory: Path, options: TuneOptions) -> list[Tuned]:
    """Make the indexes follow the options, now and from now on, and measure them.

    Takes the writer lock; readers go on with the old files. Raises InputError when there is
    nothing to tune or the queries cannot be used, ConfigError for an impossible recall,
    LibraryBusyError when another process writes.
    """
    Policy(recall=0.5 if options.recall is None else options.recall)  # before anything is touched
    if not Catalog.exists(directory):
        raise InputError(f"there is no library at {directory}; run `mmsearch index PATH` first")
    given = None if options.queries is None else _read(options.queries)
    with Catalog.open(directory, write=True) as catalog:
        space = catalog.space()
        if space is None or catalog.counts().items == 0:
            raise InputError(f"the library {directory} is empty; run `mmsearch index PATH` first")
        policy = _remember(catalog, options)
        return [
            _tuned(catalog, space, modality, policy, given)
            for modality in Modality
            if catalog.vector_table(space, modality).count()
        ]


def _read(file: Path) -> tuple[str, ...]:
    texts = read_sentences(file).texts
    if len(texts) < 2 * FEWEST:
        raise InputError(
            f"{file} holds {len(texts)} sentences; give at least {2 * FEWEST}, else the recall "
            "that is measured would mean nothing"
        )
    return texts


def _remember(catalog: Catalog, options: TuneOptions) -> Policy:
    """Keep what was asked for, so that later indexes follow it; return the policy of it all."""
    kind = options.kind if options.kind is not None else catalog.setting(SETTING_KIND)
    recall = catalog.setting(SETTING_RECALL)
    if options.recall is not None:
        recall = repr(options.recall)
    policy = Policy.of_settings(kind, recall)
    catalog.set_setting(SETTING_KIND, kind or AUTOMATIC)
    catalog.set_setting(SETTING_RECALL, repr(policy.recall))
    return policy


def _tuned(
    catalog: Catalog,
    space: Space,
    modality: Modality,
    policy: Policy,
    given: Sequence[str] | None,
) -> Tuned:
    questions = _questions(catalog, space, modality, given)
    half = len(questions) // 2
    choosing = Questions(questions.vectors[:half], questions.origin)
    store = IndexStore(catalog, catalog.directory, policy)
    known = store.tune(space, modality, choosing if half >= FEWEST else None)
    if known is None:
        raise InputError(f"the {modality} vectors went away; run this again")
    measuring = Questions(questions.vectors[half:], questions.origin)
    recall, milliseconds = _measured(catalog, store, space, modality, measuring)
    return _row(known, policy, recall, milliseconds, measuring)


def _row(
    known: Generation,
    policy: Policy,
    recall: float | None,
    milliseconds: float | None,
    measuring: Questions,
) -> Tuned:
    lists = known.parameters
    return Tuned(
        known.modality,
        known.kind,
        known.rows,
        None if lists is None else lists.nlist,
        None if lists is None else lists.nprobe,
        None if lists is None else lists.candidates,
        policy.recall,
        recall,
        milliseconds,
        len(measuring),
        measuring.origin,
    )


def _questions(
    catalog: Catalog, space: Space, modality: Modality, given: Sequence[str] | None
) -> Questions:
    """Return questions of the other modality, in random order: the library's own, or encoded.

    Pictures cannot be made up, so that a library of sentences alone has no questions.
    """
    generator = np.random.default_rng(_SEED)
    other = Modality.TEXT if modality is Modality.IMAGE else Modality.IMAGE
    if modality is Modality.IMAGE and given is not None:
        chosen = [given[n] for n in generator.permutation(len(given))[:_ENCODED]]
        return _encoded(catalog, space, chosen, "the sentences given")
    table = catalog.vector_table(space, other)
    if table.count() >= 2 * FEWEST:
        with catalog.snapshot():
            rows = table.sample(_OF_LIBRARY, generator)
        return Questions(generator.permutation(rows), f"{_MANY[other]} of the library")
    if modality is Modality.IMAGE:
        return _encoded(catalog, space, plain_sentences(_ENCODED, _SEED), "plain sentences")
    return Questions(np.empty((0, space.dim), dtype=np.float32), "none")


def _encoded(catalog: Catalog, space: Space, texts: Sequence[str], origin: str) -> Questions:
    """Encode sentences with the library's model. Raises SpaceMismatchError when it is another."""
    encoder = load_encoder(remembered_model(catalog))
    if encoder.space.digest != space.digest:
        raise SpaceMismatchError(
            f"the model {encoder.space.name} is not the one that the library was indexed with "
            f"({space.name}); index it again: mmsearch index --reindex"
        )
    return Questions(encoder.encode_texts(texts), origin)


def _measured(
    catalog: Catalog, store: IndexStore, space: Space, modality: Modality, questions: Questions
) -> tuple[float | None, float | None]:
    """Return (recall@10, milliseconds a query), each question asked alone."""
    if len(questions) == 0:
        return None, None
    truth = Truth(questions.vectors)
    with catalog.snapshot():
        for ids, vectors in catalog.vector_table(space, modality).chunks():
            truth.add(ids, vectors)
    found: list[Ids] = []
    spent: list[float] = []
    for query in questions.vectors:
        began = time.perf_counter()
        (matches,) = store.search(space, modality, query[np.newaxis], RECALL_AT)
        spent.append(time.perf_counter() - began)
        found.append(matches.ids)
    return float(truth.recalls(found).mean()), 1000 * float(np.median(spent))
