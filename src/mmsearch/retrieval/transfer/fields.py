"""A record as plain values by name, and back again with every value checked.

Both file formats have these fields: `id`, `modality`, `path`, `path_bytes`, `text`, `root`,
`root_bytes`, `digest`, `size`, `mtime_ns`, `width`, `height`, `taken`, `camera`, `latitude`,
`longitude`, `fingerprint`, `labels`, `captions`. The bytes of a path stand beside it only where it
is not UTF-8. What is not known is None.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeVar

from mmsearch.core import Modality, Photo
from mmsearch.errors import InputError
from mmsearch.index.rows import Label, LabelSource
from mmsearch.retrieval.ingest_texts import text_digest
from mmsearch.retrieval.transfer.records import Record

Fields: TypeAlias = dict[str, Any]

T = TypeVar("T")

_DIGEST: Final = re.compile("[0-9a-f]{64}")
_WHOLE: Final = 1 << 63
_EARLIEST, _LATEST = -(1 << 36), 1 << 38  # seconds; the years 1 to 9999 and more
_PHOTO: Final = ("width", "height", "taken", "camera", "latitude", "longitude", "fingerprint")


class FieldError(InputError):
    """A value of a row is missing or wrong; the message does not name the file and the row."""


def fields_of(record: Record) -> Fields:
    """Return a record as values by name."""
    photo = record.photo
    return {
        "id": record.id,
        "modality": record.modality.value,
        **_named("path", record.path),
        "text": record.text,
        **_named("root", record.root),
        "digest": record.digest,
        "size": record.size,
        "mtime_ns": record.mtime_ns,
        **{name: None if photo is None else getattr(photo, name) for name in _PHOTO},
        "labels": [
            {"name": label.name, "source": label.source.value, "score": label.score}
            for label in record.labels
        ],
        "captions": list(record.captions),
    }


def record_of(fields: Mapping[str, Any]) -> Record:
    """Return the record of some values; only a path or a text is needed.

    Raises FieldError for a value that no item can have.
    """
    path, text = _path(fields, "path"), _optional(fields, "text", str)
    if (path is None) == (text is None):
        raise FieldError("either a path or a text is needed")
    modality = Modality.TEXT if path is None else Modality.IMAGE
    if _optional(fields, "modality", str) not in (None, modality.value):
        raise FieldError(f"the modality {fields['modality']!r} does not fit the rest of the row")
    digest = _digest(fields, text)
    return Record(
        _number(fields, "id") or 0,
        modality,
        path,
        text,
        _path(fields, "root"),
        digest,
        max(0, _number(fields, "size") or 0),
        _number(fields, "mtime_ns") or 0,
        _photo(fields) if modality is Modality.IMAGE else None,
        tuple(_label(label) for label in _optional(fields, "labels", list) or ()),
        _captions(fields),
    )


def _named(name: str, raw: bytes | None) -> Fields:
    if raw is None:
        return {name: None, f"{name}_bytes": None}
    text = raw.decode("utf-8", "replace")
    return {name: text, f"{name}_bytes": None if text.encode() == raw else raw}


def _path(fields: Mapping[str, Any], name: str) -> bytes | None:
    """Return an absolute path: its bytes where they are given, else its text."""
    raw = _optional(fields, f"{name}_bytes", bytes)
    if raw is None:
        text = _optional(fields, name, str)
        if text is None:
            return None
        try:
            raw = text.encode()
        except UnicodeEncodeError as error:
            raise FieldError(f"{name} is not valid Unicode") from error
    if not raw.startswith(b"/") or b"\0" in raw:
        raise FieldError(f"{name} {raw!r} is not an absolute path")
    return raw.rstrip(b"/") or b"/"


def _digest(fields: Mapping[str, Any], text: str | None) -> str | None:
    digest = _optional(fields, "digest", str)
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise FieldError(f"the digest {digest[:70]!r} is not a SHA-256 in hex")
    if text is None:
        return digest
    own = text_digest(text)
    if digest not in (None, own):
        raise FieldError(f"the digest is not that of the text {text[:40]!r}")
    return own


def _photo(fields: Mapping[str, Any]) -> Photo | None:
    """Return the facts of a picture; None without its size and fingerprint."""
    width, height = _number(fields, "width"), _number(fields, "height")
    fingerprint = _optional(fields, "fingerprint", int)
    if width is None or height is None or fingerprint is None:
        return None
    if width < 1 or height < 1 or not 0 <= fingerprint < 2 * _WHOLE:
        raise FieldError(f"{width} x {height} pixels, fingerprint {fingerprint}: out of range")
    camera = _optional(fields, "camera", str)
    if camera is not None:
        _unicode(camera, "the camera")
    place = _degrees(fields, "latitude", 90), _degrees(fields, "longitude", 180)
    taken = _number(fields, "taken")
    if taken is not None and not _EARLIEST <= taken <= _LATEST:
        raise FieldError(f"taken {taken} is in no calendar")
    return Photo(width, height, taken, camera, *place, fingerprint)


def _degrees(fields: Mapping[str, Any], name: str, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or not abs(value) <= most:
        raise FieldError(f"a {name} of {value!r} is out of range")
    return float(value)


def _label(value: object) -> Label:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        raise FieldError(f"{value!r} is no label")
    name, score = _optional(value, "name", str), value.get("score")
    source = value.get("source", LabelSource.USER.value)
    if not name or name != name.strip() or len(name.splitlines()) != 1:
        raise FieldError(f"the label {name!r} is not one line of text")
    if source not in [one.value for one in LabelSource]:
        raise FieldError(f"the source {source!r} of a label is neither user nor auto")
    if score is not None and not (isinstance(score, int | float) and math.isfinite(score)):
        raise FieldError(f"the score {score!r} of the label {name!r} is no number")
    return Label(
        _unicode(name, "the label"), LabelSource(source), None if score is None else float(score)
    )


def _captions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    found = _optional(fields, "captions", list) or ()
    for text in found:
        if not isinstance(text, str) or not text.strip():
            raise FieldError(f"{text!r} is no caption")
        _unicode(text, "the caption")
    return tuple(found)


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    value = _optional(fields, name, int)
    if value is not None and not -_WHOLE <= value < _WHOLE:
        raise FieldError(f"{name} {value} is out of range")
    return value


def _optional(fields: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FieldError(f"{name} is {value!r:.80}, not {kind.__name__}")
    return value


def _unicode(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FieldError(f"{what} {text!r} is not valid Unicode") from error
    return text
