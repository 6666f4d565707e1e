"""How the answers of a query are arranged for output: sorted, grouped, with their details."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mmsearch.commands.plain_query import Flags, Thumbnails
from mmsearch.commands.results import Answer, Form
from mmsearch.retrieval.ordering import Sort, grouped, ordered

if TYPE_CHECKING:
    from mmsearch.commands.terminal import Drawing
    from mmsearch.core import Hit
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.details import Details


class Presenter:
    """Arranges answers as the flags say; what a form has no place for is not read."""

    def __init__(self, catalog: "Catalog", flags: Flags, form: Form) -> None:
        self._catalog = catalog
        self._flags = flags
        self._drawing = _drawing(flags, form)
        self._detailed = (
            form is Form.JSON
            or self._drawing is not None
            or flags.sort is Sort.DATE
            or flags.group is not None
            or flags.html is not None
        )

    def answer(self, hits: "Sequence[Hit]") -> Answer:
        """Return hits, best first, in the order and the groups that were asked for."""
        details = self._details(hits) if self._detailed else {}
        dates = {number: each.date for number, each in details.items()}
        shown = ordered(hits, self._flags.sort, dates, reverse=self._flags.reverse)
        group = self._flags.group
        groups = None if group is None else grouped(shown, group, dates)
        return Answer(shown, details, groups)

    def _details(self, hits: "Sequence[Hit]") -> "dict[int, Details]":
        from mmsearch.retrieval.details import details_of

        return details_of(self._catalog, hits)

    def table(self, answer: Answer) -> Iterator[bytes] | None:
        """Return the answers with thumbnails, None where they are printed as lines."""
        if self._drawing is None or not answer.hits:
            return None
        from mmsearch.commands.table import Screen, table
        from mmsearch.commands.terminal import cell_size

        width = shutil.get_terminal_size().columns
        colours = not os.environ.get("NO_COLOR")
        return table(answer, Screen(self._drawing, width, cell_size(sys.stdout), colours))


def _drawing(flags: Flags, form: Form) -> "Drawing | None":
    """Return how thumbnails are drawn: into lines on a terminal only, or as it was asked for."""
    if form is not Form.LINES or flags.thumbnails is Thumbnails.OFF:
        return None
    if flags.thumbnails is Thumbnails.AUTO and not sys.stdout.isatty():
        return None
    from mmsearch.commands.terminal import Drawing, drawing_of

    if flags.thumbnails is Thumbnails.AUTO:
        return drawing_of(sys.stdout, os.environ)
    return Drawing(flags.thumbnails.value)
