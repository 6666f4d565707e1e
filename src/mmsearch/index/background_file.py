"""What chance reaches in a library, kept beside the index files: a cache of a few numbers.

`index/<space>/<modality>/background.json`. A file that is missing, damaged, of another space,
or made with other questions is as if it were not there. Readers write it as well: complete,
under another name, and renamed, so that whoever reads finds a whole one.
"""

import json
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mmsearch.core import Modality, Space
from mmsearch.errors import ConfigError
from mmsearch.index.checksums import row_checksum
from mmsearch.index.generation import file_name

NAME: Final = "background.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Background:
    """How far questions about nothing get in a library: the chance level of a modality.

    `kind` is what the questions were made of; `threshold` the cosine up to which an answer is
    no better than chance; `questions` how many were asked. `rows` and `revision` are the number
    of vectors and the library's revision at that moment; `version` that of the questions.
    """

    kind: Modality
    threshold: float
    questions: int
    rows: int
    revision: int
    version: int

    def __post_init__(self) -> None:
        if not (isinstance(self.threshold, float) and math.isfinite(self.threshold)):
            raise ConfigError(f"a threshold is a finite number, not {self.threshold!r}")
        for name in ("questions", "rows", "revision", "version"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ConfigError(f"{name} is a whole number from 0, not {value!r}")


def read_backgrounds(directory: Path, space: Space, modality: Modality) -> list[Background]:
    """Return what is kept for the answers of a modality; nothing when the file is no good."""
    try:
        return parse_backgrounds(_path(directory, space, modality).read_bytes(), space.digest)
    except (OSError, ConfigError):
        return []


def parse_backgrounds(content: bytes, digest: str | None = None) -> list[Background]:
    """Return what a file says. Raises ConfigError when it is damaged or of another space."""
    try:
        kept = json.loads(content)
        body = kept["backgrounds"]
        if kept["format"] != _FORMAT or kept["crc"] != _checksum(kept["space"], body):
            raise ConfigError("it does not match its checksum")
        if digest is not None and kept["space"] != digest:
            raise ConfigError("it belongs to another space")
        return [Background(**{**row, "kind": Modality(row["kind"])}) for row in body]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"it is not what was written: {error}") from error


def write_backgrounds(
    directory: Path, space: Space, modality: Modality, backgrounds: Sequence[Background]
) -> None:
    """Replace what is kept for the answers of a modality. Raises OSError."""
    path = _path(directory, space, modality)
    body = [{**asdict(background), "kind": background.kind.value} for background in backgrounds]
    kept = {
        "format": _FORMAT,
        "space": space.digest,
        "backgrounds": body,
        "crc": _checksum(space.digest, body),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _path(directory: Path, space: Space, modality: Modality) -> Path:
    return directory / Path(file_name(space, modality, 0)).with_name(NAME)


def _checksum(digest: Any, body: Any) -> int:
    return row_checksum([digest, body])
