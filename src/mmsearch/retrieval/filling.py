"""What a library does under the write lock: add, bring up to date, remove."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mmsearch.core import Encoder, Item
from mmsearch.errors import DataError
from mmsearch.index.catalog import Catalog
from mmsearch.index.compaction import reclaim
from mmsearch.index.rows import RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.attaching import Captioning, see_to_captions
from mmsearch.retrieval.captions.data import Problem
from mmsearch.retrieval.captions.listed import read_listed
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.forget import find, forget
from mmsearch.retrieval.ingest import OnProgress, ingest, ingest_touched
from mmsearch.retrieval.ingest_texts import add_given_sentences, add_sentences, check_space
from mmsearch.retrieval.labelling import LabelReport, chosen, label
from mmsearch.retrieval.prune import prune, survey
from mmsearch.retrieval.remembered import remember_model
from mmsearch.retrieval.report import IngestOptions, IngestReport

T = TypeVar("T")
_DEFAULT = IngestOptions()


class Filling:
    """The writing half of a `Library`, whose methods of the same names say what each does.

    `model` is remembered with the space of the encoder; `warnings` takes what the index files
    are in need of.
    """

    def __init__(
        self, directory: Path, encoder: Encoder, model: str | None, warnings: list[str]
    ) -> None:
        self._directory = directory
        self._encoder = encoder
        self._model = model
        self._warnings = warnings

    def add(
        self,
        paths: AnyPath | Iterable[AnyPath],
        options: IngestOptions | None = None,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Index pictures, then see to captions."""
        chosen = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
        wanted = options or _DEFAULT
        captioning = Captioning(
            tuple(read_listed(file) for file in wanted.captions), wanted.fuse, on_progress
        )

        def work(catalog: Catalog) -> IngestReport:
            report = ingest(catalog, self._encoder, chosen, wanted, on_progress)
            return see_to_captions(catalog, self._encoder, captioning, report)

        return self._write(work)

    def attach_captions(
        self,
        sources: AnyPath | Iterable[AnyPath],
        options: IngestOptions | None = None,
        on_progress: OnProgress | None = None,
    ) -> IngestReport:
        """Attach captions to pictures."""
        chosen = [sources] if isinstance(sources, str | bytes | os.PathLike) else list(sources)
        wanted = options or _DEFAULT
        listed = tuple(read_listed(Path(os.fsdecode(source))) for source in chosen)
        captioning = Captioning(listed, wanted.fuse, on_progress)

        def work(catalog: Catalog) -> IngestReport:
            check_space(catalog, self._encoder, replace(wanted, reindex=False), [])
            return see_to_captions(catalog, self._encoder, captioning, IngestReport())

        return self._write(work)

    def add_texts(
        self, source: AnyPath | Iterable[str], options: IngestOptions | None = None
    ) -> IngestReport:
        """Index sentences."""
        chosen = options or _DEFAULT
        if isinstance(source, str | bytes | os.PathLike):
            file = Path(os.fsdecode(source))
            return self._write(lambda catalog: add_sentences(catalog, self._encoder, file, chosen))
        texts = list(source)
        return self._write(
            lambda catalog: add_given_sentences(catalog, self._encoder, texts, chosen)
        )

    def refresh(
        self, options: IngestOptions | None = None, on_progress: OnProgress | None = None
    ) -> IngestReport:
        """Look at everything again, the sentences first."""
        report = IngestReport()
        with Catalog.open(self._directory) as catalog:
            files = [root.path for root in catalog.roots() if root.kind is RootKind.TEXTS]
        for path in files:
            if not report.interrupted:
                try:
                    report.merge(self.add_texts(path, options))
                except DataError as error:
                    report.problems.append(Problem(path, str(error)))
                    report.failed += 1
        if not report.interrupted:
            report.merge(self.add((), options, on_progress))
        return report

    def look_again(
        self, paths: Sequence[bytes], options: IngestOptions | None = None
    ) -> IngestReport:
        """Look at some paths again."""

        def work(catalog: Catalog) -> IngestReport:
            report = ingest_touched(catalog, self._encoder, paths, options or _DEFAULT)
            return see_to_captions(catalog, self._encoder, Captioning(), report)

        return self._write(work)

    def label(
        self,
        items: AnyPath | int | Item | Iterable[AnyPath | int | Item],
        add: str | Iterable[str],
        remove: str | Iterable[str],
    ) -> LabelReport:
        """Give and take labels."""
        some = [items] if isinstance(items, str | bytes | os.PathLike | int | Item) else items
        named = [each.id if isinstance(each, Item) else each for each in some]
        given, taken = ([one] if isinstance(one, str) else one for one in (add, remove))
        with Catalog.open(self._directory, write=True) as catalog:
            return label(catalog, chosen(catalog, named), add=given, remove=taken)

    def forget(self, paths: AnyPath | Iterable[AnyPath]) -> int:
        """Remove what lies at or under some paths."""
        chosen = [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)
        with Catalog.open(self._directory, write=True) as catalog:
            with catalog.snapshot():
                found = find(catalog, chosen)
            _finish(catalog, finished=forget(catalog, found))
        return sum(len(holding.images) + len(holding.texts) for holding in found)

    def prune(self, *, spaces: bool = False) -> int:
        """Remove what is gone for good."""
        with Catalog.open(self._directory, write=True) as catalog:
            found = survey(catalog, spaces=spaces)
            _finish(catalog, finished=prune(catalog, found))
        return sum(len(absent.images) + len(absent.texts) for absent in found.absent)

    def _write(self, work: Callable[[Catalog], T]) -> T:
        """Do some work with the write lock, then bring the index files up to date."""
        with Catalog.open(self._directory, write=True) as catalog:
            remember_model(catalog, self._encoder.space, self._model)
            done = work(catalog)
            indexes = IndexStore(catalog, self._directory)
            if catalog.space() is not None:
                indexes.refresh(self._encoder.space)
        self._warnings.extend(indexes.warnings)
        return done


def _finish(catalog: Catalog, *, finished: bool) -> None:
    """Give space back after a removal; go on with the Ctrl-C that cut it short."""
    if not finished:
        raise KeyboardInterrupt
    reclaim(catalog)
