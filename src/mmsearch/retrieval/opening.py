"""Find and open a library: its folder, its catalog, and the model that it was indexed with."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmsearch.errors import ModelError
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import AnyPath, Library
from mmsearch.retrieval.models import canonical_spec, load_encoder
from mmsearch.retrieval.remembered import remembered_model

if TYPE_CHECKING:
    from mmsearch.retrieval.encoder import Use

LIBRARY_VARIABLE: Final = "MMSEARCH_LIBRARY"


def open_library(
    path: AnyPath,
    *,
    model: str | Path | None = None,
    create: bool = True,
    use: "Use | None" = None,
) -> Library:
    """Open the library in a directory; an absent one is made, unless `create` is False.

    With `create`, one of an older version is brought up to date, too. `model` is a model spec:
    a name, a model folder or a training run. None is the model that the library was indexed
    with; for a new one $MMSEARCH_MODEL, else `mini`. `use` is that of
    `load_encoder`. Raises InputError when there is no library, ModelError when the model cannot
    be used, UnsoundLibraryError when the library is damaged.
    """
    directory = Path(os.fsdecode(path))
    if create and not Catalog.exists(directory):
        load_encoder(model)  # a model that cannot be used must leave no library behind
        Catalog.open(directory, write=True).close()
    elif create and Catalog.is_older(directory):
        Catalog.open(directory, write=True).close()  # migrates it
    catalog = Catalog.open(directory)
    try:
        spec = canonical_spec(model) if model is not None else remembered_model(catalog)
        encoder = load_encoder(spec, use)
    except ModelError as error:
        catalog.close()
        raise _with_hint(error, given=model is not None) from error
    except BaseException:
        catalog.close()
        raise
    return Library(catalog, IndexStore(catalog, directory), encoder, model=spec)


def default_directory() -> Path:
    """Return where the library lies when nobody says: $MMSEARCH_LIBRARY, else the user's data."""
    override = os.environ.get(LIBRARY_VARIABLE)
    if override:
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("mmsearch", appauthor=False) / "library"


def _with_hint(error: ModelError, *, given: bool) -> ModelError:
    if given:
        return error
    return ModelError(f"{error} (the library was indexed with this model)")
