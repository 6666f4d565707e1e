"""What a run writes as it goes: metrics.jsonl, TensorBoard events, versions."""

import json
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mmsearch.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PACKAGES: Final = (
    "mmsearch",
    "torch",
    "timm",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "numpy",
    "pillow",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make a run what it is."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def append_metrics(file: Path, record: Mapping[str, Any]) -> None:
    """Add one line of JSON; the rest of a line that a killed process left is cut off first.

    Raises ValueError for a number that is not finite, InputError when the disk refuses.
    """
    line = json.dumps(dict(record), ensure_ascii=False, allow_nan=False) + "\n"
    try:
        _cut_partial_line(file)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Return the records of a run in order; none when there is no file.

    A last line without its end is what a killed process leaves, and is passed over.
    Raises InputError naming file and line when another is not a JSON object.
    """
    try:
        text = file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    whole, _, _ = text.rpartition("\n")
    records = []
    for number, line in enumerate(whole.split("\n") if whole else [], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{file}:{number} is not JSON; remove the line") from error
        if not isinstance(record, dict):
            raise InputError(f"{file}:{number} is not a JSON object; remove the line")
        records.append(record)
    return records


class RunLog:
    """TensorBoard events of a run: every number of each epoch's record.

    A continued run hides what an interrupted one wrote of the epochs trained again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one epoch's record; `epoch` is its step.

        Raises MissingExtraError when TensorBoard is not installed.
        """
        epoch = int(record["epoch"])
        if self._writer is None:
            self._writer = _writer(self._folder, epoch)
        for name, value in _numbers(record):
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


def _writer(folder: Path, epoch: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    return SummaryWriter(str(folder), purge_step=epoch)


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key, float(value)


def _cut_partial_line(file: Path) -> None:
    if not file.exists():
        return
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with file.open("r+b") as stream:
            stream.truncate(whole)
