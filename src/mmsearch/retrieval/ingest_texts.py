"""Sentences into the library, and the check that a library keeps to one space."""

import hashlib
import os
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmsearch.core import Encoder
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, RootKind, TextRow
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.files import AnyPath
from mmsearch.retrieval.network import try_networks
from mmsearch.retrieval.remembered import told_apart
from mmsearch.retrieval.report import IngestOptions, IngestReport
from mmsearch.retrieval.sentences import Sentences, read_sentences

_BATCH = 256
_DEFAULT = IngestOptions()


def check_space(
    catalog: Catalog, encoder: Encoder, options: IngestOptions, given: Sequence[AnyPath]
) -> None:
    """Refuse an encoder of another space than the library's, unless all is to be encoded anew.

    `given` is what the command was to index, as its arguments. Raises SpaceMismatchError, with
    the command that re-indexes; ModelError when all is to be encoded anew and the model cannot
    encode what the library holds.
    """
    current, space, counts = catalog.space(), encoder.space, catalog.counts()
    if options.reindex and counts.images:
        check_pictures(encoder)
    if current is None or current.digest == space.digest or counts.items == 0:
        return
    if options.reindex:
        try_networks(encoder, images=counts.images > 0)
        return
    command = ["mmsearch", "index", "--reindex", *map(os.fsdecode, given)]
    command += ["--model", options.model or space.name, "--library", str(catalog.directory)]
    raise SpaceMismatchError(
        f"the library holds vectors of the model {current.name}, not of "
        f"{told_apart(space, current)}; keep to that model, or encode the whole library anew: "
        f"{shlex.join(command)}"
    )


def check_pictures(encoder: Encoder) -> None:
    """Refuse an encoder without an image tower, before anything is recorded.

    Raises ModelError.
    """
    _ = encoder.preprocessing


def add_sentences(
    catalog: Catalog, encoder: Encoder, file: Path, options: IngestOptions = _DEFAULT
) -> IngestReport:
    """Index the sentences of a file; those that it no longer holds are removed.

    A sentence is known by its text alone: its place in the file does not matter. A known file
    that is missing now is offline, not empty. Raises InputError when it was never indexed and
    does not exist, DataError when it cannot be read, SpaceMismatchError as `ingest` does.
    """
    path = Path(os.path.realpath(file))
    check_space(catalog, encoder, options, ["--texts", file])
    root = next(
        (r for r in catalog.roots() if r.path == str(path) and r.kind is RootKind.TEXTS), None
    )
    if not path.exists():
        if root is None:
            raise InputError(f"no such file: {shown(file)}")
        catalog.set_offline(root.id, True)
        return IngestReport(offline=len(catalog.known_texts(root.id)), offline_roots=[path])
    sentences = read_sentences(path)
    catalog.set_space(encoder.space)
    root_id = catalog.add_root(path, RootKind.TEXTS)
    return _update(catalog, encoder, root_id, sentences)


def add_given_sentences(
    catalog: Catalog,
    encoder: Encoder,
    texts: Sequence[str],
    options: IngestOptions = _DEFAULT,
) -> IngestReport:
    """Index sentences that come from no file; those added so before stay.

    They are kept in NFC, without white space around them; empty ones are passed over. Raises
    InputError for one that is not valid Unicode, SpaceMismatchError as `ingest` does.
    """
    check_space(catalog, encoder, options, [])
    catalog.set_space(encoder.space)
    known = catalog.known_texts(None)
    clean = [unicodedata.normalize("NFC", " ".join(text.split())) for text in texts]
    wanted = {text_digest(text): text for text in clean if text}
    done = {digest for digest in wanted if digest in known and known[digest].encoded}
    report = IngestReport(unchanged=len(wanted.keys() & known.keys()))
    wanting = {digest: text for digest, text in wanted.items() if digest not in done}
    try:
        _encode(catalog, encoder, None, wanting, report)
    except KeyboardInterrupt:
        report.interrupted = True
    report.new = max(0, report.encoded - len(wanted.keys() & known.keys() - done))
    return report


def _update(catalog: Catalog, encoder: Encoder, root_id: int, sentences: Sentences) -> IngestReport:
    known = catalog.known_texts(root_id)
    wanted = {text_digest(text): text for text in sentences.texts}
    gone = [item.id for digest, item in known.items() if digest not in wanted]
    report = IngestReport(problems=list(sentences.problems), failed=len(sentences.problems))
    report.gone = len(gone)
    if gone:
        catalog.commit(Batch(gone=tuple(gone)))
    report.unchanged = len(wanted.keys() & known.keys())
    unencoded = {d: text for d, text in wanted.items() if d in known and not known[d].encoded}
    new = {digest: text for digest, text in wanted.items() if digest not in known}
    try:
        _encode(catalog, encoder, root_id, unencoded, report)
        _encode(catalog, encoder, root_id, new, report)
    except KeyboardInterrupt:
        report.interrupted = True
    report.new = max(0, report.encoded - len(unencoded))
    return report


def encode_old_sentences(catalog: Catalog, encoder: Encoder, report: IngestReport) -> None:
    """Encode every sentence of the library that has no vector in the current space."""
    roots: list[int | None] = [r.id for r in catalog.roots() if r.kind is RootKind.TEXTS]
    for root_id in [*roots, None]:
        missing = [t for t in catalog.known_texts(root_id).values() if not t.encoded]
        items = catalog.items([text.id for text in missing])
        texts = {text.digest: items[text.id].text or "" for text in missing}
        report.unchanged += len(texts)
        _encode(catalog, encoder, root_id, texts, report)


def _encode(
    catalog: Catalog,
    encoder: Encoder,
    root_id: int | None,
    texts: Mapping[str, str],
    report: IngestReport,
) -> None:
    """Encode and commit sentences, by digest; `report.encoded` counts what is committed."""
    digests = list(texts)
    for start in range(0, len(digests), _BATCH):
        some = digests[start : start + _BATCH]
        vectors = encoder.encode_texts([texts[digest] for digest in some])
        rows = (
            TextRow(texts[digest], root_id, digest, vector)
            for digest, vector in zip(some, vectors, strict=True)
        )
        catalog.commit(Batch(texts=tuple(rows)))
        report.encoded += len(some)


def text_digest(text: str) -> str:
    """Return the hex SHA-256 of a sentence's UTF-8 bytes: its identity within a root.

    Raises InputError when it is not valid Unicode.
    """
    try:
        return hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the sentence {text!r} is not valid Unicode ({error.reason}); leave it out"
        ) from error
