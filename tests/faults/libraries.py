"""A folder of drawn pictures and a file of sentences that change, and the library of them."""

import atexit
import hashlib
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from tests.faults import oracle
from tests.faults.oracle import State, read_state
from tests.faults.processes import Ended, run
from tests.retrieval.onnx_models import DIM, make_model

from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, TextRow

COUNT: Final = 600  # pictures, and as many sentences, to draw from
BATCH: Final = 4  # pictures a commit
_MANY: Final = 140_000  # rows: more than 1 MiB of vectors, the size of a block
_COLOURS: Final = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Supplies:
    """A model, contents, and the vector that an undisturbed run gave each, by digest."""

    model: Path
    pictures: tuple[bytes, ...]
    sentences: tuple[str, ...]
    reference: Mapping[bytes, bytes]


@cache
def supplies() -> Supplies:
    """Draw the pictures and index them all once, in peace."""
    folder = Path(tempfile.mkdtemp(prefix="mmsearch-faults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rng = random.Random(0)
    pictures = tuple(_picture(n) for n in rng.sample(range(1 << 24), COUNT))
    sentences = tuple(f"{' '.join(rng.choices(_COLOURS, k=3))} w{n}" for n in range(COUNT))
    make_model(folder / "model")
    (folder / "photos").mkdir()
    for number, content in enumerate(pictures):
        (folder / "photos" / f"{number}.png").write_bytes(content)
    (folder / "texts.txt").write_text("\n".join(sentences), encoding="utf-8")
    done = run(
        *("index", folder / "photos", "--texts", folder / "texts.txt", "--json"),
        *("--model", folder / "model", "--library", folder / "library"),
    )
    assert done.code == 0, done
    rows = read_state(folder / "library").rows.values()
    reference = {row.digest: row.vector for row in rows}
    assert len(reference) == 2 * COUNT
    return Supplies(folder / "model", pictures, sentences, reference)


def _picture(colour: int) -> bytes:
    file = io.BytesIO()
    rgb = (colour >> 16, colour >> 8 & 255, colour & 255)
    Image.new("RGB", (12, 8), rgb).save(file, "PNG")
    return file.getvalue()


@dataclass(slots=True)
class Place:
    """A folder with `photos/`, `texts.txt` and a library; `disk` is what the photos hold."""

    folder: Path
    library: Path = field(init=False)
    disk: dict[Path, int] = field(default_factory=dict)
    texts: list[int] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self.folder = Path(os.path.realpath(self.folder))
        self.library = self.folder / "library"
        self.photos.mkdir(parents=True, exist_ok=True)
        self.write_texts(0)

    @property
    def photos(self) -> Path:
        """Where the pictures are."""
        return self.folder / "photos"

    def draw(self, count: int, *, within: str = "") -> None:
        """Add pictures that were never there."""
        for _ in range(count):
            path = self.photos / within / f"{self._next:04d}.png"
            path.parent.mkdir(exist_ok=True)
            self._fill(path)

    def _fill(self, path: Path) -> None:
        number = self._next % COUNT
        assert number not in self.disk.values(), "more pictures than were drawn"
        self._next += 1
        path.write_bytes(supplies().pictures[number])
        self.disk[path] = number

    def write_texts(self, count: int) -> None:
        """Add sentences that were never there; with 0 write the file alone."""
        first = self.texts[-1] + 1 if self.texts else 0
        self.texts += range(first, first + count)
        lines = "".join(f"{supplies().sentences[n]}\n" for n in self.texts)
        (self.folder / "texts.txt").write_text(lines, encoding="utf-8")

    def change(self, rng: random.Random, *, new: int = 3 * BATCH) -> None:
        """Let photos and sentences come, change, move and go."""
        paths = sorted(self.disk)
        some = rng.sample(paths, min(len(paths), 6))
        for path in some[:2]:
            self._fill(path)
        for path in some[2:4]:
            target = path.with_name(f"moved-{self._next}-{path.name[-8:]}")
            path.rename(target)
            self.disk[target] = self.disk.pop(path)
        for path in some[4:]:
            path.unlink()
            del self.disk[path]
        self.draw(new)
        del self.texts[: rng.randrange(3)]
        self.write_texts(rng.randint(2, 5))

    def arguments(self, library: Path | None = None) -> tuple[str | Path, ...]:
        """Return the command that indexes everything with small commits."""
        return (
            *("index", self.photos, "--texts", self.folder / "texts.txt", "--json"),
            *("--batch-size", str(BATCH), "--commit-seconds", "0", "--workers", "2"),
            *("--model", supplies().model, "--library", library or self.library),
        )

    def index(self, variables: Mapping[str, str] | None = None) -> Ended:
        """Run that command to its end."""
        return run(*self.arguments(), variables=variables)

    def wanted(self) -> tuple[dict[bytes, bytes], set[bytes]]:
        """Return the digest of each picture by path, and the sentences."""
        held = supplies()
        pictures = {
            os.fsencode(path): hashlib.sha256(held.pictures[number]).digest()
            for path, number in self.disk.items()
        }
        return pictures, {held.sentences[n].encode() for n in self.texts}


def add_many(library: Path, rng: random.Random) -> dict[bytes, bytes]:
    """Add so many sentences that their index file is written in parts; return all vectors.

    Their vectors are drawn, not encoded; they are those that no file holds.
    """
    rows = np.random.default_rng(rng.randrange(2**32)).standard_normal((_MANY, DIM))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    reference = dict(supplies().reference)
    batch = []
    for number, row in enumerate(rows):
        digest = hashlib.sha256(b"many %d" % number)
        batch.append(TextRow(f"many {number}", None, digest.hexdigest(), row))
        reference[digest.digest()] = row.astype("<f2").tobytes()
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(texts=tuple(batch)))
    return reference


def check_kept(place: Place, before: State, now: State) -> None:
    """Expect what was acknowledged and still stands on the disk: same id, same bytes."""
    pictures, sentences = place.wanted()
    for number, row in before.rows.items():
        stands = (
            row.place in sentences
            if row.modality == "text"
            else (pictures.get(row.place) == row.digest)
        )
        assert not stands or now.rows.get(number) == row, f"item {number} was lost: {row.place!r}"
    assert now.revision >= before.revision


def check_sound(place: Place, before: State, rng: random.Random, *, warns: bool = False) -> State:
    """Check everything after a fault and return what the library holds now.

    The order in which reader, search and `check` see it first is drawn by `rng`.
    """
    now = read_state(place.library)
    check_kept(place, before, now)
    oracle.check_vectors(now, supplies().reference)
    if Catalog.exists(place.library):
        for check in rng.sample(("search", "check"), 2):
            if check == "search":
                oracle.check_search(place.library, now, rng, warns=warns)
            else:
                oracle.check_command(place.library, warns=warns)
    return now


def check_completed(place: Place, before: State, done: Ended, rng: random.Random) -> State:
    """Check a whole run after a fault: all is there, and only what was lost was encoded."""
    assert done.code == 0, done
    assert "damaged" not in done.err, done.err
    pictures, sentences = place.wanted()
    now = check_sound(place, before, rng)
    oracle.check_tidy(place.library)
    assert {p: row.digest for p, row in now.places("image").items()} == pictures
    assert set(now.places("text")) == sentences
    known = {row.digest for row in before.rows.values()}
    lost = set(pictures.values()) - known
    unsaid = sentences - set(before.places("text"))
    assert json.loads(done.out)["encoded"] == len(lost) + len(unsaid), done.out
    return now
