"""The model that a library remembers: under which spec its encoder can be loaded again."""

from mmsearch.core import Space
from mmsearch.errors import SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.models import canonical_spec


def remembered_model(catalog: Catalog) -> str:
    """Return the spec of the library's model; of the default one while it has none."""
    with catalog.snapshot():
        space = catalog.space()
        remembered = None if space is None else catalog.setting(_setting(space))
    return remembered or (space.name if space is not None else canonical_spec())


def remember_model(catalog: Catalog, space: Space, model: str | None) -> None:
    """Keep the spec with its space, so that it holds as soon as that space is the library's."""
    if model is not None and catalog.setting(_setting(space)) != model:
        catalog.set_setting(_setting(space), model)


def told_apart(space: Space, current: Space) -> str:
    """Return the name of a space that is not the library's, which may have the same name."""
    return "the one that has this name now" if space.name == current.name else space.name


def searched_space(catalog: Catalog, asked: Space, model: str | None) -> Space | None:
    """Return the library's space, None while it has none or nothing in it.

    Raises SpaceMismatchError when it is not the one that is asked with, `model`'s.
    """
    with catalog.snapshot():
        current = catalog.space()
        if current is None or catalog.counts().items == 0:
            return None
    if current.digest == asked.digest:
        return current
    import shlex

    raise SpaceMismatchError(
        f"the library {catalog.directory} was indexed with the model {current.name}, not with "
        f"{told_apart(asked, current)}; ask it with that model, or encode it anew: "
        f"mmsearch index --reindex --model {shlex.quote(model or asked.name)} "
        f"--library {shlex.quote(str(catalog.directory))}"
    )


def _setting(space: Space) -> str:
    return f"model:{space.digest}"
