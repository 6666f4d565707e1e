"""The spaces beside the current one: what their vectors take, and how they are dropped."""

import shutil
from dataclasses import dataclass

from mmsearch.core import Modality, Space
from mmsearch.index.catalog import Catalog
from mmsearch.index.generation import file_name
from mmsearch.index.vectors import table_name


@dataclass(frozen=True, slots=True)
class OldSpace:
    """A space that the library has left. `vectors`: how many it still keeps in it."""

    space: Space
    vectors: int


def old_spaces(catalog: Catalog) -> list[OldSpace]:
    """Return the spaces other than the current one."""
    current = catalog.space()
    return [
        OldSpace(space, sum(catalog.vector_table(space, m).count() for m in Modality))
        for space in catalog.spaces()
        if current is not None and space.digest != current.digest
    ]


def drop_space(catalog: Catalog, space: Space) -> None:
    """Remove a space with its vectors and index files; it must not be the current one.

    The catalog first, in one transaction: index files that nothing records are not used.
    """
    space_id = catalog.vector_table(space, Modality.IMAGE).space_id
    with catalog.transaction() as db:
        for modality in Modality:
            table = table_name(space_id, modality)
            db.execute(f"DROP TRIGGER IF EXISTS {table}_recorded")  # it hangs on another table
            db.execute(f"DROP TABLE {table}")
        for table in ("generations", "removals", "tallies", "fused"):
            db.execute(f"DELETE FROM {table} WHERE space_id = ?", (space_id,))
        db.execute("DELETE FROM settings WHERE key = ?", (f"model:{space.digest}",))
        db.execute("DELETE FROM spaces WHERE id = ?", (space_id,))
    folder = (catalog.directory / file_name(space, Modality.IMAGE, 0)).parents[1]
    shutil.rmtree(folder, ignore_errors=True)
