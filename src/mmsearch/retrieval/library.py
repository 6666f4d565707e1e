"""The facade: a library of pictures and sentences that can be filled and asked.

Reading never takes the write lock; what adds items takes it for as long as it works. A library
belongs to the thread that opened it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from mmsearch.core import (
    Encoder,
    Hit,
    ImageTerm,
    Item,
    ItemTerm,
    Modality,
    Pixels,
    Query,
    Term,
    TextTerm,
)
from mmsearch.errors import ConfigError, InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.asking import Asking
from mmsearch.retrieval.query import Answered, as_condition, choose_target, text_of_query
from mmsearch.retrieval.remembered import searched_space

if TYPE_CHECKING:
    from mmsearch.conditions import Condition
    from mmsearch.retrieval.explaining import Explanation
    from mmsearch.retrieval.filling import Filling
    from mmsearch.retrieval.labelling import LabelReport
    from mmsearch.retrieval.report import IngestOptions, IngestReport
    from mmsearch.retrieval.terms import WrittenTerm
    from mmsearch.retrieval.timing import Progress

Question: TypeAlias = "str | Path | Pixels | Query"
"""Terms in a text, a picture's file, a picture's pixels (h, w, 3) uint8 RGB, or a whole query."""

AnyPath: TypeAlias = str | bytes | os.PathLike[str]
Labelled: TypeAlias = AnyPath | int | Item
OnProgress: TypeAlias = "Callable[[Progress], None]"
T = TypeVar("T")


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
        self._asking: Asking | None = None

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
        self,
        question: Question,
        *,
        k: int = 10,
        target: Modality | None = None,
        where: "str | Condition | None" = None,
    ) -> list[Hit]:
        """Return the `k` items that are nearest to a question, best first, ties by id.

        A text is read as `mmsearch query` does: `dog +0.5:beach -:people`. `target` None looks
        for sentences when the question is a picture and the library has any, else for pictures;
        `where` is a condition on what may answer. A `Query` brings its own; its target None is
        both modalities. Raises DecodeError for a file that is no picture, QueryError for what
        cannot be understood, ConfigError for a `k` below 1 and for what a Query has of its own,
        SpaceMismatchError when the library was indexed with another model.
        """
        query = self._query(question, k, target, where)
        return self.answer(query, lambda answered: list(answered.hits)) or []

    def explain(
        self,
        question: Question,
        *,
        k: int = 10,
        target: Modality | None = None,
        where: "str | Condition | None" = None,
    ) -> "Explanation":
        """Answer as `search` does, and tell why so. Raises InputError when nothing is there."""
        from mmsearch.retrieval.explaining import explain

        why = partial(explain, self.catalog, self.encoder.space)
        explanation = self.answer(self._query(question, k, target, where), why)
        if explanation is None:
            raise InputError(f"the library {self.directory} is empty; run: mmsearch index PATH")
        return explanation

    def similar(
        self, item: Item | int, *, k: int = 10, where: "str | Condition | None" = None
    ) -> list[Hit]:
        """Return the `k` items of the same kind that are nearest to an item, without itself.

        Raises InputError when the library has no such item, or it has no vector.
        """
        from mmsearch.retrieval.named_items import named_item

        found = named_item(self.catalog, str(item)) if isinstance(item, int) else item
        query = Query((ItemTerm(found.id),), k, found.modality, where=as_condition(where))
        return self.search(query)

    def terms(self, question: "str | Path | Pixels") -> tuple[Term, ...]:
        """Return the terms of a question, with the pictures that it names.

        Raises DecodeError, and QueryError for a text that cannot be understood.
        """
        if isinstance(question, Path):
            return (self.image_term(question),)
        if not isinstance(question, str):
            return (ImageTerm(question),)
        if not {":", '"'} & {*question}:  # whatever is no plain sentence has one of them
            return (TextTerm(text_of_query(question)),)
        from mmsearch.retrieval.terms import parse_line

        return tuple(self.read(term) for term in parse_line(question))

    def read(self, term: "WrittenTerm") -> Term:
        """Return a term as it is asked: a picture's file is read. Raises DecodeError."""
        if isinstance(term, TextTerm | ItemTerm):
            return term
        return self.image_term(term.path, term.weight)

    def image_term(self, file: AnyPath, weight: float = 1.0) -> ImageTerm:
        """Return a picture's file as a term, with its digest. Raises DecodeError."""
        from mmsearch.retrieval.picture_term import picture_term

        return picture_term(file, self.encoder.preprocessing, weight)

    def _query(
        self,
        question: Question,
        k: int,
        target: Modality | None,
        where: "str | Condition | None",
    ) -> Query:
        if isinstance(question, Query):
            if target is not None or where is not None:
                raise ConfigError("a Query has a target and a condition of its own; set them there")
            return question
        terms = self.terms(question)
        target = target or choose_target(terms, texts=self.catalog.counts().texts)
        return Query(terms, k, target, where=as_condition(where))

    def answer(self, query: Query, read: Callable[[Answered], T]) -> T | None:
        """Answer a query and return what `read` makes of it; None when the library is empty.

        What `read` looks up in the library is of the very moment of the answers, whatever another
        process commits. Raises what `search` raises.
        """
        space = searched_space(self.catalog, self.encoder.space, self._model)
        if space is None:
            return None
        if self._asking is None or self._asking.space != space:
            self._asking = Asking(self.catalog, self._indexes, self.encoder, space, self._model)
        if not self._asked and any(isinstance(term, TextTerm) for term in query.terms):
            self._asked = True
            self._asking.load_ahead(query)
        return self._asking.ask(query, read)

    # Fill, and remove

    def add(
        self,
        paths: AnyPath | Iterable[AnyPath],
        options: "IngestOptions | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> "IngestReport":
        """Index the pictures under some files and folders: what is new or changed.

        A file that cannot be read is a row of the report, no error. `on_progress` is called in
        this thread. Raises InputError for a path that does not exist, SpaceMismatchError for
        another model (unless `options.reindex`), LibraryBusyError when another process writes.
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

    def attach_captions(
        self,
        sources: AnyPath | Iterable[AnyPath],
        options: "IngestOptions | None" = None,
        on_progress: "OnProgress | None" = None,
    ) -> "IngestReport":
        """Attach the captions of files or folders to the pictures that they name.

        They replace those that a picture had. The files are remembered, and read again when
        they change. `options.fuse` is the weight with which captions are fused into the vectors
        of their pictures, None for that of the library. Raises DataError when a file cannot be
        read, SpaceMismatchError when the library was indexed with another model.
        """
        return self._filling().attach_captions(sources, options, on_progress)

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

        They need not exist; what lies in no folder of the library is passed over.
        """
        return self._filling().look_again(paths, options)

    def label(
        self,
        items: "Labelled | Iterable[Labelled]",
        *,
        add: str | Iterable[str] = (),
        remove: str | Iterable[str] = (),
    ) -> "LabelReport":
        """Give labels to items and take labels away, all or none; ids, items, files or folders.

        Raises InputError for what the library does not hold and for a text that is no label,
        LibraryBusyError when another process is writing.
        """
        return self._filling().label(items, add, remove)

    def labels(self) -> dict[str, int]:
        """Return how many items have each label, by name."""
        from mmsearch.index.attributes import label_counts

        return label_counts(self.catalog)

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
        files, and with `spaces` the vectors of models used before. A drive that is unplugged
        counts as gone. LibraryBusyError and KeyboardInterrupt are as in `forget`.
        """
        return self._filling().prune(spaces=spaces)

    def _filling(self) -> "Filling":
        from mmsearch.retrieval.filling import Filling

        return Filling(self.directory, self.encoder, self._model, self._indexes.warnings)
