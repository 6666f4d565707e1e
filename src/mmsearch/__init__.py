"""Train, index and search a joint space of pictures and sentences.

>>> with mmsearch.open("my-library") as library:
...     library.add("photos")
...     hits = library.search("a dog on grass", k=5)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmsearch.choices import Cutoff, Mode, Negation
    from mmsearch.core import (
        Encoder,
        Hit,
        ImageTerm,
        Item,
        ItemTerm,
        Modality,
        Query,
        Space,
        TextTerm,
    )
    from mmsearch.errors import (
        ConfigError,
        DataError,
        DecodeError,
        InputError,
        LibraryBusyError,
        MissingExtraError,
        MMSearchError,
        ModelError,
        QueryError,
        SpaceMismatchError,
        UnsoundLibraryError,
    )
    from mmsearch.index.where.grammar import parse_condition
    from mmsearch.retrieval.library import Library
    from mmsearch.retrieval.models import load_encoder
    from mmsearch.retrieval.opening import open_library as open  # noqa: A004 - mmsearch.open

__all__ = [
    "ConfigError",
    "Cutoff",
    "DataError",
    "DecodeError",
    "Encoder",
    "Hit",
    "ImageTerm",
    "InputError",
    "Item",
    "ItemTerm",
    "Library",
    "LibraryBusyError",
    "MMSearchError",
    "MissingExtraError",
    "Modality",
    "Mode",
    "ModelError",
    "Negation",
    "Query",
    "QueryError",
    "Space",
    "SpaceMismatchError",
    "TextTerm",
    "UnsoundLibraryError",
    "load_encoder",
    "open",
    "parse_condition",
]

_CORE = {
    "Encoder", "Hit", "ImageTerm", "Item", "ItemTerm", "Modality", "Query", "Space", "TextTerm",
}  # fmt: skip
_FOUND_AS = {
    "Cutoff": ("mmsearch.choices", "Cutoff"),
    "Mode": ("mmsearch.choices", "Mode"),
    "Negation": ("mmsearch.choices", "Negation"),
    "parse_condition": ("mmsearch.index.where.grammar", "parse_condition"),
    "Library": ("mmsearch.retrieval.library", "Library"),
    "load_encoder": ("mmsearch.retrieval.models", "load_encoder"),
    "open": ("mmsearch.retrieval.opening", "open_library"),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import mmsearch` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'mmsearch' has no attribute {name!r}")
    from importlib import import_module

    home = "mmsearch.core" if name in _CORE else "mmsearch.errors"
    module, attribute = _FOUND_AS.get(name, (home, name))
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
