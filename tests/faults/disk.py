"""Disks that are full or fail: a small tmpfs, a limit on file sizes, and a shim below libc."""

import atexit
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

from tests.faults.libraries import BATCH, Place, check_completed, check_sound
from tests.faults.oracle import State
from tests.faults.processes import Ended, run

_ATTEMPTS: Final = 6  # to choose a k, a size that a run reaches
_CALLS: Final = {"write": 400, "sync": 40}  # about as many as a run makes
Run: TypeAlias = Callable[[random.Random, Path], None]


def full_tmpfs(rng: random.Random, folder: Path) -> None:
    """Fill a small file system while indexing; with more room, the next run completes."""
    place, state = _some_library(rng, folder)
    with _small_disk(folder) as disk:
        if place.library.exists():
            shutil.move(place.library, disk / "library")
        place.library = disk / "library"
        for attempt in range(_ATTEMPTS):
            used = shutil.disk_usage(disk).used
            _resize(disk, used + rng.randrange(1 << 14, 1 << 21) // 2**attempt)
            place.change(rng, new=6 * BATCH)
            ending = place.index()
            _resize(disk, 1 << 26)
            if _struck(ending):
                check_completed(place, check_sound(place, state, rng), place.index(), rng)
                return
            state = check_completed(place, state, ending, rng)
    raise AssertionError("the disk never became full")


def largest_file(rng: random.Random, folder: Path) -> None:
    """Forbid files beyond a size while indexing; without the limit, the next run completes."""
    place, state = _some_library(rng, folder)
    for attempt in range(_ATTEMPTS):
        place.change(rng, new=6 * BATCH)
        ending = run(*place.arguments(), largest=rng.randrange(1 << 12, 1 << 20) // 2**attempt)
        if _struck(ending):
            check_completed(place, check_sound(place, state, rng), place.index(), rng)
            return
        state = check_completed(place, state, ending, rng)
    raise AssertionError("no file was too large")


def _struck(ending: Ended) -> bool:
    """Return whether a run noticed that it could not write."""
    _check_ending(ending)
    return ending.code == 2 or "could not be written" in ending.err


def failing_call(call: str, number: int, *, stays: bool = False) -> Run:
    """Return a case in which the k-th write or sync in the library fails."""

    def fail(rng: random.Random, folder: Path) -> None:
        place, state = _some_library(rng, folder)
        mark = folder / "struck"
        for attempt in range(_ATTEMPTS):
            place.change(rng, new=4 * BATCH)
            most = _CALLS[call] // 2**attempt
            ending = place.index(
                {
                    "LD_PRELOAD": str(shim()),
                    "FAULT_UNDER": str(place.library),
                    "FAULT_CALL": call,
                    "FAULT_AT": str(rng.randint(1, most)),
                    "FAULT_ERRNO": str(number),
                    "FAULT_STAYS": str(int(stays)),
                    "FAULT_MARK": str(mark),
                }
            )
            _check_ending(ending)
            if mark.exists():
                check_completed(place, check_sound(place, state, rng), place.index(), rng)
                return
            state = check_completed(place, state, ending, rng)
        raise AssertionError("there were too few calls")

    return fail


full_write = failing_call("write", errno.ENOSPC, stays=True)
failed_write = failing_call("write", errno.EIO)
failed_sync = failing_call("sync", errno.EIO)


def _some_library(rng: random.Random, folder: Path) -> tuple[Place, State]:
    """Return a place, in half of the cases with a library, and what that holds."""
    place = Place(folder)
    if rng.random() < 0.5:
        return place, State()
    place.draw(5 * BATCH)
    place.write_texts(5)
    return place, check_completed(place, State(), place.index(), rng)


def _check_ending(ending: Ended) -> None:
    """Expect success or one error that says what happened; never a crash."""
    assert ending.code in {0, 2}, ending
    assert "Traceback" not in ending.err, ending
    if ending.code == 2:
        assert [line for line in ending.err.splitlines() if "error: " in line], ending
        assert "warning" in ending.err or len(ending.err.splitlines()) == 1, ending


@cache
def shim_reason() -> str:
    """Return why calls cannot be made to fail here; empty when they can."""
    if not sys.platform.startswith("linux"):
        return "LD_PRELOAD and /proc are Linux's"
    return "" if shutil.which("cc") else "no C compiler (cc) to build the shim with"


@cache
def shim() -> Path:
    """Compile the shim."""
    folder = Path(tempfile.mkdtemp(prefix="mmsearch-shim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target, source = folder / "shim.so", Path(__file__).with_name("shim.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(target), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return target


@cache
def tmpfs_reason() -> str:
    """Return why no tmpfs can be mounted here; empty when one can."""
    if os.geteuid() != 0:
        return "mounting a tmpfs takes root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount("-t", "tmpfs", "-o", "size=1m", "mmsearch", folder)
        except (subprocess.CalledProcessError, FileNotFoundError):
            return "this system does not let root mount a tmpfs"
        subprocess.run(["umount", folder], check=True)
    return ""


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    disk = Path(os.path.realpath(folder)) / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=64m", "mmsearch", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _resize(disk: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", str(disk))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
