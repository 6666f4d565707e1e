"""Write a library's items with their vectors to a file that other programs can read."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mmsearch.errors import InputError
from mmsearch.index import lookup
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.remembered import remembered_model
from mmsearch.retrieval.transfer import numpy_folder, parquet
from mmsearch.retrieval.transfer.beside import file_beside, folder_beside
from mmsearch.retrieval.transfer.records import Chosen, Manifest, collect


class FileFormat(StrEnum):
    """PARQUET is one file, NPY a folder of a NumPy array and lines of JSON."""

    PARQUET = "parquet"
    NPY = "npy"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to write. `wide`: vectors as float32; `force`: replace an export of the same name."""

    format: FileFormat
    wide: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `waiting`: chosen items that have no vector yet and were left out."""

    rows: int
    waiting: int
    manifest: Manifest


def format_of(target: str) -> FileFormat:
    """Return the format that a name asks for. Raises InputError when it asks for none."""
    if target.endswith("/") or Path(target).is_dir():
        return FileFormat.NPY
    if Path(target).suffix.lower() in (".parquet", ".pq"):
        return FileFormat.PARQUET
    raise InputError(
        f"name a file that ends with .parquet or a folder that ends with /, not {target}, or give "
        "--format"
    )


def export(catalog: Catalog, target: Path, chosen: Chosen, options: ExportOptions) -> Exported:
    """Write the chosen items to a file or folder, which gets its name when it is whole.

    Takes the memory of some thousand rows. Raises InputError when the target is taken or cannot
    be written, or the library holds nothing; MissingExtraError when Parquet needs pyarrow.
    """
    with catalog.snapshot():
        space = catalog.space()
        if space is None:
            raise InputError(
                f"the library {catalog.directory} holds nothing to export; index something first"
            )
        manifest = Manifest(space, remembered_model(catalog))
        chunks = collect(catalog, chosen)
        match options.format:
            case FileFormat.PARQUET:
                with file_beside(target, force=options.force) as file:
                    rows = parquet.write_parquet(file, manifest, chunks, wide=options.wide)
            case FileFormat.NPY:
                with folder_beside(
                    target, force=options.force, is_ours=numpy_folder.is_export
                ) as folder:
                    rows = numpy_folder.write_folder(folder, manifest, chunks, wide=options.wide)
        return Exported(rows, _waiting(catalog, chosen), manifest)


def _waiting(catalog: Catalog, chosen: Chosen) -> int:
    """Return how many of the chosen items have no vector."""
    if chosen.among is None:
        return sum(lookup.waiting(catalog, modality) for modality in chosen.modalities)
    return sum(
        len(ids) - len(lookup.encoded(catalog, modality, ids.tolist()))
        for modality in chosen.modalities
        for ids in [chosen.among[modality]]
    )
