"""8-bit networks for a model folder, kept where they pass a check and only there."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmsearch.core import Modality, Pixels, Vectors
from mmsearch.errors import InputError, ModelError
from mmsearch.retrieval.convert.quantise_bench import (
    FILES,
    Bench,
    Captioned,
    Say,
    choose_samples,
)
from mmsearch.retrieval.convert.quantise_check import Figures
from mmsearch.retrieval.convert.quantise_recipes import Recipe, recipes
from mmsearch.retrieval.folder import (
    MODEL_FILE,
    WEIGHTS_SUFFIX,
    Facts,
    read_model_folder,
    write_model_folder,
)
from mmsearch.retrieval.optimise import Level, description_of, simplify


def quantise_folder(
    path: Path,
    pictures: Sequence[Pixels] = (),
    sentences: Sequence[str] = (),
    labelled: Captioned | None = None,
    say: Say | None = None,
) -> Facts:
    """Give a model 8-bit networks beside its own; return the facts `int8` of its `model.json`.

    `pictures` and `sentences` are samples of what it is for; without them, drawn scenes and
    their captions, to which no scales of products are fitted. `labelled`: pictures with their
    captions, to compare R@K. For each tower the facts say whether its 8-bit network was `kept`,
    by which `recipe` and with which figures, or `why` not. Give it the graphs as they were
    exported, before `optimise_folder`.
    Raises ModelError when the folder is no model, InputError when the disk is full.
    """
    folder = read_model_folder(path)
    bench = Bench(folder, choose_samples(folder, pictures, sentences), labelled, say)
    facts: dict[str, object] = {}
    found: dict[Modality, Vectors] = {}
    try:
        with tempfile.TemporaryDirectory(prefix=".quantise-", dir=path) as place:
            for tower in bench.towers():
                facts[tower.value], vectors = _quantise(bench, tower, Path(place))
                if vectors is not None:
                    found[tower] = vectors
        _check_together(bench, facts, found)
        for tower in bench.towers():
            if tower not in found:
                _remove(path, tower)
        write_model_folder(path, replace(description_of(folder), int8=facts))
    except OSError as error:
        raise InputError(f"cannot write into {path}: {error.strerror or error}") from error
    return facts


def _quantise(bench: Bench, tower: Modality, place: Path) -> tuple[Facts, Vectors | None]:
    """Try recipes until one passes; return the facts, and the vectors of captioned items."""
    plain, int8 = FILES[tower]
    basic, target = place / plain, place / int8
    reasons = []
    try:
        simplify(bench.folder.path / plain, basic, Level.BASIC)
        for recipe in recipes(basic, bench.calibration(tower), typical=bench.typical(tower)):
            figures = _tried(bench, tower, recipe, target)
            failure = figures if isinstance(figures, str) else figures.failure()
            bench.say(f"{tower.value}, {recipe.name}: {failure or 'passed'}")
            if isinstance(figures, Figures) and not failure:
                vectors = bench.captioned_vectors(tower, target)
                size = _move(target, bench.folder.path)
                facts = {"kept": True, "recipe": recipe.name, "bits": recipe.bits, "bytes": size}
                return {**facts, **figures.as_dict()}, vectors
            reasons.append(f"{recipe.name}: {failure}")
    except ModelError as error:
        reasons.append(str(error))
    return {"kept": False, "why": reasons}, None


def _tried(bench: Bench, tower: Modality, recipe: Recipe, target: Path) -> Figures | str:
    """Return the figures of a recipe, or why it makes no network."""
    for file in (target, target.with_name(target.name + WEIGHTS_SUFFIX)):
        file.unlink(missing_ok=True)
    try:
        recipe.write(target)
        return bench.figures(tower, target)
    except ModelError as error:
        return str(error).replace(f"{target.parent}{os.sep}", "")


def _move(target: Path, folder: Path) -> int:
    """Put a network and its weights into the folder; return their bytes."""
    size = 0
    for file in (target.with_name(target.name + WEIGHTS_SUFFIX), target):
        if file.exists():
            size += file.stat().st_size
            shutil.copymode(folder / MODEL_FILE, file)  # the tools let nobody else read it
            file.replace(folder / file.name)
    return size


def _remove(folder: Path, tower: Modality) -> None:
    for name in (FILES[tower][1], FILES[tower][1] + WEIGHTS_SUFFIX):
        (folder / name).unlink(missing_ok=True)


def _check_together(bench: Bench, facts: dict[str, object], found: dict[Modality, Vectors]) -> None:
    """Take the text network back when both together lose more than either may."""
    if bench.pairs is None or len(found) < 2:
        return
    lost = bench.pairs.lost(images=found[Modality.IMAGE], texts=found[Modality.TEXT])
    if lost.too_much:
        most = max(lost.mean, lost.surely)
        why = f"with both networks in 8 bits R@K falls by {most:.2f} points"
        facts[Modality.TEXT.value] = {"kept": False, "why": [why]}
        del found[Modality.TEXT]
