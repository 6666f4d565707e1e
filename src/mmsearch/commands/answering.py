"""The work of `mmsearch query`, whoever read its flags: ask, print, say what is the matter."""

import gc
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mmsearch.commands.border import EXIT_INPUT, EXIT_NOTHING, say
from mmsearch.commands.plain_query import Flags, Target
from mmsearch.commands.presenting import Presenter
from mmsearch.commands.results import Answer, Form, csv_header, failed, several, single
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.core import Hit, Modality, Query
    from mmsearch.retrieval.library import Library

_STDIN: Final = "-"
_BYTE_ORDER_MARK: Final = "\ufeff"  # with which some shells and editors begin a text


def answer(flags: Flags) -> int:
    """Answer the question, or each line of stdin; return the exit code.

    Raises what the library raises: MMSearchError when the question or the library is bad.
    """
    form = _form(flags)
    if flags.text is None and not flags.image:
        raise InputError('say what to look for: mmsearch query "a dog on grass", or --image FILE')
    if flags.k < 1:
        raise InputError(f"--top must be at least 1, not {flags.k}")
    from mmsearch.retrieval.encoder import Use
    from mmsearch.retrieval.opening import default_directory, open_library
    from mmsearch.retrieval.query import text_of_query

    many = flags.text == _STDIN
    text = None if many or flags.text is None else text_of_query(flags.text)
    directory = default_directory() if flags.library is None else flags.library
    use = Use(once=not many)
    with open_library(directory, model=flags.model, create=False, use=use) as opened:
        answers = _Answers(opened, flags, form)
        code = answers.each_line() if many else answers.one(text)
        for warning in [*opened.warnings, *_waiting(opened)]:
            say(f"warning: {warning}")
        if code == EXIT_NOTHING:
            say(_nothing(opened, answers.target, online=flags.online))
    return code


class _Answers:
    """Asks, prints, and collects what the gallery shows. `target` is that of the last question."""

    def __init__(self, library: "Library", flags: Flags, form: Form) -> None:
        from mmsearch.retrieval.query import choose_target

        self._library = library
        self._presenter = Presenter(library.catalog, flags, form)
        self._flags = flags
        self._form = form
        self._pictures = tuple(library.image_term(file) for file in flags.image)
        self._texts = library.catalog.counts().texts
        self._choose = choose_target
        self.target: Modality | None = None

    def one(self, text: str | None) -> int:
        """Print the answers to the one question; return the exit code."""
        answer = self._presenter.answer(self._ask(text))
        for part in self._presenter.table(answer) or [single(answer, self._form)]:
            _write(part)
        self._write_gallery([(text, answer)])
        return 0 if answer.hits else EXIT_NOTHING

    def each_line(self) -> int:
        """Print the answers to every line of stdin as it comes; return the exit code.

        A line that is no question is said on stderr, with its number, and does not end it.
        """
        gc.freeze()  # what was loaded stays
        gc.enable()
        if self._form is Form.CSV:
            _write(csv_header(self._presenter.answer([]), named=True))
        asked = found = bad = 0
        shown: list[tuple[str | None, Answer]] = []
        for number, text in _lines():
            asked += 1
            try:
                answer = self._presenter.answer(self._ask(text))
            except InputError as error:
                bad += 1
                say(f"error: line {number}: {error}")
                _write(failed(text, str(error), self._form))
                continue
            found += len(answer.hits)
            _write(several(text, answer, self._form))
            if self._flags.html is not None:
                shown.append((text, answer))
        if asked == 0:
            raise InputError("there was no question on standard input; give one a line")
        self._write_gallery(shown)
        if bad:
            return EXIT_INPUT
        return 0 if found else EXIT_NOTHING

    def _ask(self, text: str | None) -> "list[Hit]":
        question = self._question(text)
        self.target = question.target
        return self._library.search(question)

    def _question(self, text: str | None) -> "Query":
        from mmsearch.core import Modality, Query

        terms = (*(() if text is None else self._library.terms(text)), *self._pictures)
        match self._flags.target:
            case Target.IMAGES:
                target = Modality.IMAGE
            case Target.TEXTS:
                target = Modality.TEXT
            case None:
                target = self._choose(terms, texts=self._texts)
        return Query(terms, self._flags.k, target, self._flags.online)

    def _write_gallery(self, answers: "Sequence[tuple[str | None, Answer]]") -> None:
        if self._flags.html is None:
            return
        from mmsearch.retrieval.gallery import Section, write_gallery

        sections = [
            Section(text, self._flags.image, tuple(answer.hits), answer.details, answer.groups)
            for text, answer in answers
        ]
        write_gallery(self._flags.html, sections)


def _form(flags: Flags) -> Form:
    chosen = [
        form
        for form, wanted in [
            (Form.JSON, flags.as_json),
            (Form.CSV, flags.as_csv),
            (Form.NUL, flags.null),
            (Form.PATHS, flags.paths and not flags.null),
        ]
        if wanted
    ]
    if len(chosen) > 1:
        raise InputError(f"--{chosen[0]} and --{chosen[1]} exclude each other; give one of them")
    return chosen[0] if chosen else Form.LINES


def _lines() -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line of stdin that is not blank."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        text = line.decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK).strip()
        if text:
            yield number, text


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
