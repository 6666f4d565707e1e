"""Text lines of files that may hold anything."""

from collections.abc import Iterator
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.retrieval.files import open_regular

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, line with its end); a byte order mark is dropped.

    Bytes that are not UTF-8 become surrogates, for the caller to report with their line
    (`is_text`). Raises DataError when the file cannot be read or is UTF-16.
    """
    try:
        with open_regular(file) as raw:  # a FIFO would be waited for
            if raw.read(2) in _UTF16:
                raise DataError(f"{file} is UTF-16; save it as UTF-8")
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error


def is_text(value: str) -> bool:
    """Tell whether a string holds only valid Unicode (no lone surrogates)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
