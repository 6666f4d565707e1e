"""rclip 3.3, the peer on the command line: installed apart, its library filled by a script.

It would take hours to index what these benchmarks ask it about; its table is filled with the
same paths and vectors instead, in its own schema (made by its own code), and it runs as a user
would run it: in the folder, with the folder's pictures.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import ROOT, Run, measure, say
from networks import rclip_data
from synthetic import SPACE

from mmsearch.core import Modality, Vectors
from mmsearch.index.catalog import Catalog

FOLDER = ROOT / "build" / "rclip"
VERSION = "3.3.0"
_NOTE = "benchmark.json"

_OPEN = """
import sys
from rclip.db import DB
DB(sys.argv[1]).close()
"""
_INSERT = (
    "INSERT INTO images (filepath, modified_at, size, vector, hash, deleted, indexing) "
    "VALUES (?, ?, ?, ?, ?, NULL, NULL)"
)


@dataclass(frozen=True, slots=True)
class Rclip:
    """An installed rclip with a data folder of its own."""

    data: Path

    def query(self, text: str, folder: Path, *, indexing: bool = False) -> Run:
        """Run `rclip TEXT` in a folder, without looking for changes unless `indexing`."""
        return measure(self.command(text, indexing=indexing), env=self.environment, cwd=folder)

    def command(self, text: str, *, indexing: bool) -> list[str]:
        """Return the command of a query, which looks for changes when `indexing`."""
        return [str(_binary("rclip")), *([] if indexing else ["-n"]), text]

    @property
    def environment(self) -> dict[str, str]:
        """What tells rclip where its data are."""
        return {"RCLIP_DATADIR": str(self.data)}

    def discard(self) -> None:
        """Let the library be filled anew next time: what it knows is about to change."""
        (self.data / _NOTE).unlink()


@dataclass(frozen=True, slots=True)
class Picture:
    """A row of rclip's table. `modified` in seconds since 1970; `vector` (512,) float32."""

    path: str
    modified: float
    size: int
    digest: str
    vector: Vectors

    def row(self) -> tuple[str, float, int, bytes, str]:
        """Return the values of the insert."""
        content = self.vector.astype(np.float32).tobytes()
        return self.path, self.modified, self.size, content, self.digest


def install() -> None:
    """Install rclip into an environment of its own, unless it is there."""
    if not _binary("rclip").exists():
        say(f"installing rclip {VERSION} into {FOLDER.relative_to(ROOT)}")
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / "venv")], check=True)
        pip = [str(_binary("python")), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, f"rclip=={VERSION}"], check=True)


def filled(data: Path, facts: dict[str, int], pictures: Iterable[Picture]) -> Rclip:
    """Return rclip with a library of these pictures in `data`; made unless it is there.

    `facts` say what the pictures are. The network's files are linked, not copied.
    """
    install()
    rclip, note = Rclip(data), data / _NOTE
    if note.exists() and json.loads(note.read_text()) == facts:
        return rclip
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(rclip_data(), data, copy_function=os.link)
    say("filling rclip's library")
    database = data / "db.sqlite3"
    subprocess.run([str(_binary("python")), "-I", "-c", _OPEN, str(database)], check=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(_INSERT, (picture.row() for picture in pictures))
    note.write_text(json.dumps(facts))
    return rclip


def from_catalog(directory: Path) -> Iterator[Picture]:
    """Yield the pictures of a synthetic mmsearch library, with the same vectors."""
    with Catalog.open(directory) as catalog, catalog.snapshot():
        table = catalog.vector_table(SPACE, Modality.IMAGE)
        for ids, vectors in table.chunks():
            items = catalog.items(ids)
            for number, vector in zip(ids.tolist(), vectors, strict=True):
                item = items[number]
                modified = item.mtime_ns / 1e9
                yield Picture(str(item.path), modified, item.size, item.digest, vector)


def _binary(name: str) -> Path:
    return FOLDER / "venv" / "bin" / name
