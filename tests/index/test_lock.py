"""One writer, named to the others; readers are never in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsearch.errors import InputError, LibraryBusyError
from mmsearch.index.catalog import Catalog
from mmsearch.index.lock import NAME, WriterLock


def test_a_second_writer_is_told_who_writes(catalog: Catalog, directory: Path) -> None:
    with pytest.raises(LibraryBusyError, match=f"process {os.getpid()} is writing"):
        Catalog.open(directory, write=True)


def test_another_process_is_told_who_writes(catalog: Catalog, directory: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mmsearch.index.lock import WriterLock; "
        "WriterLock(Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert f"process {os.getpid()} is writing to the library {directory}" in run.stderr


def test_a_reader_is_not_blocked(catalog: Catalog, directory: Path) -> None:
    with Catalog.open(directory) as reader:
        assert reader.revision == 0


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first = WriterLock(tmp_path)
    first.release()
    first.release()
    WriterLock(tmp_path).release()
    assert (tmp_path / NAME).exists()


def test_a_failed_opening_gives_the_lock_back(directory: Path) -> None:
    directory.mkdir()
    (directory / "catalog.sqlite").write_bytes(b"no database at all, not one byte" * 1000)
    for _ in range(2):
        with pytest.raises(Exception, match="damaged"):
            Catalog.open(directory, write=True)
    WriterLock(directory).release()


def test_the_lock_dies_with_its_process_though_a_child_lives_on(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; from pathlib import Path\n"
        "from mmsearch.index.lock import WriterLock\n"
        "lock = WriterLock(Path(sys.argv[1]))\n"
        "null = subprocess.DEVNULL\n"
        "command = ['sleep', '600']\n"
        "sleeper = subprocess.Popen(command, close_fds=False, stdout=null, stderr=null)\n"
        "print(sleeper.pid, flush=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    try:
        WriterLock(tmp_path).release()
    finally:
        os.kill(int(run.stdout), 9)


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from mmsearch.index.lock import WriterLock\n"
        "lock = WriterLock(Path(sys.argv[1]))\n"
        "if os.fork() == 0:\n"
        "    os.close(1); os.close(2); time.sleep(600); os._exit(0)\n"
        "print('done', flush=True); os._exit(0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.communicate()[0] == "done\n"
        WriterLock(tmp_path).release()
    finally:
        os.killpg(process.pid, 9)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write to the library"):
        WriterLock(tmp_path / "absent")
