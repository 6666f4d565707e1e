"""The error tree. Every message says what happened, to what, and what to do next.

MMSearchError
├── InputError              something the caller gave is wrong (exit code 2)
│   ├── DecodeError         a file that cannot be read as a picture
│   ├── DataError           caption data: nothing usable, unknown layout
│   ├── ModelError          a model folder or model spec that cannot be used
│   ├── ConfigError         a setting that is unknown or out of range
│   ├── QueryError          a question or a condition that cannot be understood
│   ├── SpaceMismatchError  vectors of another joint space
│   └── MissingExtraError   an optional dependency is not installed
├── LibraryBusyError        another process is writing (exit code 2)
└── UnsoundLibraryError     the library is damaged or from a newer version (exit code 3)
"""


class MMSearchError(Exception):
    """Base of every error that mmsearch raises on purpose."""


class InputError(MMSearchError):
    """Something that the caller gave is wrong."""


class DecodeError(InputError):
    """A file cannot be read as a picture.

    `reason` says why in a few words and does not name the file; the message does both.
    """

    def __init__(self, reason: str, name: str | None = None) -> None:
        super().__init__(f"cannot read {name or 'the picture'}: {reason}")
        self.reason = reason


class DataError(InputError):
    """Caption data holds nothing usable, or its layout is unknown."""


class ModelError(InputError):
    """A model folder or model spec cannot be used."""


class ConfigError(InputError):
    """A setting is unknown or out of range."""


class QueryError(InputError):
    """A question or a condition cannot be understood; the message says where and what may stand."""


class SpaceMismatchError(InputError):
    """Vectors or a model of another joint space than the library's."""


class MissingExtraError(InputError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'mmsearch[{extra}]'")


class LibraryBusyError(MMSearchError):
    """Another process is writing to the library."""


class UnsoundLibraryError(MMSearchError):
    """The library is damaged, or was written by a newer version."""
