"""Items with their vectors as one Parquet file, a row an item, written and read in pieces."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmsearch.core import Space, Vectors
from mmsearch.errors import InputError, MissingExtraError
from mmsearch.retrieval.transfer.fields import FieldError, Fields, fields_of, record_of
from mmsearch.retrieval.transfer.manifest import manifest_text, read_manifest
from mmsearch.retrieval.transfer.records import Chunk, Manifest

if TYPE_CHECKING:
    import pyarrow as pa

_KEY: Final = b"mmsearch"
_ROWS: Final = 4096
_REPEATED: Final = ["modality", "root", "camera"]
_TIMES: Final = {"mtime": ("mtime_ns", 1), "taken": ("taken", 1000)}
"""Columns that are times in the file: the field, and the file's units in one of the field's."""


def write_parquet(file: Path, manifest: Manifest, chunks: Iterable[Chunk], *, wide: bool) -> int:
    """Write the chunks as they come; return how many rows that were.

    `wide`: vectors as float32, for programs that do not know float16. Raises MissingExtraError
    without pyarrow, OSError when the file cannot be written.
    """
    arrow, parquet = _pyarrow()
    assert manifest.space is not None  # a library's own
    schema = _schema(arrow, manifest, wide=wide)
    rows = 0
    options = {"compression": "zstd", "use_dictionary": _REPEATED, "write_page_checksum": True}
    with parquet.ParquetWriter(file, schema, **options) as writer:
        for chunk in chunks:
            writer.write_batch(_batch(arrow, schema, chunk))
            rows += len(chunk.records)
    return rows


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A Parquet file that was exported. Made by `open_parquet`."""

    file: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """How to name it to the user."""
        return str(self.file)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows. Raises InputError where the file is damaged or a row is wrong."""
        arrow, parquet = _pyarrow()
        assert self.manifest.space is not None  # `open_parquet` has read it
        first = 1
        with (
            _explained(arrow, self.file),
            parquet.ParquetFile(self.file, page_checksum_verification=True) as opened,
        ):
            for batch in opened.iter_batches(batch_size=_ROWS):
                vectors = _vectors(batch, self.manifest.space, self.file)
                records = []
                for place, fields in enumerate(_rows(arrow, batch)):
                    try:
                        records.append(record_of(fields))
                    except FieldError as error:
                        raise InputError(f"{self.file}, row {first + place}: {error}") from error
                yield Chunk(first, tuple(records), vectors)
                first += len(records)


def open_parquet(file: Path) -> ParquetSource:
    """Look at an exported file.

    Raises MissingExtraError without pyarrow, InputError when it is damaged or something else.
    """
    arrow, parquet = _pyarrow()
    with _explained(arrow, file), parquet.ParquetFile(file) as opened:
        schema = opened.schema_arrow
    written = (schema.metadata or {}).get(_KEY)
    if written is None:
        raise InputError(
            f"{file} was not exported by mmsearch, so the space of its vectors is not known; "
            "docs/formats.md says what import reads"
        )
    manifest, _ = read_manifest(written, str(file))
    assert manifest.space is not None  # `read_manifest` has read it
    expected = _schema(arrow, manifest, wide=False)
    for field in expected:
        found = schema.field(field.name).type if field.name in schema.names else None
        wide = field.name == "vector" and found == arrow.list_(arrow.float32(), manifest.space.dim)
        if found != field.type and not wide:
            raise InputError(f"{file} is damaged: its column {field.name} is {found or 'missing'}")
    return ParquetSource(file, manifest)


def _schema(arrow: Any, manifest: Manifest, *, wide: bool) -> "pa.Schema":
    assert manifest.space is not None  # of our own files
    text, whole, real = arrow.string(), arrow.int64(), arrow.float64()
    label = arrow.struct([("name", text), ("source", text), ("score", real)])
    value = arrow.float32() if wide else arrow.float16()
    columns = [
        ("id", whole),
        ("modality", text),
        *(("path", text), ("path_bytes", arrow.binary()), ("text", text)),
        *(("root", text), ("root_bytes", arrow.binary())),
        *(("digest", text), ("size", whole), ("mtime", arrow.timestamp("ns", "UTC"))),
        *(("width", whole), ("height", whole), ("taken", arrow.timestamp("ms"))),
        *(("camera", text), ("latitude", real), ("longitude", real)),
        ("fingerprint", arrow.uint64()),
        ("labels", arrow.list_(label)),
        ("captions", arrow.list_(text)),
        ("vector", arrow.list_(value, manifest.space.dim)),
    ]
    return arrow.schema(columns, metadata={_KEY: manifest_text(manifest)})


def _batch(arrow: Any, schema: "pa.Schema", chunk: Chunk) -> "pa.RecordBatch":
    fields = [fields_of(record) for record in chunk.records]
    columns = []
    for field in schema:
        if field.name == "vector":
            rows = chunk.vectors.astype(field.type.value_type.to_pandas_dtype())
            flat = arrow.array(rows.ravel(), type=field.type.value_type)
            columns.append(arrow.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            name, units = _TIMES.get(field.name, (field.name, 1))
            values = [row[name] for row in fields]
            if units > 1:
                values = [None if value is None else value * units for value in values]
            columns.append(arrow.array(values, type=field.type))
    return arrow.RecordBatch.from_arrays(columns, schema=schema)


def _rows(arrow: Any, batch: "pa.RecordBatch") -> list[Fields]:
    """Return the rows of a batch by name, without their vectors."""
    columns = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if name in _TIMES:
            field, units = _TIMES[name]
            values = column.cast(arrow.int64()).to_pylist()
            columns[field] = [None if value is None else value // units for value in values]
        elif name != "vector":
            columns[name] = column.to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _vectors(batch: "pa.RecordBatch", space: Space, file: Path) -> Vectors:
    column = batch.column("vector")
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise InputError(f"{file} is damaged: a vector is missing")
    values = flat.to_numpy(zero_copy_only=False).reshape(len(column), space.dim)
    return np.asarray(values, dtype=np.float32)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pa, parquet


@contextmanager
def _explained(arrow: Any, file: Path) -> Iterator[None]:
    """Translate what pyarrow raises of a file that is damaged or something else."""
    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read {file} as Parquet: {reason}") from error
