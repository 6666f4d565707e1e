"""Put records into a library, each chunk in one transaction.

What is there already stays as it is, so that doing it again finishes what was cut short. Of two
files at one path the one that was changed last is kept. Labels come together, captions where
there are none. What this library has forgotten stays forgotten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Modality, Photo
from mmsearch.index import attributes, lookup, selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import (
    Batch,
    FileRow,
    LabelChange,
    LabelSource,
    TextRow,
)
from mmsearch.retrieval.paths import Scope
from mmsearch.retrieval.presence import is_there
from mmsearch.retrieval.transfer.records import Chunk, Record


@dataclass(slots=True)
class Placed:
    """What came of some records.

    `new`; `unchanged`: there already; `replaced`: the file that came was the newer one, or the
    one here had no vector; `kept`: the one here was; `forgotten`: left out for that; `missing`:
    without a digest, and the file cannot be read.
    """

    new: int = 0
    unchanged: int = 0
    replaced: int = 0
    kept: int = 0
    forgotten: int = 0
    missing: int = 0


@dataclass(slots=True)
class _Plan:
    """What one chunk does: rows to write, and the records whose labels and captions come along."""

    files: list[FileRow] = field(default_factory=list)
    texts: list[TextRow] = field(default_factory=list)
    pictures: list[Record] = field(default_factory=list)
    sentences: list[tuple[int | None, Record]] = field(default_factory=list)


class Placer:
    """Puts chunks into a catalog that is open for writing and has their space."""

    def __init__(self, catalog: Catalog) -> None:
        self.placed = Placed()
        self._catalog = catalog
        self._forgotten = Scope(selection.forgotten(catalog))
        self._roots = {(root.raw, root.kind): root.id for root in catalog.roots()}

    @cached_property
    def _spellings(self) -> dict[str, str]:
        """Every label of the library by what it is without regard to case."""
        names = [*attributes.label_counts(self._catalog)]
        return {name.casefold(): name for name in reversed(names)}

    def place(self, chunk: Chunk) -> None:
        """Write what a chunk brings; when this returns, it is on the disk."""
        before = replace(self.placed)
        try:
            with self._catalog.transaction():
                plan = _Plan()
                pairs = list(zip(chunk.records, chunk.vectors, strict=True))
                self._plan_pictures([p for p in pairs if p[0].path is not None], plan)
                self._plan_sentences([p for p in pairs if p[0].path is None], plan)
                if plan.files or plan.texts:
                    self._catalog.commit(Batch(files=tuple(plan.files), texts=tuple(plan.texts)))
                self._attach(plan)
        except BaseException:
            self.placed = before
            raise

    def _plan_pictures(
        self, pairs: Iterable[tuple[Record, NDArray[np.float32]]], plan: _Plan
    ) -> None:
        wanted: dict[bytes, tuple[Record, NDArray[np.float32]]] = {}
        for record, vector in pairs:
            path = record.path or b""
            if self._forgotten.holds(path):
                self.placed.forgotten += 1
            elif path not in wanted or wanted[path][0].mtime_ns < record.mtime_ns:
                wanted[path] = record, vector
        ids = lookup.by_path(self._catalog, [*wanted])
        items = self._catalog.items([*ids.values()])
        encoded = lookup.encoded(self._catalog, Modality.IMAGE, ids.values())
        for path, (record, vector) in wanted.items():
            item = items.get(ids.get(path, 0))
            if item is None:
                self.placed.new += 1
            elif item.digest == record.digest and item.id in encoded:
                self.placed.unchanged += 1
                plan.pictures.append(record)
                continue
            elif item.digest != record.digest and item.mtime_ns >= record.mtime_ns:
                self.placed.kept += 1
                continue
            else:
                self.placed.replaced += 1
            plan.pictures.append(record)
            root = self._root(record)
            digest = record.digest or ""
            plan.files.append(
                FileRow(path, root, record.size, record.mtime_ns, digest, vector, record.photo)
            )

    def _plan_sentences(
        self, pairs: Iterable[tuple[Record, NDArray[np.float32]]], plan: _Plan
    ) -> None:
        by_root: dict[int | None, dict[str, tuple[Record, NDArray[np.float32]]]] = {}
        for record, vector in pairs:
            root = None if record.root is None else self._root(record)
            by_root.setdefault(root, {})[record.digest or ""] = record, vector
        for root, wanted in by_root.items():
            ids = lookup.by_digest(self._catalog, root, [*wanted])
            encoded = lookup.encoded(self._catalog, Modality.TEXT, ids.values())
            for digest, (record, vector) in wanted.items():
                plan.sentences.append((root, record))
                if ids.get(digest) in encoded:
                    self.placed.unchanged += 1
                    continue
                self.placed.replaced += digest in ids
                self.placed.new += digest not in ids
                plan.texts.append(TextRow(record.text or "", root, digest, vector))

    def _root(self, record: Record) -> int:
        """Return the id of a record's root; a new one is offline unless it is there."""
        path, kind = record.root or b"", record.root_kind
        known = self._roots.get((path, kind))
        if known is None:
            known = self._roots[path, kind] = self._catalog.add_root(path, kind)
            if not is_there(path):
                self._catalog.set_offline(known, True)
        return known

    def _attach(self, plan: _Plan) -> None:
        """Bring facts, labels and captions to the items that the records are now."""
        records: dict[int, Record] = {}
        paths = lookup.by_path(self._catalog, [r.path for r in plan.pictures if r.path])
        records |= {paths[r.path]: r for r in plan.pictures if r.path}
        for root in {root for root, _ in plan.sentences}:
            some = {r.digest: r for at, r in plan.sentences if at == root and r.digest}
            ids = lookup.by_digest(self._catalog, root, [*some])
            records |= {number: some[digest] for digest, number in ids.items()}
        self._attach_facts(records)
        self._attach_labels(records)
        self._attach_captions(records)

    def _attach_facts(self, records: dict[int, Record]) -> None:
        known = attributes.photos(self._catalog, [*records])
        facts: dict[int, Photo] = {
            number: record.photo
            for number, record in records.items()
            if record.photo is not None and number not in known
        }
        if facts:
            attributes.set_photos(self._catalog, facts)

    def _attach_labels(self, records: dict[int, Record]) -> None:
        """Add the labels that an item has not; a person's takes the place of a model's.

        Labels of any case are one, in the spelling that this library has.
        """
        known = attributes.labels(self._catalog, [*records])
        changes = []
        for number, record in records.items():
            own = {label.name.casefold(): label for label in known.get(number, ())}
            for label in record.labels:
                key = label.name.casefold()
                held = own.get(key)
                if held and (label.source, held.source) != (LabelSource.USER, LabelSource.AUTO):
                    continue
                name = held.name if held else self._spellings.setdefault(key, label.name)
                changes.append(LabelChange(number, name, label.source, label.score))
        if changes:
            attributes.set_labels(self._catalog, changes)

    def _attach_captions(self, records: dict[int, Record]) -> None:
        pictures: Sequence[int] = [n for n, r in records.items() if r.captions and r.path]
        known = attributes.captions(self._catalog, pictures)
        texts = {number: records[number].captions for number in pictures if number not in known}
        if texts:
            attributes.set_captions(self._catalog, texts)
