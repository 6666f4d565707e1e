"""Add a model: any source becomes a model folder that has a name on this machine.

The folder is made beside its place and gets its name when it is finished and checked. What was
fetched waits in the user's cache until then, so that nothing is fetched twice.
"""

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval import models
from mmsearch.retrieval.building import QUANTISER, Builder, Origin, require_packages
from mmsearch.retrieval.description import ModelFolder
from mmsearch.retrieval.download import UnreachableError
from mmsearch.retrieval.fetching import QUIET, Downloads, Watch
from mmsearch.retrieval.folder import read_model_folder, write_model_folder
from mmsearch.retrieval.hub import cached_snapshot
from mmsearch.retrieval.managing import ADDING, changing_models, put_in_place, set_default_model
from mmsearch.retrieval.models import SPEC
from mmsearch.retrieval.specs import (
    HubRepository,
    OpenClipTag,
    Spec,
    check_name,
    default_name,
    parse_spec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """What is wanted of a new model.

    `name` None is derived from the source. `int8`: try 8-bit networks, and keep those that pass
    their check; `calibrate` is a folder of pictures for that. `default`: use the model when
    nobody says which. `replace` a model that has the name already.
    """

    name: str | None = None
    int8: bool = False
    calibrate: Path | None = None
    default: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        if self.calibrate is not None and not self.int8:
            raise ConfigError("--calibrate is of use with --int8 only")
        if self.calibrate is not None and not self.calibrate.is_dir():
            raise ConfigError(f"--calibrate {self.calibrate} is no folder of pictures")


def add_model(text: str, options: AddOptions, watch: Watch = QUIET) -> ModelFolder:
    """Add the model of a source; return its folder.

    Raises ModelError: the source is unknown, unreachable, damaged or not supported, its folder
    does not give its vectors, or the name is taken; MissingExtraError when the source needs
    packages that are not installed; LibraryBusyError when another process changes the models.
    """
    spec = parse_spec(text)
    name = default_name(spec) if options.name is None else check_name(options.name)
    _check_free(name, options)
    if options.int8:
        require_packages(QUANTISER)
    if options.calibrate is not None:
        from mmsearch.retrieval.int8_samples import require_pictures

        require_pictures(options.calibrate)
    with changing_models() as directory:
        folder = _make(spec, directory / name, options, watch)
    if options.default:
        set_default_model(name)
    return folder


def _make(spec: Spec, place: Path, options: AddOptions, watch: Watch) -> ModelFolder:
    partial = place.with_name(f".{place.name}{ADDING}")
    downloads = Downloads(_downloads(spec), watch)
    try:
        partial.mkdir()
        origin = Builder(partial, place.name, downloads).build(spec)
        _finish(partial, origin, spec, options, watch)
        put_in_place(partial, place)
        downloads.clear()
    except UnreachableError as error:
        raise ModelError(f"{error}; {_local_way(spec)}") from error
    except OSError as error:
        raise ModelError(
            f"cannot write the model {place.name} to {place.parent}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_model_folder(place)


def _finish(path: Path, origin: Origin, spec: Spec, options: AddOptions, watch: Watch) -> None:
    """Simplify the networks, try 8-bit ones when asked to, and record where the model is from."""
    from mmsearch.retrieval.convert.card import render_added_card
    from mmsearch.retrieval.optimise import optimise_folder

    if options.int8:
        _quantise(path, options.calibrate, watch)
    watch.say("simplifying its networks")
    optimise_folder(path)
    model = read_model_folder(path)
    revision = {"revision": origin.commit} if origin.commit else {}
    metrics: dict[str, object] = dict(model.metrics)
    if origin.agreement:
        metrics["agreement"] = dict(origin.agreement)
    written = write_model_folder(
        path,
        replace(
            model,
            source={**model.source, SPEC: str(spec), **revision},
            licence=model.licence or origin.licence,
            metrics=metrics,
        ),
    )
    if not (path / "README.md").exists():
        card = render_added_card(written, origin.agreement)
        (path / "README.md").write_text(card, encoding="utf-8")


def _quantise(path: Path, calibrate: Path | None, watch: Watch) -> None:
    """Try 8-bit networks on the user's pictures, or on drawn ones; keep those that pass."""
    from mmsearch.retrieval.convert.quantise import quantise_folder
    from mmsearch.retrieval.int8_samples import Int8Samples, read_int8_samples

    watch.say("trying 8-bit networks")
    preprocessing = read_model_folder(path).preprocessing
    samples = Int8Samples([])
    if calibrate is not None and preprocessing is not None:
        samples = read_int8_samples(calibrate, preprocessing)
    quantise_folder(path, samples.pictures, samples.sentences, samples.labelled, watch.say)


def _check_free(name: str, options: AddOptions) -> None:
    """Raise ModelError when a name is taken and not to be replaced."""
    taken = next((m for m in models.installed_models() if m.name == name), None)
    if taken is not None and taken.bundled:
        raise ModelError(f"{name} is the name of a model that came with mmsearch; give --name NAME")
    if taken is not None and not options.replace:
        raise ModelError(
            f"there is a model {name} already; give --name NAME, or --replace to replace it"
        )


def _local_way(spec: Spec) -> str:
    """Say how a model is added on a machine without a network."""
    match spec:
        case HubRepository() if (cached := cached_snapshot(spec)) is not None:
            return f"a copy is in the hub's cache: mmsearch models add {cached}"
        case HubRepository():
            return (
                "where there is a network, fetch the repository's files into a folder, and give "
                "that: mmsearch models add FOLDER"
            )
        case OpenClipTag():
            return (
                "with its weights on this machine, give them: "
                f"mmsearch models add open_clip:{spec.architecture}//FILE.safetensors"
            )
    return "give a folder on this machine"


def _downloads(spec: Spec) -> Path:
    """Return where the files of a source wait until its model is added."""
    from platformdirs import user_cache_path

    name = re.sub(r"[^\w.+-]+", "--", str(spec))
    return user_cache_path("mmsearch", appauthor=False) / "downloads" / name
