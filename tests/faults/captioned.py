"""SIGKILL while captions are attached to pictures and fused into their vectors."""

import hashlib
import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tests.faults.kills import ATTEMPTS, KILLS
from tests.faults.libraries import Place, supplies
from tests.faults.oracle import check_command, check_search, check_tidy, read_state
from tests.faults.processes import Ended, ended, failpoint, run, start

_PICTURES: Final = 540  # more than two steps of fusing
_PLACES: Final = {"mid-transaction": 2, "after-vectors": 2, "before-commit": 6, "after-commit": 6}
"""How often a run comes there at least, when it has much to do."""
_SECONDS: Final = (0.4, 1.6)  # from the start of a run to a kill by the clock
_WEIGHTS: Final = (0.0, 0.3, 0.6)
_ROUNDING: Final = 2e-3  # of float16, in the vectors and in those that they are made of

Captions = tuple[str, ...]


def in_fusing(rng: random.Random, folder: Path) -> None:
    """Kill `index` while captions and their weight change; no picture is ever half fused."""
    place = Place(folder)
    place.draw(_PICTURES)
    done = place.index()
    assert done.code == 0, done
    said: list[dict[bytes, Captions]] = [{}]
    kills = 0
    for _ in range(2 * ATTEMPTS):
        said.append(_say(place, said[-1], rng))
        kills += _cut_short(place, rng.choice(_WEIGHTS), rng).killed
        _check(place, said, rng)
        if kills == KILLS:
            break
    assert kills == KILLS, "most runs ended before they were killed"
    said.append(_say(place, said[-1], rng, share=1.0))
    done = run(*_command(place, rng.choice(_WEIGHTS[1:])))
    assert done.code == 0, done
    _check(place, said, rng)
    check_tidy(place.library)
    captioned = sum(map(bool, said[-1].values()))
    assert len(_rows(place.library, "JOIN")) == captioned
    assert run(*_command(place, 0)).code == 0
    _check(place, said, rng)
    assert _rows(place.library, "JOIN") == []


def _say(
    place: Place, before: dict[bytes, Captions], rng: random.Random, share: float = 0.6
) -> dict[bytes, Captions]:
    """Write other captions for a share of the pictures; return those of all, by path.

    A killed run may never have read what was written before.
    """
    now, rows = dict(before), ["image,caption"]
    for path in sorted(place.disk):
        if rng.random() < share:
            captions = tuple(rng.sample(supplies().sentences, rng.randrange(3)))
            now[bytes(path)] = captions
            rows += [f"{path},{text}" for text in captions or ("",)]
    (place.folder / "captions.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return now


def _command(place: Place, weight: float) -> Sequence[str | Path]:
    captions = place.folder / "captions.csv"
    return *place.arguments(), "--captions", captions, "--fuse", f"caption={weight}"


def _cut_short(place: Place, weight: float, rng: random.Random) -> Ended:
    """Kill a run at a transaction or by the clock; it may have ended before."""
    if rng.random() < 0.6:
        name = rng.choice(list(_PLACES))
        point = failpoint(name, rng.randint(1, _PLACES[name]))
        ending = run(*_command(place, weight), variables=point)
    else:
        process = start(*_command(place, weight))
        with suppress(TimeoutExpired):
            process.wait(rng.uniform(*_SECONDS))
        process.kill()
        ending = ended(process)
    assert ending.killed or ending.code == 0, ending
    return ending


def _check(place: Place, said: Sequence[dict[bytes, Captions]], rng: random.Random) -> None:
    """Compare every picture with what it is alone, or with captions that it has had."""
    state = read_state(place.library)
    assert len(state.places("image")) == _PICTURES
    check_search(place.library, state, rng, warns=True)
    check_command(place.library, warns=True)
    reference = supplies().reference
    for path, digest, vector, weight, captions, own in _rows(place.library, "LEFT JOIN"):
        if own is None:
            assert vector == reference[digest], f"{path!r} has another's vector"
            continue
        assert own == reference[digest], f"{path!r} has lost its own vector"
        texts = next(s[path] for s in said if path in s and _digest(s[path]) == captions)
        error = np.abs(_half(vector) - _expected(_half(own), texts, weight)).max()
        assert error < _ROUNDING, f"{path!r} is not what its captions make of it"


def _rows(library: Path, join: str) -> list[tuple[bytes, bytes, bytes, float, bytes, bytes | None]]:
    """Return path, digest, vector and, where there is one, the row of `fused` of pictures."""
    query = f"""SELECT path, digest, vectors_1_image.vector, weight, captions, fused.vector
        FROM items JOIN vectors_1_image ON vectors_1_image.item_id = id
        {join} fused ON fused.item_id = id AND space_id = 1"""
    with closing(sqlite3.connect(library / "catalog.sqlite")) as connection:
        return connection.execute(query).fetchall()


def _expected(own: NDArray[np.float64], texts: Captions, weight: float) -> NDArray[np.float64]:
    vectors = [_half(supplies().reference[hashlib.sha256(t.encode()).digest()]) for t in texts]
    mean = np.mean(vectors, axis=0)
    both = (1 - weight) * own + weight * mean / np.linalg.norm(mean)
    return np.asarray(both / np.linalg.norm(both))


def _half(content: bytes) -> NDArray[np.float64]:
    return np.frombuffer(content, dtype="<f2").astype(np.float64)


def _digest(captions: Captions) -> bytes:
    return hashlib.sha256(json.dumps(list(captions), separators=(",", ":")).encode()).digest()
