"""The work of `mmsearch query`, whoever read its flags: ask, print, say what is the matter."""

import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mmsearch.choices import Cutoff, Sort
from mmsearch.commands.border import EXIT_INPUT, EXIT_NOTHING, say
from mmsearch.commands.plain_query import Flags, Target, Thumbnails
from mmsearch.commands.results import Answer, Form, asked_form, csv_header, failed, several, single
from mmsearch.errors import InputError, SpaceMismatchError

if TYPE_CHECKING:
    from mmsearch.commands.presenting import Presenter
    from mmsearch.conditions import Condition
    from mmsearch.core import Hit, Modality, Query, Term
    from mmsearch.retrieval.explaining import Explanation
    from mmsearch.retrieval.library import Library
    from mmsearch.retrieval.query import Answered

_STDIN: Final = "-"
_BYTE_ORDER_MARK: Final = "\ufeff"  # with which some shells and editors begin a text


def answer(flags: Flags) -> int:
    """Answer the question, or each line of stdin; return the exit code.

    Raises what the library raises: MMSearchError when the question or the library is bad.
    """
    form = asked_form(flags)
    given = (flags.image, flags.plus, flags.minus, flags.item, flags.like)
    if flags.text is None and not any(given):
        raise InputError('say what to look for: mmsearch query "a dog on grass", or --image FILE')
    if flags.k < 1:
        raise InputError(f"--top must be at least 1, not {flags.k}")
    condition = _condition(flags)
    try:
        return _answer(flags, form, condition)
    except SpaceMismatchError:
        if flags.model is not None or flags.text == _STDIN:
            raise
    # A writer has made another model the library's, after that of before was loaded.
    return _answer(flags, form, condition)


def _answer(flags: Flags, form: Form, condition: "Condition | None") -> int:
    """Answer with the model that was asked for, or that the library has now."""
    from mmsearch.retrieval.encoder import Use
    from mmsearch.retrieval.opening import default_directory, open_library
    from mmsearch.retrieval.query import text_of_query

    many = flags.text == _STDIN
    text = None if many or flags.text is None else text_of_query(flags.text)
    directory = default_directory() if flags.library is None else flags.library
    use = Use(once=not many)
    with open_library(directory, model=flags.model, create=False, use=use) as opened:
        answers = _Answers(opened, flags, form, condition)
        code = answers.each_line() if many else answers.one(text)
        for warning in [*opened.warnings, *answers.partial()]:
            say(f"warning: {warning}")
        if code == EXIT_NOTHING:
            say(answers.nothing)
    return code


