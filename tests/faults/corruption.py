"""Truncations and flipped bits in a library's files.

A case copies a prepared library, damages one file, and holds what the commands do then against
what the undamaged library did: the same answer or a clear error, never another answer; `check`
finds what is not harmless; `repair` and `index` make it sound again, deleting nothing.
"""

import atexit
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.retrieval.drawing import draw
from tests.retrieval.onnx_models import make_model

from mmsearch.core import Modality
from mmsearch.errors import MMSearchError
from mmsearch.index import attributes, database
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import ExactIndex
from mmsearch.index.policy import Policy
from mmsearch.index.rows import LabelChange, LabelSource
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.opening import open_library
from mmsearch.retrieval.soundness import check, repair

SCRIPT: Final = Path(sys.executable).with_name("mmsearch")
CONSOLE_SHARE: Final = 0.15  # of the cases go through processes
QUESTIONS: Final = ("red", "green blue", "blue")
_INDEXED: Final = Policy(scan_below=0, few=0)
Answer = list[tuple[int, str, float]]
State = dict[int, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Template:
    """An undamaged library and what it answers."""

    library: Path
    model: Path
    answers: dict[tuple[str, Modality], Answer]
    state: State


def truncation(rng: random.Random, folder: Path) -> None:
    """Cut one file of a library short, at one of six places."""
    _case(rng, folder, _cut)


def bit_flip(rng: random.Random, folder: Path) -> None:
    """Flip one to eight bits of one file of a library."""
    _case(rng, folder, _flip)


def _case(rng: random.Random, folder: Path, damage: Callable[[random.Random, Path], str]) -> None:
    """Run one case in an empty folder. Raises AssertionError with what was done."""
    template = _template(pending=rng.random() < 0.3)
    library = folder / "library"
    shutil.copytree(template.library, library)
    model = folder / "model"
    shutil.copytree(template.model, model)
    target = _choose(rng, library, model)
    whole = target.read_bytes()
    if target.parent == model:
        _remember(library, model)
    said = f"{target.name}: {damage(rng, target)}"
    console = rng.random() < CONSOLE_SHARE
    try:
        if target.parent == model:
            _compare_model(template, library, model)
        elif console:
            _compare_console(rng, template, library)
        else:
            _compare(template, library)
        if target.parent == model:
            _mend_model(library, target, whole, console=console)
        else:
            _mend(template, library, target, console=console)
    except AssertionError as error:
        raise AssertionError(f"{said}, console {console}: {error}") from error
    except Exception as error:  # a traceback is what must not be
        raise AssertionError(f"{said}, console {console}: {error!r} was raised") from error


def _choose(rng: random.Random, library: Path, model: Path) -> Path:
    catalog = [library / database.FILE]
    logs = [file for file in library.glob("*-wal") if file.stat().st_size]
    indexes = sorted(library.glob("index/*/*/*.faiss"))
    kind = rng.choices((catalog, logs or catalog, indexes, sorted(model.iterdir())), (5, 2, 1, 1))
    return rng.choice(kind[0])


def _cut(rng: random.Random, file: Path) -> str:
    size, page = file.stat().st_size, database.PAGE_SIZE
    middle, last = rng.randrange(size), (size - 1) // page * page
    places = {"0": 0, "1": 1, "header": min(50, size - 1), "middle": middle, "last page": last}
    places["last byte"] = size - 1
    name = rng.choice(list(places))
    os.truncate(file, places[name])
    return f"cut at {name}, {places[name]} of {size}"


def _flip(rng: random.Random, file: Path) -> str:
    content = bytearray(file.read_bytes())
    # half of the flips hit a page's head, or a page that holds little but structure
    heads = [
        start + at for start in range(0, len(content), database.PAGE_SIZE) for at in range(100)
    ]
    used = [n for n in range(len(content)) if content[n]] if len(content) < 1 << 20 else []
    flipped = []
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        among = rng.choice((heads, used or heads, range(len(content))))
        place, bit = min(rng.choice(among), len(content) - 1), rng.randrange(8)
        content[place] ^= 1 << bit
        flipped.append((place, bit))
    file.write_bytes(content)
    return f"flipped {flipped}"


# What a damaged library answers


def _ask(library: Library, question: str, target: Modality, *, k: int = 60) -> Answer:
    hits = library.search(question, k=k, target=target)
    return [(h.item.id, h.item.path or h.item.text or "", round(h.score, 6)) for h in hits]


def _answers(library: Path, model: Path | None = None) -> dict[tuple[str, Modality], Answer]:
    with open_library(library, model=model, create=False) as opened:
        answers = {(q, m): _ask(opened, q, m) for q in QUESTIONS for m in Modality}
        # a library this small is scanned; once more by its index files
        indexed = Library(
            opened.catalog, IndexStore(opened.catalog, library, _INDEXED), opened.encoder
        )
        for (question, target), answer in answers.items():
            assert _ask(indexed, question, target, k=10) == answer[:10], "not the catalog's answer"
        return answers


def _compare(template: Template, library: Path) -> None:
    """Ask within this process: the same answers, or an error of ours."""
    try:
        answers = _answers(library)
    except MMSearchError:
        return
    assert answers == template.answers, "another answer"


def _compare_model(template: Template, library: Path, model: Path) -> None:
    try:
        answers = _answers(library, model)
    except MMSearchError:
        return
    assert answers == template.answers, "another answer with a damaged model"


def _run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=3600)
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr.decode(errors="replace")
    assert done.returncode in {0, 1, 2, 3}, f"{arguments[0]} ended with {done.returncode}"
    return done


