"""Write a file or a folder beside its place and rename it when it is whole."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmsearch.errors import InputError


@contextmanager
def file_beside(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield where to write a file; it gets its name when the block ends well.

    Raises InputError when something stands there: unless `force`, which replaces files alone.
    """
    if target.is_dir() or (os.path.lexists(target) and not (force and target.is_file())):
        raise _taken(target, is_file=target.is_file())
    beside = _prepared(target)
    try:
        yield beside
        _sync(beside)
        beside.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    _sync(target.parent)


@contextmanager
def folder_beside(target: Path, *, force: bool, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a new folder to write files into; it gets its name when the block ends well.

    An empty folder is taken over. Raises InputError when anything else stands there: unless
    `force`, which replaces what `is_ours` says was written by this program.
    """
    free = not os.path.lexists(target) or _is_empty(target)
    if not free and not (force and is_ours(target)):
        raise _taken(target, is_file=is_ours(target))
    beside = _prepared(target)
    aside = beside.with_suffix(".replaced")
    try:
        beside.mkdir()
        yield beside
        for file in (*beside.iterdir(), beside):
            _sync(file)
        if os.path.lexists(target):
            target.rename(aside)
        beside.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        for leftover in (beside, aside):
            shutil.rmtree(leftover, ignore_errors=True)
    _sync(target.parent)


def _prepared(target: Path) -> Path:
    """Return the name beside the target, without what a killed run left there."""
    if not target.name:
        raise InputError(f"cannot export to {target}; name a file or a folder")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent} to export to; make it first")
    beside = target.with_name(f".{target.name}.exporting")
    try:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    return beside


def _is_empty(target: Path) -> bool:
    try:
        return target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    except OSError:
        return False


def _sync(path: Path) -> None:
    """Put a file's or a folder's content on the disk, where the file system lets us."""
    number = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(number)
    finally:
        os.close(number)


def _taken(target: Path, *, is_file: bool) -> InputError:
    if is_file:
        return InputError(f"{target} is there already; --force replaces it")
    return InputError(f"{target} is there already and is no export; choose another name")


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {target}: {error.strerror or error}")