class _Answers:
    """Asks, prints, and collects what the gallery shows.

    What is said of answers is looked up in their moment: `nothing` is why there were none to the
    last question without any.
    """

    def __init__(
        self, library: "Library", flags: Flags, form: Form, condition: "Condition | None"
    ) -> None:
        self._library = library
        self._presenter = _presenter(library, flags, form)
        self._flags = flags
        self._form = form
        self._condition = condition
        self._kind: Modality | None = None  # of the items that answers are to be like
        self._terms = (*_terms(library, flags), *self._items())
        self._texts = library.catalog.counts().texts
        self.nothing = ""
        self._waiting = 0  # items without a vector, the most that there were at any question
        self._moment = (-1, -1)

    def partial(self) -> Iterator[str]:
        """Yield a warning when answers are partial, since not everything was encoded."""
        if self._waiting:
            from mmsearch.commands.answer_notes import partial

            yield partial(self._waiting)

    def _items(self) -> "Iterator[Term]":
        """Yield the items that answers are to be like."""
        if not self._flags.like:
            return
        from mmsearch.core import ItemTerm
        from mmsearch.retrieval.named_items import named_item

        for name in self._flags.like:
            item = named_item(self._library.catalog, name)
            self._kind = self._kind or item.modality
            yield ItemTerm(item.id)

    def one(self, text: str | None) -> int:
        """Print the answers to the one question; return the exit code."""
        answer, explanation = self._ask(text)
        table = None if self._presenter is None else self._presenter.table(answer)
        for part in table or [single(answer, self._form)]:
            _write(part)
        self._explain(explanation)
        self._write_gallery([(text, answer)])
        return 0 if answer.hits else EXIT_NOTHING

    def each_line(self) -> int:
        """Print the answers to every line of stdin as it comes; return the exit code.

        A line that is no question is said on stderr, with its number, and does not end it.
        """
        gc.freeze()  # what was loaded stays
        gc.enable()
        if self._form is Form.CSV:
            _write(csv_header(self._arranged([]), named=True))
        asked = found = bad = 0
        shown: list[tuple[str | None, Answer]] = []
        for number, text in _lines():
            asked += 1
            try:
                answer, explanation = self._ask(text)
            except InputError as error:
                bad += 1
                say(f"error: line {number}: {error}")
                _write(failed(text, str(error), self._form))
                continue
            found += len(answer.hits)
            _write(several(text, answer, self._form))
            self._explain(explanation)
            if self._flags.html is not None:
                shown.append((text, answer))
        if asked == 0:
            raise InputError("there was no question on standard input; give one a line")
        self._write_gallery(shown)
        if bad:
            return EXIT_INPUT
        return 0 if found else EXIT_NOTHING

    def _ask(self, text: str | None) -> "tuple[Answer, Explanation | None]":
        found = self._library.answer(self._question(text), self._read)
        if found is not None:
            return found
        from mmsearch.commands.answer_notes import EMPTY

        if self._flags.explain:
            raise InputError(EMPTY)
        self.nothing = EMPTY
        return self._arranged(()), None

    def _read(self, answered: "Answered") -> "tuple[Answer, Explanation | None]":
        """Return answers with all that is shown of them, in the moment that they are of."""
        self._look(answered)
        answer = self._arranged(answered.hits)
        if not self._flags.explain:
            return answer, None
        from mmsearch.retrieval.explaining import explain

        explanation = explain(self._library.catalog, self._library.encoder.space, answered)
        return replace(answer, explanation=explanation.as_dict()), explanation

    def _look(self, answered: "Answered") -> None:
        """Note whether the answers are partial, and why there are none."""
        catalog = self._library.catalog
        if self._moment != catalog.moment():  # as long as nothing changes it is looked up once
            self._moment = catalog.moment()
            self._waiting = max(self._waiting, catalog.waiting())
        if not answered.hits:
            from mmsearch.commands.answer_notes import nothing

            self.nothing = nothing(catalog.counts(), answered.query.target, self._flags)

    def _arranged(self, hits: "Sequence[Hit]") -> Answer:
        answer = Answer(hits) if self._presenter is None else self._presenter.answer(hits)
        return replace(answer, marked=self._flags.cutoff is Cutoff.MARK)

    def _question(self, text: str | None) -> "Query":
        from mmsearch.core import Modality, Query
        from mmsearch.retrieval.query import choose_target

        flags = self._flags
        terms = (*(() if text is None else self._library.terms(text)), *self._terms)
        match flags.target:
            case Target.IMAGES:
                target: Modality | None = Modality.IMAGE
            case Target.TEXTS:
                target = Modality.TEXT
            case Target.ANY:
                target = None
            case None:
                target = self._kind or choose_target(terms, texts=self._texts)
        return Query(
            terms,
            flags.k,
            target,
            flags.online,
            where=self._condition,
            mode=flags.mode,
            negation=flags.negation,
            min_score=flags.min_score,
            cutoff=flags.cutoff,
            own=flags.own,
        )

    def _explain(self, explanation: "Explanation | None") -> None:
        """Say why the answers are what they are, unless that is part of the output."""
        if explanation is None or self._form is Form.JSON:
            return
        from mmsearch.commands.explanation_view import explained

        for line in explained(explanation):
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def _write_gallery(self, answers: "Sequence[tuple[str | None, Answer]]") -> None:
        if self._flags.html is None:
            return
        from mmsearch.commands.gallery_notes import notes, title
        from mmsearch.retrieval.gallery import Section, write_gallery

        sections = [
            Section(
                title(self._flags, text),
                self._flags.image,
                tuple(answer.hits),
                answer.details,
                answer.groups,
                notes=notes(self._flags, self._condition),
            )
            for text, answer in answers
        ]
        write_gallery(self._flags.html, sections)


def _terms(library: "Library", flags: Flags) -> "Iterator[Term]":
    """Yield the terms of the flags, which every question has."""
    for file in flags.image:
        yield library.image_term(file)
    if not (flags.plus or flags.minus or flags.item):
        return
    from mmsearch.core import ItemTerm
    from mmsearch.retrieval.terms import parse_minus, parse_plus

    for text in flags.plus:
        yield library.read(parse_plus(text))
    for text in flags.minus:
        yield library.read(parse_minus(text))
    for number in flags.item:
        yield ItemTerm(number)


def _condition(flags: Flags) -> "Condition | None":
    if flags.filters is None:
        return None
    from mmsearch.commands.filters import condition

    return condition(flags.filters)


def _presenter(library: "Library", flags: Flags, form: Form) -> "Presenter | None":
    """Return what arranges the answers; None when they are lines, best first."""
    as_found = flags.sort is Sort.SCORE and not flags.reverse and flags.group is None
    drawn = flags.thumbnails is not Thumbnails.OFF and (
        flags.thumbnails is not Thumbnails.AUTO or sys.stdout.isatty()
    )
    if as_found and form is not Form.JSON and not drawn and flags.html is None:
        return None
    from mmsearch.commands.presenting import Presenter

    return Presenter(library.catalog, flags, form)


def _lines() -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line of stdin that is not blank."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        text = line.decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK).strip()
        if text:
            yield number, text


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
