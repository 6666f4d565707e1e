"""`mmsearch query`: find pictures and sentences."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, ModelOption, library_directory
from mmsearch.commands.results import Form, csv_header, several, single
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.core import Hit, Modality, Query, Term
    from mmsearch.retrieval.library import Library

_STDIN = "-"


class Target(StrEnum):
    """What to look for."""

    IMAGES = "images"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class _Request:
    """What every question of this run has in common."""

    k: int
    target: Target | None
    form: Form
    page: Path | None
    online: bool


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="query")(query)


def query(
    text: Annotated[
        str | None,
        typer.Argument(help="What to look for; - reads one question a line.", show_default=False),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Look for what is like this picture; with TEXT, like both.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option(
            "--for",
            help="Look for images or texts. "
            "[default: texts for a picture when the library has any, else images]",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", metavar="N", help="Answers to print.")] = 10,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print paths alone, byte for byte.")
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Print paths, each ended by a zero byte.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a gallery page as well.", show_default=False
        ),
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Leave out what lies on a drive or in a folder that is not there now."
        ),
    ] = False,
    library: LibraryOption = None,
    model: ModelOption = None,
) -> None:
    """Find the pictures or sentences nearest to a question.

    Prints one answer a line, best first: score (the cosine), a tab, the path or the sentence.
    With - the question follows in a third column, and JSON is an object a line. The exit code
    is 1 when nothing was found.
    """
    request = _Request(k, target, _form(as_json, as_csv, paths, null), html, online)
    from mmsearch.retrieval.encoder import Use
    from mmsearch.retrieval.library import open_library
    from mmsearch.retrieval.query import text_of_query

    if text is None and not image:
        raise InputError('say what to look for: mmsearch query "a dog on grass", or --image FILE')
    if k < 1:
        raise InputError(f"--top must be at least 1, not {k}")
    if text is not None and text != _STDIN:
        text = text_of_query(text)
    directory, use = library_directory(library), Use(once=text != _STDIN)
    with open_library(directory, model=model, create=False, use=use) as opened:
        found = _Answers(opened, request, image or [])
        count = found.each_line() if text == _STDIN else found.one(text)
        for warning in [*opened.warnings, *_waiting(opened)]:
            typer.echo(f"mmsearch: warning: {warning}", err=True)
        if count == 0:
            typer.echo(f"mmsearch: {_nothing(opened, found.target, online=online)}", err=True)
            raise typer.Exit(1)


class _Answers:
    """Asks, prints, and collects what the gallery shows. `target` is that of the last question."""

    def __init__(self, library: "Library", request: _Request, images: Sequence[Path]) -> None:
        from mmsearch.retrieval.query import choose_target

        self._library = library
        self._request = request
        self._images = images
        self._pictures = tuple(library.image_term(file) for file in images)
        self._texts = library.catalog.counts().texts
        self._choose = choose_target
        self.target: Modality | None = None

    def one(self, text: str | None) -> int:
        """Print the answers to the one question; return how many there are."""
        hits = self._ask(text)
        _write(single(hits, self._request.form))
        self._write_gallery([(text, hits)])
        return len(hits)

    def each_line(self) -> int:
        """Print the answers to every line of stdin as it comes."""
        form = self._request.form
        if form is Form.CSV:
            _write(csv_header(named=True))
        count = 0
        answers: list[tuple[str | None, list[Hit]]] = []
        for text in _lines():
            hits = self._ask(text)
            count += len(hits)
            _write(several(text, hits, form))
            if self._request.page is not None:
                answers.append((text, hits))
        if self.target is None:
            raise InputError("there was no question on standard input; give one a line")
        self._write_gallery(answers)
        return count

    def _ask(self, text: str | None) -> "list[Hit]":
        question = self._question(text)
        self.target = question.target
        return self._library.search(question)

    def _question(self, text: str | None) -> "Query":
        from mmsearch.core import Modality, Query, TextTerm

        terms: tuple[Term, ...] = self._pictures
        if text is not None:
            terms = (TextTerm(text), *terms)
        match self._request.target:
            case Target.IMAGES:
                target = Modality.IMAGE
            case Target.TEXTS:
                target = Modality.TEXT
            case None:
                target = self._choose(terms, texts=self._texts)
        return Query(terms, self._request.k, target, self._request.online)

    def _write_gallery(self, answers: "Sequence[tuple[str | None, list[Hit]]]") -> None:
        if self._request.page is None:
            return
        from mmsearch.retrieval.gallery import Section, write_gallery

        images = tuple(self._images)
        sections = [Section(text, images, tuple(hits)) for text, hits in answers]
        write_gallery(self._request.page, sections)


def _form(as_json: bool, as_csv: bool, paths: bool, null: bool) -> Form:
    chosen = [
        form
        for form, wanted in [
            (Form.JSON, as_json),
            (Form.CSV, as_csv),
            (Form.NUL, null),
            (Form.PATHS, paths and not null),
        ]
        if wanted
    ]
    if len(chosen) > 1:
        raise InputError(f"--{chosen[0]} and --{chosen[1]} exclude each other; give one of them")
    return chosen[0] if chosen else Form.LINES


def _lines() -> Iterator[str]:
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "replace").strip()
        if text:
            yield text


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _waiting(library: "Library") -> Iterator[str]:
    """Yield a warning when the answers are partial, since not everything is encoded."""
    waiting = library.catalog.waiting()
    if waiting:
        items = "item has" if waiting == 1 else "items have"
        yield f"{waiting:,} {items} no vector of this model yet; `mmsearch index` goes on encoding"


def _nothing(library: "Library", target: "Modality | None", *, online: bool) -> str:
    from mmsearch.core import Modality

    counts = library.catalog.counts()
    if counts.items == 0:
        return "the library is empty; run: mmsearch index PATH"
    if target is Modality.IMAGE and counts.images == 0:
        return "the library has no pictures, only sentences; try --for texts"
    if target is Modality.TEXT and counts.texts == 0:
        return "the library has no sentences; try --for images, or: mmsearch index --texts FILE"
    return "nothing was found among what is there now" if online else "nothing was found"
