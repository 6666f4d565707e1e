"""What a catalog says of its index files, read without believing any of it."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmsearch.index import database


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `generations`; a damaged one may hold values of other types."""

    space_id: int
    modality: str
    kind: str
    rows: int
    file: str
    sha256: str
    size: int
    revision: int
    parameters: str

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"the {self.modality} index {self.file}"


def records(directory: Path) -> list[Record]:
    """Return the newest record of every space and modality.

    Raises `database.UNREADABLE` when the catalog cannot be read.
    """
    with closing(database.connect_unverified(directory)) as connection:
        rows = connection.execute(
            "SELECT space_id, modality, kind, rows, file, sha256, size, revision, parameters "
            "FROM generations ORDER BY number"
        ).fetchall()
    return list({row[:2]: Record(*row) for row in rows}.values())
