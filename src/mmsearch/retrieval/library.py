"""The facade: a library of pictures and sentences that can be filled and asked.

Reading never takes the write lock; what adds items takes it for as long as it works. A library
belongs to the thread that opened it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from mmsearch.core import (
    Encoder,
    Hit,
    Ids,
    ImageTerm,
    Item,
    ItemTerm,
    Matches,
    Modality,
    Pixels,
    Query,
    Space,
    Term,
    TextTerm,
    Vectors,
)
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.query import choose_target, combine, text_of_query

if TYPE_CHECKING:
    from mmsearch.retrieval.filling import Filling
    from mmsearch.retrieval.report import IngestOptions, IngestReport
    from mmsearch.retrieval.timing import Progress

_TRIES = 3  # to find what a writer does not delete at the same moment

Question: TypeAlias = "str | Path | Pixels | Query"
"""A sentence, a picture's file, a picture's pixels (h, w, 3) uint8 RGB, or a whole query."""

AnyPath: TypeAlias = str | bytes | os.PathLike[str]
OnProgress: TypeAlias = "Callable[[Progress], None]"


class Library:
    """Pictures and sentences in one joint space; made by `mmsearch.open`.

    `model` is the spec under which the encoder can be loaded again; it is remembered with the
    library when items are added. A context manager.
    """

    def __init__(
        self, catalog: Catalog, indexes: IndexStore, encoder: Encoder, *, model: str | None = None
    ) -> None:
        self.catalog = catalog
        self.encoder = encoder
        self._indexes = indexes
        self._model = model
        self._asked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the library's files; a second call does nothing."""
        self.catalog.close()

    @property
    def directory(self) -> Path:
        """Where the library lies."""
        return self.catalog.directory

    @property
    def warnings(self) -> list[str]:
        """What searching found to be in need of mending, one sentence each."""
        return self._indexes.warnings

    # Search

    def search(
        self, question: Question, *, k: int = 10, target: Modality | None = None
    ) -> list[Hit]:
        """Return the `k` items that are nearest to a question, best first, ties by id.

        `target` None looks for sentences when the question is a picture and the library has
        any, else for pictures. A `Query` brings its own `k` and `target`, where None means
        both. Raises DecodeError for a file that is no picture, ConfigError for a `k` below 1,
        SpaceMismatchError when the library was indexed with another model.
        """
        if not isinstance(question, Query):
            terms = (self._term(question),)
            counts = self.catalog.counts()
            question = Query(terms, k, target or choose_target(terms, texts=counts.texts))
        space = self._searched_space()
        if space is None:
            return []
        self._load_ahead(space, question)
        weights = [term.weight for term in question.terms]
        vector = combine(self._vectors(space, question.terms), weights)
        for _ in range(_TRIES):
            ranked = self._ranked(space, vector, question)
            items = self.catalog.found_items(space, [number for number, _ in ranked])
            if len(items) == len(ranked):  # else a writer has deleted one of them just now
                break
        there = [(score, items[number]) for number, score in ranked if number in items]
        return [Hit(rank, score, item) for rank, (score, item) in enumerate(there, start=1)]

    def similar(self, item: Item | int, *, k: int = 10) -> list[Hit]:
        """Return the `k` items of the same kind that are nearest to an item, without itself.

        Raises InputError when the library has no such item.
        """
        number = item if isinstance(item, int) else item.id
        found = self.catalog.items([number]).get(number)
        if found is None:
            raise InputError(f"the library has no item {number}; `mmsearch query --json` shows ids")
        return self.search(Query((ItemTerm(number),), k, found.modality))

    def _term(self, question: str | Path | Pixels) -> Term:
        if isinstance(question, str):
            return TextTerm(text_of_query(question))
        if isinstance(question, Path):
            return self.image_term(question)
        return ImageTerm(question)

    def image_term(self, file: AnyPath, weight: float = 1.0) -> ImageTerm:
        """Return a picture's file as a term of a query. Raises DecodeError."""
        from mmsearch.retrieval.decode import decode

        return ImageTerm(decode(file, self.encoder.preprocessing), weight)

    def _searched_space(self) -> Space | None:
        """Return the library's space, None while it has none; refuse another encoder's."""
        current, space = self.catalog.space(), self.encoder.space
        if current is None or self.catalog.counts().items == 0:
            return None
        if current.digest == space.digest:
            return current
        import shlex

        from mmsearch.retrieval.remembered import told_apart

        raise SpaceMismatchError(
            f"the library {self.directory} was indexed with the model {current.name}, not with "
            f"{told_apart(space, current)}; ask it with that model, or encode it anew: "
            f"mmsearch index --reindex --model {shlex.quote(self._model or space.name)} "
            f"--library {shlex.quote(str(self.directory))}"
        )

    def _load_ahead(self, space: Space, question: Query) -> None:
        """Begin to load what the first question of a library needs, when that is a sentence."""
        if self._asked or not any(isinstance(term, TextTerm) for term in question.terms):
            return
        self._asked = True
        from mmsearch.retrieval.ahead import load_ahead

        targets = [question.target] if question.target else Modality
        engine = any(self._indexes.needs_engine(space, target) for target in targets)
        load_ahead(self.encoder, self._indexes.load_engine if engine else lambda: None)

    def _vectors(self, space: Space, terms: Sequence[Term]) -> Vectors:
        """Return one row a term, (n, dim), each kind of term encoded at once."""
        rows = np.empty((len(terms), space.dim), dtype=np.float32)
        texts = {n: term.text for n, term in enumerate(terms) if isinstance(term, TextTerm)}
        images = {n: term.pixels for n, term in enumerate(terms) if isinstance(term, ImageTerm)}
        items = {n: term.id for n, term in enumerate(terms) if isinstance(term, ItemTerm)}
        if texts:
            rows[list(texts)] = self.encoder.encode_texts(list(texts.values()))
        if images:
            rows[list(images)] = self.encoder.encode_images(list(images.values()))
        if items:
            rows[list(items)] = self.catalog.vectors(space, list(items.values()))
        return rows

    def _ranked(self, space: Space, vector: Vectors, query: Query) -> list[tuple[int, float]]:
        """Return (id, score) of the k best, without the items that the query is made of."""
        asked = {term.id for term in query.terms if isinstance(term, ItemTerm)}
        k = min(query.k + len(asked), max(1, self.catalog.counts().items))
        found: list[tuple[int, float]] = []
        for modality in [query.target] if query.target else Modality:
            ask = partial(self._best, space, modality, vector)
            if query.online:
                from mmsearch.retrieval.online import best_online

                found += _pairs(best_online(self.catalog, modality, ask, k))
            else:
                found += _pairs(ask(k, None))
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return [pair for pair in found if pair[0] not in asked][: query.k]

    def _best(
        self, space: Space, modality: Modality, vector: Vectors, k: int, among: Ids | None
    ) -> Matches:
        (matches,) = self._indexes.search(space, modality, vector, k, among=among)
        return matches

    # Fill, and remove

    def add(
        self,
        paths: AnyPath | Iterable[AnyPath],
        options: "IngestOptions | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> "IngestReport":
        """Index the pictures under some files and folders: what is new or changed.

        A file that cannot be read is a row of the report, not an error. `on_progress` is
        called in this thread. Raises InputError for a path that does not exist,
        SpaceMismatchError when the library holds another model's vectors (unless
        `options.reindex`), LibraryBusyError when another process is writing.
        """
        return self._filling().add(paths, options, on_progress)

    def add_texts(
        self, source: AnyPath | Iterable[str], options: "IngestOptions | None" = None
    ) -> "IngestReport":
        """Index sentences: those of a file (text, CSV or JSONL), or those of an iterable.

        A file's sentences follow the file when it is added again; others stay. Raises
        DataError when the file cannot be read, and what `add` raises.
        """
        return self._filling().add_texts(source, options)

    def refresh(
        self,
        options: "IngestOptions | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> "IngestReport":
        """Bring the library up to date with every folder and file that it was made from.

        Sentences whose file cannot be read stay, and a problem of the report says so.
        """
        return self._filling().refresh(options, on_progress)

    def look_again(
        self, paths: Sequence[bytes], options: "IngestOptions | None" = None
    ) -> "IngestReport":
        """Index what changed at some absolute paths below the library's folders; see `watch`.

        They need not exist any more; what lies in no folder of the library is passed over.
        """
        return self._filling().look_again(paths, options)

    def forget(self, paths: AnyPath | Iterable[AnyPath]) -> int:
        """Remove what lies at or under some paths; return how many items that were.

        No file is touched. What is forgotten inside a folder that stays does not come back with
        the next `refresh`; it does when its own path is added again. Raises InputError for a
        path at which the library holds nothing, LibraryBusyError when another process is
        writing. After a KeyboardInterrupt the same call goes on.
        """
        return self._filling().forget(paths)

    def prune(self, *, spaces: bool = False) -> int:
        """Remove what is gone for good; return how many items that were.

        Those are the items of folders and files that are not there now, failures of deleted
        files, and with `spaces` the vectors of models used before. A drive that is merely
        unplugged counts as gone. Raises LibraryBusyError when another process is writing.
        After a KeyboardInterrupt the same call goes on.
        """
        return self._filling().prune(spaces=spaces)

    def _filling(self) -> "Filling":
        from mmsearch.retrieval.filling import Filling

        return Filling(self.directory, self.encoder, self._model, self._indexes.warnings)


def _pairs(matches: Matches) -> list[tuple[int, float]]:
    return list(zip(matches.ids.tolist(), matches.scores.tolist(), strict=True))
