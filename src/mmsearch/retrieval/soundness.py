"""Whether a library is sound, its model included; and what mends it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmsearch.core import Space
from mmsearch.errors import ConfigError, InputError, MMSearchError, ModelError, UnsoundLibraryError
from mmsearch.index import database, generation, salvage
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.checking_files import check_files, faults, in_the_way, is_index_name
from mmsearch.index.findings import Finding, Remedy, error
from mmsearch.index.lock import WriterLock
from mmsearch.index.records import records
from mmsearch.index.recounting import accept, recount
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.folder import read_model_folder, verify
from mmsearch.retrieval.models import load_encoder, resolve_model
from mmsearch.retrieval.remembered import remembered_model


@dataclass(slots=True)
class Repaired:
    """What a repair did, and what is still to be said. `done`: one line an action."""

    done: list[str] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether the library is sound now."""
        return not any(finding.is_error for finding in self.findings)


def check(directory: Path, *, quick: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a library, most basic things first.

    An absent or half-made library yields nothing. Raises InputError when it cannot be read.
    """
    try:
        if not database.is_made(directory):
            return
    except database.DamagedCatalogError as problem:
        yield error(str(problem), Remedy.RESCUE)
    except UnsoundLibraryError as problem:
        yield error(str(problem), Remedy.OTHER)
        return
    if (directory / database.FILE).exists():
        yield from check_catalog(directory, quick=quick)
    yield from check_files(directory, quick=quick)
    yield from _check_model(directory, quick=quick)


def _check_model(directory: Path, *, quick: bool) -> Iterator[Finding]:
    """Check the model that the library's vectors are from."""
    try:
        with Catalog.open(directory) as catalog, catalog.snapshot():
            space, spec = catalog.space(), remembered_model(catalog)
    except MMSearchError:  # the catalog's own findings say why
        return
    if space is None:
        return
    try:
        _load(spec, space, quick=quick)
    except (ModelError, ConfigError) as problem:
        yield error(
            f"the model: {problem}",
            Remedy.OTHER,
            "put the model's files back, or choose "
            "another one: `mmsearch index --reindex --model MODEL`",
        )


def _load(spec: str, space: Space, *, quick: bool) -> None:
    folder = read_model_folder(resolve_model(spec))
    if folder.space.digest != space.digest or folder.space.dim != space.dim:
        raise ModelError(f"{folder.path} is not the model that the library was indexed with")
    if not quick:
        verify(folder)
        load_encoder(spec).encode_texts(["a picture"])


def repair(directory: Path, *, dry_run: bool = False) -> Repaired:
    """Mend a library as far as it goes: what is derived is made anew, what is damaged set aside.

    Raises LibraryBusyError when another process writes, InputError when there is no library or
    it cannot be written, UnsoundLibraryError when it is foreign or from a newer version.
    """
    if dry_run:
        return Repaired(_plan(list(check(directory))), {}, [])
    result = Repaired()
    if not salvage.interrupted(directory) and not _has_library(directory):
        return result
    lock = WriterLock(directory)
    try:
        with database.explained(directory):
            _mend_catalog(directory, result)
            _mend_indexes(directory, lock, result)
    except OSError as problem:
        raise InputError(
            f"cannot repair the library {directory}: {problem.strerror}; what is there stands"
        ) from problem
    finally:
        lock.release()
    result.findings = list(check(directory))
    return result


def _has_library(directory: Path) -> bool:
    """Return whether there is something to repair; refuse what is foreign or newer."""
    try:
        return database.is_made(directory)
    except database.DamagedCatalogError:
        return True


def _mend_catalog(directory: Path, result: Repaired) -> None:
    """Mend the catalog by the smallest remedy that suffices. The lock is held."""
    if salvage.interrupted(directory):
        salvage.finish(directory)
        result.done.append("finished the repair that was interrupted")
    findings = _catalog_findings(directory)
    wanted = {finding.remedy for finding in findings if finding.is_error}
    _set_files_aside(directory, result)
    if Remedy.COUNT in wanted and Remedy.RESCUE not in wanted:
        try:
            recount(directory)
            result.done.append("made tallies, checksums and b-tree indexes anew")
            wanted = {
                finding.remedy for finding in _catalog_findings(directory) if finding.is_error
            }
        except UnsoundLibraryError:
            wanted = {Remedy.RESCUE}
    if wanted & {Remedy.RESCUE, Remedy.COUNT}:
        _salvage(directory, result)
    elif Remedy.ACCEPT in wanted:
        noted, now = accept(directory)
        if noted.library not in ("", now.library):
            result.done.append("accepted another library's catalog")
        if now.commits < noted.commits:
            result.done.append(f"accepted that {noted.commits - now.commits:,} commits are lost")


def _catalog_findings(directory: Path) -> list[Finding]:
    try:
        if database.is_made(directory):
            return list(check_catalog(directory))
    except database.DamagedCatalogError as problem:
        return [error(str(problem), Remedy.RESCUE)]
    return []


def _salvage(directory: Path, result: Repaired) -> None:
    found = salvage.salvage(directory)
    result.lost = found.lost
    result.done += [
        f"made a new catalog of {found.items:,} items and {found.vectors:,} vectors",
        f"set the old one aside as {found.quarantine}",
        *(f"could not verify: {what}" for what in found.unverified),
    ]
    result.done += [
        f"left out {count:,} damaged rows of {table}" for table, count in found.dropped_rows.items()
    ]
    if found.dropped_vectors:
        result.done.append(f"left out {found.dropped_vectors:,} damaged vectors")


def _set_files_aside(directory: Path, result: Repaired) -> None:
    """Rename damaged index files; all of them when nobody can say which ones are."""
    for name in in_the_way(directory):
        generation.quarantine(directory / name)
        result.done.append(f"set {name} aside, which is no folder")
    try:
        bad = [record.file for record in records(directory) if faults(directory, record)]
    except (*database.UNREADABLE, MMSearchError):
        bad = [str(path.relative_to(directory)) for path in directory.glob("index/*/*/*.faiss")]
    for name in bad:
        if is_index_name(name) and (directory / name).exists():
            generation.quarantine(directory / name)
            result.done.append(f"set {name} aside")


def _mend_indexes(directory: Path, lock: WriterLock, result: Repaired) -> None:
    """Forget records without a sound file, and write the files that are missing."""
    with Catalog.open(directory, write=True, lock=lock) as catalog:
        bad = [record for record in records(directory) if faults(directory, record)]
        if bad:
            with catalog.transaction() as db:
                for record in bad:
                    db.execute("DELETE FROM generations WHERE file = ?", (record.file,))
            result.done += [f"forgot {record.file}" for record in bad]
        space = catalog.space()
        if space is not None:
            indexes = IndexStore(catalog, directory)
            before = {record.file for record in records(directory)}
            indexes.refresh(space)
            written = {record.file for record in records(directory)} - before
            result.done += [f"wrote {file}" for file in sorted(written)] + indexes.warnings


def _plan(findings: list[Finding]) -> list[str]:
    """Return what a repair would do."""
    wanted = {finding.remedy for finding in findings if finding.is_error}
    steps = {
        Remedy.RESCUE: "make a new catalog of the sound rows, the old one goes into quarantine",
        Remedy.ACCEPT: "accept that commits are lost, or that the catalog is another library's",
        Remedy.COUNT: "make tallies, checksums and b-tree indexes anew",
        Remedy.INDEX: "set damaged index files aside and write new ones",
    }
    return [f"would {step}" for remedy, step in steps.items() if remedy in wanted]
