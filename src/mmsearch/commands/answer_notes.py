"""What is said beside the answers of a query: that they are partial, or why there are none."""

from typing import TYPE_CHECKING, Final

from mmsearch.choices import Cutoff
from mmsearch.commands.plain_query import Flags

if TYPE_CHECKING:
    from mmsearch.core import Modality
    from mmsearch.index.rows import Counts

EMPTY: Final = "the library is empty; run: mmsearch index PATH"


def partial(waiting: int) -> str:
    """Return what is said where so many items, at least one, are yet to be encoded."""
    items = "item has" if waiting == 1 else "items have"
    return f"{waiting:,} {items} no vector of this model yet; `mmsearch index` goes on encoding"


def nothing(counts: "Counts", target: "Modality | None", flags: Flags) -> str:
    """Return why nothing was found in a library that held so much then."""
    from mmsearch.core import Modality

    if counts.items == 0:
        return EMPTY
    if target is Modality.IMAGE and counts.images == 0:
        return "the library has no pictures, only sentences; try --for texts"
    if target is Modality.TEXT and counts.texts == 0:
        return "the library has no sentences; try --for images, or: mmsearch index --texts FILE"
    limits = [
        said
        for said, given in [
            ("among what is there now", flags.online),
            ("that the filters let through", flags.filters is not None),
            (f"with a score of {flags.min_score} or more", flags.min_score is not None),
            ("that is better than chance", flags.cutoff is Cutoff.DROP),
        ]
        if given
    ]
    return " ".join(["nothing was found", *limits])