def _compare_console(rng: random.Random, template: Template, library: Path) -> None:
    question, target = rng.choice(list(template.answers))
    done = _run("query", question, "--for", f"{target}s", "-k", 60, "--json", "--library", library)
    if done.returncode in {2, 3}:
        lines = done.stderr.decode().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("mmsearch: error: "), lines
        return
    found = [
        (hit["id"], hit.get("path") or hit.get("text") or "", hit["score"])
        for hit in json.loads(done.stdout)
    ]
    assert found == template.answers[question, target], "another answer on the console"


# Check, repair, index


def _mend(template: Template, library: Path, target: Path, *, console: bool) -> None:
    sound = _sound(library, console=console)
    if sound:
        _compare(template, library)
        assert _state(library) == template.state, "check found nothing, and the rows are others"
        _answers(library)
        return
    content = target.read_bytes() if target.exists() else b""  # the last reader empties a log
    if console:
        _run("repair", "--library", library)
    else:
        repair(library)
    # the name of the model may be lost: the next index, which is given it, remembers it
    found = [f.what for f in check(library) if f.is_error and not f.what.startswith("the model")]
    assert not found, f"repair left {found}"
    _check_kept(library, content, target)
    kept = _state(library)
    wrong = [number for number, row in kept.items() if not _same(template.state.get(number), row)]
    assert not wrong, f"items {wrong} are not what they were"
    _index(template, library, console=console)
    assert _sound(library, console=False), "unsound after index"
    assert {row[:2] for row in _state(library).values()} >= {
        row[:2] for row in template.state.values()
    }, "index did not bring back everything"
    _check_search(library)


def _remember(library: Path, model: Path) -> None:
    """Let the library know its model by another path."""
    with Catalog.open(library, write=True) as catalog:
        space = catalog.space()
        assert space is not None
        catalog.set_setting(f"model:{space.digest}", str(model))


def _mend_model(library: Path, target: Path, whole: bytes, *, console: bool) -> None:
    """A damaged model is found and cannot be repaired; put back, it is sound."""
    if _sound(library, console=console):
        _answers(library)
        return
    if console:
        assert _run("repair", "--library", library).returncode == 3
    else:
        assert not repair(library).sound
    target.write_bytes(whole)
    assert _sound(library, console=console), "unsound with the whole model"


def _same(before: tuple[Any, ...] | None, after: tuple[Any, ...]) -> bool:
    """Return whether a repaired item is what it was; its vector and more may be left out."""
    if before is None or after[3] not in {None, before[3]}:
        return False
    return bool(before[:3] == after[:3] and after[4] <= before[4])


def _sound(library: Path, *, console: bool) -> bool:
    if console:
        return _run("check", "--library", library).returncode == 0
    return not any(finding.is_error for finding in check(library))


def _index(template: Template, library: Path, *, console: bool) -> None:
    photos, texts = template.library.parent / "photos", template.library.parent / "texts.txt"
    if console:
        done = _run(
            "index", photos, "--texts", texts, "--model", template.model, "--library", library
        )
        assert done.returncode == 0, done.stderr
        return
    with open_library(library, model=template.model) as opened:
        opened.add(photos)
        opened.add_texts(texts)


