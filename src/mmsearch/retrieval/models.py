"""Which models this machine has, and which one a spec means."""

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmsearch.core import Encoder
from mmsearch.errors import ModelError
from mmsearch.retrieval.folder import MODEL_FILE, read_model_folder
from mmsearch.retrieval.specs import DEFAULT_FILE, is_source, parse_spec

if TYPE_CHECKING:
    from mmsearch.retrieval.encoder import Use

DEFAULT_MODEL: Final = "mini"
MODEL_VARIABLE: Final = "MMSEARCH_MODEL"
BUNDLED: Final = Path(__file__).parents[1] / "models"
RUN_MODEL: Final = "model"
SPEC: Final = "spec"
"""Under `source` in the model.json of an added model: what it was added from."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model that has a name on this machine. `bundled`: it came with mmsearch."""

    name: str
    path: Path
    bundled: bool


def resolve_model(spec: str | Path | None = None) -> Path:
    """Return the model folder that `spec` means.

    None is $MMSEARCH_MODEL, else the default of this machine, else `mini`. A string is the name
    of an installed model, the source that one was added from, a model folder, or a training run
    (its `model` folder); a Path is one of the latter two.
    Raises ModelError, listing the models there are, when it is none of these.
    """
    wanted = spec or os.environ.get(MODEL_VARIABLE) or default_model() or DEFAULT_MODEL
    if isinstance(wanted, str):
        named = _named(wanted)
        if named is not None:
            return named
    folder = Path(wanted).expanduser()
    for candidate in (folder, folder / RUN_MODEL):
        try:
            if (candidate / MODEL_FILE).is_file():
                return candidate
        except OSError as error:
            raise ModelError(
                f"cannot look into the model folder {candidate}: {error.strerror}; check its "
                "permissions, or give --model MODEL"
            ) from error
    raise ModelError(_not_found(str(wanted), folder))


def canonical_spec(spec: str | Path | None = None) -> str:
    """Return a spec of the same model that holds in every working directory.

    An installed model's name, else the absolute path of the model folder. Raises ModelError.
    """
    path = resolve_model(spec)
    for model in installed_models():
        if model.path == path:
            return model.name
    return str(path.resolve())


def load_encoder(
    spec: str | Path | None = None,
    use: "Use | None" = None,
) -> Encoder:
    """Return the encoder of a model spec; its networks load when they are first used.

    Raises ModelError when the spec names no model or its folder is damaged.
    """
    from mmsearch.retrieval.encoder import DEFAULT_USE, OnnxEncoder

    return OnnxEncoder(read_model_folder(resolve_model(spec)), use or DEFAULT_USE)


def installed_models() -> list[InstalledModel]:
    """Return the models that have a name, bundled ones first."""
    models: dict[str, InstalledModel] = {}
    for model in _installed():
        models.setdefault(model.name, model)
    return list(models.values())


def default_model() -> str | None:
    """Return the name that was chosen as the default on this machine; None: none was."""
    try:
        return (models_directory() / DEFAULT_FILE).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def models_directory() -> Path:
    """Return where models that were added by name lie; it need not exist."""
    from platformdirs import user_data_path

    return user_data_path("mmsearch", appauthor=False) / "models"


def _installed() -> Iterator[InstalledModel]:
    """Yield bundled models, then those added; the user's folder is asked for only if needed."""
    yield from _models_in(BUNDLED, bundled=True)
    yield from _models_in(models_directory(), bundled=False)


def _models_in(directory: Path, *, bundled: bool) -> Iterator[InstalledModel]:
    for file in sorted(directory.glob(f"[!.]*/{MODEL_FILE}")):  # hidden: being made or removed
        yield InstalledModel(name=file.parent.name, path=file.parent, bundled=bundled)


def _named(wanted: str) -> Path | None:
    """Return the installed model of a name, or the one that was added from a source."""
    if is_source(wanted):
        source = str(parse_spec(wanted))
        return next((m.path for m in _installed() if _added_from(m.path) == source), None)
    if "/" in wanted:
        return None
    return next((model.path for model in _installed() if model.name == wanted), None)


def _added_from(path: Path) -> str | None:
    try:
        source = json.loads((path / MODEL_FILE).read_text(encoding="utf-8"))["source"]
        return str(source[SPEC])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damage is reported where that model is used


def _not_found(wanted: str, folder: Path) -> str:
    names = [model.name for model in installed_models()]
    known = f"models here: {', '.join(names)}" if names else "no model is installed"
    choose = f"{known}; give --model NAME, a model folder or a training run"
    if wanted == DEFAULT_MODEL:
        return f"the bundled model {wanted!r} is not part of this installation; {choose}"
    if is_source(wanted):
        return f"{wanted} is not added yet; run: mmsearch models add {shlex.quote(wanted)}"
    if wanted == default_model():
        return (
            f"the default model {wanted!r} is not installed any more; choose another: "
            f"mmsearch models default NAME ({known})"
        )
    if (folder / "config.json").is_file():
        return f"the training run {folder} holds no exported model yet; let it finish, or {choose}"
    if folder.exists():
        return f"{folder} is neither a model folder nor a training run; {choose}"
    return f"there is no model {wanted!r}; {choose}"
