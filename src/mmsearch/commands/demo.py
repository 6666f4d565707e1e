"""`mmsearch demo`: the whole path on drawn scenes, from nothing to answers."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mmsearch.commands.train import load_training
from mmsearch.core import Modality
from mmsearch.errors import InputError
from mmsearch.retrieval.scenes import SceneOptions, Split, write_scenes

if TYPE_CHECKING:
    from rich.console import Console

    from mmsearch.retrieval.captions import CaptionedImage
    from mmsearch.retrieval.library import Library

RECIPE: Final[dict[str, Any]] = {
    "image_encoder": "cnn",
    "image_size": 64,
    "cnn_width": 16,
    "augment": True,
    "feature_norm": "power",
    "feature_dropout": 0.0,
    "embed_dim": 256,
    "text_encoder": "bigru",
    "text_pooling": "max",
    "word_dim": 64,
    "hidden_dim": 96,
    "word_dropout": 0.0,
    "dropout": 0.1,
    "epochs": 12,
    "batch_size": 320,
    "captions_per_image": 5,
    "lr": 3e-3,
    "threads": 1,
}
"""Settings that learn the scenes in less than a minute and a half.

Networks this small gain little from a second thread, and lose minutes where something else runs.
"""

_MARKER: Final = ".mmsearch-demo"
_MADE: Final = ("data", "cache", "run", "library", "gallery.html")
_SHOWN: Final = 3
_ON_PAGE: Final = 8


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the demo keeps what."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def library(self) -> Path:
        return self.folder / "library"

    @property
    def gallery(self) -> Path:
        return self.folder / "gallery.html"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where to keep it all; an earlier demo is replaced.")
    ] = Path("demo"),
    scenes: Annotated[
        int, typer.Option("--scenes", min=40, help="Number of scenes to train on.")
    ] = 3000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of scenes and training.")] = 0,
) -> None:
    """Run the whole path on drawn scenes: train, measure, index, search.

    Draws scenes with captions such as "a red circle left of a blue square", trains a VSE++ model
    on them from random initialisation, measures it on combinations of colour and shape that it
    was never trained on, indexes pictures and sentences, and searches both ways. It takes about
    two minutes on two cores and needs no network.
    """
    from rich.console import Console

    began = time.perf_counter()
    console = Console(highlight=False, soft_wrap=True)
    places = _Places(folder)
    load_training()
    _clear(folder)
    _draw(places, _options(scenes, seed), console)
    _train(places, seed, console)
    _measure(places, console)
    _index(places, console)
    _search(places, console)
    console.print(f"\n[bold]Done in {time.perf_counter() - began:.0f} s.[/] Go on with:")
    question = _test_scenes(places)[-1].captions[0]
    console.print(f"  mmsearch query '{question}' --library {places.library}")
    console.print("  mmsearch train DATA --output RUN    with pictures and captions of your own")


def _options(scenes: int, seed: int) -> SceneOptions:
    dev, test = min(200, scenes // 4), min(400, scenes // 4)
    return SceneOptions(train=scenes, dev=dev, test=test, size=RECIPE["image_size"], seed=seed)


def _clear(folder: Path) -> None:
    """Remove what an earlier demo made; refuse a folder with anything else in it."""
    marker = folder / _MARKER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; choose another --folder")
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise InputError(f"{folder} holds files that are not a demo's; choose another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()
    for name in _MADE:
        made = folder / name
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)


@contextmanager
def _stage(console: "Console", number: int, title: str) -> Iterator[None]:
    console.print(f"\n[bold cyan]{number}. {title}[/]")
    began = time.perf_counter()
    yield
    console.print(f"[dim]   {time.perf_counter() - began:.1f} s[/]")


def _draw(places: _Places, options: SceneOptions, console: "Console") -> None:
    with _stage(console, 1, "Draw scenes with captions"):
        counts = write_scenes(places.data, options)
        side = options.size
        console.print(
            f"   {sum(counts.values())} pictures of {side} x {side} pixels with "
            f"{options.captions} captions each, in {places.data}: {counts[Split.TRAIN]} to train, "
            f"{counts[Split.DEV]} to choose the best epoch, {counts[Split.TEST]} to test"
        )
        console.print("   No combination of colour and shape stands in two of these parts.")
        for image in _test_scenes(places)[:_SHOWN]:
            console.print(f"   e.g. “{image.captions[0]}”", markup=False)


def _train(places: _Places, seed: int, console: "Console") -> None:
    from mmsearch.commands.training_view import TrainingView
    from mmsearch.retrieval.vse.config import preset

    training = load_training()
    with _stage(console, 2, "Train from random initialisation"):
        console.print(
            "   A small convolutional network and a GRU learn one space, in which a picture and "
            "its caption\n   are near each other (hinge triplet loss, hard negatives)."
        )
        console.print(f"   [dim]like: mmsearch train {places.data} --output {places.run} ...[/]")
        job = training.TrainJob(
            data=places.data,
            output=places.run,
            config=preset("default", seed=seed, **RECIPE),
            cache=places.folder / "cache",
        )
        training.start(job, TrainingView(sys.stderr))


def _measure(places: _Places, console: "Console") -> None:
    from mmsearch.commands.evaluation_view import Heading, table
    from mmsearch.retrieval.evaluate import evaluate
    from mmsearch.retrieval.models import load_encoder

    with _stage(console, 3, "Measure on combinations never trained on"):
        console.print(f"   [dim]like: mmsearch evaluate {places.run} {places.data}[/]")
        result = evaluate(load_encoder(places.run), _test_scenes(places))
        for line in table(result, Heading("demo", str(places.run), "scenes", "test")):
            console.print(f"   {line}", markup=False)


def _index(places: _Places, console: "Console") -> None:
    with _stage(console, 4, "Index pictures and sentences"), _library(places) as library:
        sentences = places.data / "captions_test.csv"
        pictures = places.data / "images" / "test"
        console.print(
            f"   [dim]like: mmsearch index {pictures} --texts {sentences} --model {places.run} "
            f"--library {places.library}[/]"
        )
        added, told = library.add(pictures), library.add_texts(sentences)
        console.print(f"   {added.new} pictures and {told.new} different sentences")


def _search(places: _Places, console: "Console") -> None:
    from mmsearch.retrieval.gallery import Section, write_gallery

    scenes = _test_scenes(places)
    sections = []
    with _stage(console, 5, "Search both ways"), _library(places) as library:
        console.print("   [green]✓[/] marks the scene that a sentence was written for, and back.")
        console.print("\n   [bold]text → image[/]")
        for scene in scenes[:_SHOWN]:
            text = scene.captions[0]
            _ask(console, f"“{text}”")
            hits = library.search(text, k=_ON_PAGE, target=Modality.IMAGE)
            sections.append(Section(text, (), tuple(hits)))
            for hit in hits[:_SHOWN]:
                name = Path(hit.item.path or "").name
                _answer(console, hit.score, name, right=name == scene.path.name)
        console.print("\n   [bold]image → text[/]")
        for scene in scenes[_SHOWN : 2 * _SHOWN]:
            _ask(console, scene.path.name)
            hits = library.search(scene.path, k=_ON_PAGE, target=Modality.TEXT)
            sections.append(Section(None, (scene.path,), tuple(hits)))
            for hit in hits[:_SHOWN]:
                text = hit.item.text or ""
                _answer(console, hit.score, f"“{text}”", right=text in scene.captions)
        write_gallery(places.gallery, sections)
        console.print(f"\n   All of it on a page, with pictures: [bold]{places.gallery}[/]")


def _ask(console: "Console", question: str) -> None:
    console.print(f"   {question}", markup=False)


def _answer(console: "Console", score: float, answer: str, *, right: bool) -> None:
    console.print(f"     {'[green]✓[/]' if right else ' '} {score:.3f}  {answer}")


def _library(places: _Places) -> "Library":
    from mmsearch.retrieval.opening import open_library

    return open_library(places.library, model=places.run)


def _test_scenes(places: _Places) -> "tuple[CaptionedImage, ...]":
    from mmsearch.retrieval.captions import load_captions

    return load_captions(places.data).splits["test"]