def _check_kept(library: Path, content: bytes, target: Path) -> None:
    """The damaged file is somewhere, unless it was mended in its place."""
    name = target.name.removesuffix(".faiss")
    aside = [*library.glob(f"quarantine/*/{target.name}"), *library.rglob(f"{name}.damaged")]
    if content and (target.suffix == ".faiss" or list(library.glob("quarantine/*"))):
        assert any(file.read_bytes() == content for file in aside), "the damaged file is gone"


def _state(library: Path) -> State:
    """Return every item: its path or text, digest, its vector's bytes, what else is known of it."""
    with Catalog.open(library) as catalog, catalog.snapshot():
        vectors: dict[int, bytes] = {}
        space = catalog.space()
        for modality in Modality if space else ():
            assert space is not None
            ids, rows = catalog.all_vectors(space, modality)
            vectors.update(zip(ids.tolist(), map(np.ndarray.tobytes, rows), strict=True))
        numbers = [row[0] for row in catalog.rows("SELECT id FROM items NOT INDEXED")]
        items = catalog.items(numbers)
        assert len(items) == len(numbers)
        facts, labels = attributes.photos(catalog, numbers), attributes.labels(catalog, numbers)
        captions = attributes.captions(catalog, numbers)
        return {
            n: (
                *(i.path, i.text, i.digest, vectors.get(n)),
                frozenset([facts.get(n), *labels.get(n, ()), *captions.get(n, ())]) - {None},
            )
            for n, i in items.items()
        }


def _check_search(library: Path) -> None:
    """Search equals brute force over the catalog."""
    with open_library(library, create=False) as opened:
        space = opened.encoder.space
        for question in QUESTIONS:
            vector = opened.encoder.encode_texts([question])
            for modality in Modality:
                index = ExactIndex(space.dim)
                index.add(*opened.catalog.all_vectors(space, modality))
                (expected,) = index.search(vector, 20)
                hits = opened.search(question, k=20, target=modality)
                assert [hit.item.id for hit in hits] == expected.ids.tolist(), "not brute force"


# The prepared libraries


@cache
def _template(*, pending: bool) -> Template:
    """Return the library that cases copy; `pending`: with a write-ahead log of a killed writer."""
    folder = Path(tempfile.mkdtemp(prefix="mmsearch-corruption-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    photos, texts = folder / "photos", folder / "texts.txt"
    rng = random.Random(7)
    for n in range(40):
        draw(photos / f"{n:02d}.png", (rng.randrange(256), rng.randrange(256), 1 + n), (6, 4))
    words = ("red", "green", "blue", "rose", "sea")
    lines = [f"{rng.choice(words)} {rng.choice(words)} {n}" for n in range(40)]
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    library, model = folder / "library", folder / "model"
    make_model(model)
    with open_library(library, model=model) as opened:
        opened.add(photos)
        opened.add_texts(texts)
    with Catalog.open(library, write=True) as catalog:
        _describe(catalog)
    if pending:
        _leave_log(folder, photos, library)
    state = _state_of_copy(library)
    return Template(library, model, _answers_of_copy(library), state)


def _describe(catalog: Catalog) -> None:
    """Give labels to everything and captions to the pictures."""
    attributes.set_labels(
        catalog, [LabelChange(n, f"label {n % 7}", LabelSource.USER, None) for n in range(1, 81)]
    )
    pictures = [
        known.id for root in catalog.roots() for known in catalog.known_under(root.raw).values()
    ]
    attributes.set_captions(catalog, {n: (f"one of {n}", f"another of {n}") for n in pictures})


def _leave_log(folder: Path, photos: Path, library: Path) -> None:
    for n in range(20):
        draw(photos / f"more-{n:02d}.png", (n * 12, 255 - n, 40), (6, 4))
    variables = {**os.environ, "MMSEARCH_FAILPOINT": "after-commit:5"}
    command = [str(SCRIPT), "index", str(photos), "--library", str(library)]
    command += ["--commit-seconds", "0", "--batch-size", "4"]
    done = subprocess.run(command, env=variables, capture_output=True, check=False, timeout=3600)
    assert done.returncode == -9, done
    assert (library / f"{database.FILE}-wal").stat().st_size > 0, folder


def _state_of_copy(library: Path) -> State:
    """Read a copy, for the last to close a catalog empties its log."""
    with tempfile.TemporaryDirectory() as folder:
        return _state(Path(shutil.copytree(library, Path(folder) / "library")))


def _answers_of_copy(library: Path) -> dict[tuple[str, Modality], Answer]:
    with tempfile.TemporaryDirectory() as folder:
        return _answers(Path(shutil.copytree(library, Path(folder) / "library")))
