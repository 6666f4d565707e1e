"""Change which models this machine has: one process at a time, each change whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mmsearch.errors import LibraryBusyError, ModelError
from mmsearch.index.database import fsync_directory
from mmsearch.retrieval import models
from mmsearch.retrieval.models import InstalledModel, installed_models
from mmsearch.retrieval.specs import DEFAULT_FILE

ADDING: Final = ".adding"
REPLACED: Final = ".replaced"
REMOVED: Final = ".removed"
_LOCK: Final = ".lock"


def find_model(name: str) -> InstalledModel:
    """Return the installed model of a name. Raises ModelError, listing those there are."""
    known = installed_models()
    for model in known:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in known) or "none"
    raise ModelError(f"no model has the name {name!r}; models here: {names}")


def set_default_model(name: str) -> None:
    """Make an installed model the one that is used when nobody says.

    Raises ModelError when no model has that name.
    """
    find_model(name)
    with changing_models() as directory:
        partial = directory / f".{DEFAULT_FILE}"
        partial.write_text(name + "\n", encoding="utf-8")
        partial.replace(directory / DEFAULT_FILE)


def remove_model(name: str) -> int:
    """Delete an added model; return how many bytes that frees.

    When it was the default, there is none afterwards. Raises ModelError when no added model has
    that name.
    """
    model = find_model(name)
    if model.bundled:
        raise ModelError(f"{name} came with mmsearch and cannot be removed")
    with changing_models() as directory:
        freed = folder_bytes(model.path)
        if models.default_model() == name:
            (directory / DEFAULT_FILE).unlink()
        leaving = directory / f".{name}{REMOVED}"
        model.path.rename(leaving)
        shutil.rmtree(leaving, ignore_errors=True)
    return freed


def put_in_place(new: Path, path: Path) -> None:
    """Give a finished folder its name, in place of a folder that has it.

    Interrupted in between, the older one comes back: at once, or when the process was killed the
    next time that models are changed.
    """
    _sync(new)
    old = path.with_name(f".{path.name}{REPLACED}")
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
    fsync_directory(path.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def changing_models() -> Iterator[Path]:
    """Hold the right to change the folder of added models; yield that folder.

    What an interrupted change left behind is cleared first. Raises LibraryBusyError when another
    process holds it, ModelError when the folder cannot be written to.
    """
    directory = models.models_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ModelError(f"cannot write to {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise LibraryBusyError(
                f"process {holder or 'unknown'} is changing the models in {directory}; wait for "
                "it to end and run this again"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _clear_leftovers(directory)
        yield directory
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _clear_leftovers(directory: Path) -> None:
    for old in directory.glob(f".*{REPLACED}"):
        path = directory / old.name.removeprefix(".").removesuffix(REPLACED)
        if not path.exists():
            old.rename(path)
    for suffix in (ADDING, REPLACED, REMOVED):
        for left in directory.glob(f".*{suffix}"):
            shutil.rmtree(left, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Bring a folder's files to the disk before its name promises that they are there."""
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    fsync_directory(folder)
