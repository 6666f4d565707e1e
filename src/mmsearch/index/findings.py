"""What `check` finds, and what can be done about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How grave a finding is. NOTICE: worth knowing; the library is sound all the same."""

    ERROR = "error"
    NOTICE = "notice"


class Remedy(StrEnum):
    """What mends it.

    COUNT: tallies, seals and b-tree indexes can be made anew from the rows. RESCUE: rows are
    damaged, and a new catalog has to be made of the others. INDEX: an index file is written
    again. ACCEPT: nothing here is damaged; commits that are lost can only be accepted. OTHER:
    nothing that the library could mend by itself.
    """

    COUNT = "count"
    RESCUE = "rescue"
    INDEX = "index"
    ACCEPT = "accept"
    OTHER = "other"


_ADVICE = {
    Remedy.COUNT: "run `mmsearch repair`",
    Remedy.RESCUE: "run `mmsearch repair`, then `mmsearch index`",
    Remedy.INDEX: "run `mmsearch repair`",
    Remedy.ACCEPT: "run `mmsearch repair`, then `mmsearch index`",
    Remedy.OTHER: "",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `advice` says what to do, "" when nothing."""

    level: Level
    what: str
    remedy: Remedy = Remedy.OTHER
    advice: str = ""

    @property
    def is_error(self) -> bool:
        """Whether the library is unsound because of it."""
        return self.level is Level.ERROR


def error(what: str, remedy: Remedy, advice: str = "") -> Finding:
    """Return a finding that makes the library unsound."""
    return Finding(Level.ERROR, what, remedy, advice or _ADVICE[remedy])


def notice(what: str, advice: str = "") -> Finding:
    """Return a finding that does not."""
    return Finding(Level.NOTICE, what, advice=advice)
