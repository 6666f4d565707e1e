"""`mmsearch train`: learn a joint space from captioned images.

The flags of the settings are made from the fields of `TrainConfig`, so that name, type, help
and default are written once.
"""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from mmsearch.errors import ConfigError, InputError, MissingExtraError
from mmsearch.retrieval.captions.data import DataFormat
from mmsearch.retrieval.vse.config import (
    PRESETS,
    TrainConfig,
    preset,
    read_config_file,
    with_settings,
)

_APART = {"preset", "val_fraction", "seed", "epochs", "batch_size", "lr"}
_CLIP_OF_SUM = "grad_clip_of_sum"
_PANEL = "Settings (each preset has its own defaults)"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="train")(_with_settings(train))


def train(
    data: Annotated[
        Path | None,
        typer.Argument(help="Captioned images: a folder, or a CSV, JSONL, JSON or token file."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder to create.", show_default=False),
    ] = None,
    preset_name: Annotated[
        str | None,
        typer.Option("--preset", help=f"Recipe: {', '.join(PRESETS)} (default: default)."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue this run folder.", show_default=False)
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", help="Start from the best weights of this run (second stage)."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML or JSON file of settings.")
    ] = None,
    layout: Annotated[
        DataFormat | None, typer.Option("--format", help="Layout of DATA; detected if not given.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder to look the pictures up in.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where features are kept between runs.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the best epoch's figures as JSON.")
    ] = False,
    **settings: Any,
) -> None:
    """Learn a joint space of pictures and sentences from captions.

    Writes a run folder with checkpoints, metrics, curves, a model card and, in its `model`
    folder, the exported model that `index`, `query` and `evaluate` use. Ctrl-C saves; --resume
    continues as if the run had not stopped.
    """
    given, data, output = _settings(settings, data, output)
    if resume is not None:
        others = {"preset": preset_name, "init": init, "config": config, "format": layout}
        others |= {"output": output, "images": images, "cache": cache}
        _refuse_with_resume(data, {**given, **others})
        _resume(resume, as_json=as_json)
        return
    if data is None:
        raise InputError("give the captioned images to train on: mmsearch train DATA --output RUN")
    if output is None:
        raise InputError("give a run folder to create: --output RUN")
    from_file = read_config_file(config) if config else {}
    recipe = preset_name or from_file.get("preset", "default")
    from_file.pop("preset", None)
    chosen = with_settings(preset(recipe, **from_file), _clip_of_mean(given, from_file))
    _start(
        {
            "data": data,
            "output": output,
            "config": chosen,
            "cache": cache or _default_cache(),
            "layout": layout,
            "images": images,
            "init": init,
        },
        as_json=as_json,
    )


def _start(job: dict[str, Any], *, as_json: bool) -> None:
    start = load_training()
    with _view() as view:
        result = start.start(start.TrainJob(**job), view)
    _report(result, as_json=as_json)


def _resume(run: Path, *, as_json: bool) -> None:
    training = load_training()
    with _view() as view:
        result = training.resume(run, view)
    _report(result, as_json=as_json)


def load_training() -> Any:
    """Import the training module, and torch with it. Raises MissingExtraError without the extra."""
    from mmsearch.retrieval.vse.threads import wait_passively

    wait_passively()
    try:
        from mmsearch.retrieval.vse import train as training
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("mmsearch"):
            raise
        raise MissingExtraError(str(error.name), "train") from error
    return training


def _view() -> Any:
    from mmsearch.commands.training_view import TrainingView

    return TrainingView(sys.stderr)


def _report(result: Any, *, as_json: bool) -> None:
    import json

    from mmsearch.commands.training_view import best_lines

    if as_json:
        typer.echo(json.dumps(dict(result.best)))
        return
    for line in best_lines(result):
        typer.echo(line)


def _default_cache() -> Path:
    import platformdirs

    override = os.environ.get("MMSEARCH_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("mmsearch"))


def _refuse_with_resume(data: Path | None, flags: Mapping[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value is not None]
    extra = [*(["DATA"] if data else []), *given]
    if extra:
        raise ConfigError(
            f"a resumed run keeps its settings; leave out {extra[0]}, or start anew with --init"
        )


# -- flags ---------------------------------------------------------------------------------------


def _only(name: str, value: object, known: object) -> dict[str, Any]:
    """Refuse a choice of the reference's that would make another model than was asked for."""
    if value != known:
        shown = f"--{name}" if value is True else f"--{name} {value}"
        raise ConfigError(f"{shown} is not supported; leave it out")
    return {}


_ALIASES: dict[str, tuple[Any, Callable[[Any], dict[str, Any]]]] = {
    "num_epochs": (int, lambda v: {"epochs": v}),
    "batch_size": (int, lambda v: {"batch_size": v}),
    "word_dim": (int, lambda v: {"word_dim": v}),
    "embed_size": (int, lambda v: {"embed_dim": v, "hidden_dim": v}),
    "learning_rate": (float, lambda v: {"lr": v}),
    "lr_update": (int, lambda v: {"lr_step": v}),
    "crop_size": (int, lambda v: {"image_size": v}),
    "cnn_type": (str, lambda v: {"image_encoder": f"timm:{v}"}),
    "max_violation": (bool, lambda v: {"mining": "hardest"} if v else {}),
    "grad_clip": (float, lambda v: {_CLIP_OF_SUM: v}),
    "data_path": (Path, lambda v: {"data": v}),
    "data_name": (str, lambda v: {"data_name": v}),
    "logger_name": (Path, lambda v: {"output": v}),
    "workers": (int, lambda _: {}),
    "log_step": (int, lambda _: {}),
    "val_step": (int, lambda _: {}),
    # what is so here in any case: the vocabulary comes from train, whose part restval is
    "vocab_path": (Path, lambda _: {}),
    "img_dim": (int, lambda _: {}),
    "reset_train": (bool, lambda _: {}),
    "use_restval": (bool, lambda _: {}),
    "num_layers": (int, lambda v: _only("num_layers", v, 1)),
    "measure": (str, lambda v: _only("measure", v, "cosine")),
    "use_abs": (bool, lambda v: _only("use_abs", v, False)),
    "no_imgnorm": (bool, lambda v: _only("no_imgnorm", v, False)),
}
"""The spellings of the reference implementation (fartashf/vsepp), hidden from --help."""


def _clip_of_mean(given: Mapping[str, Any], from_file: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the reference's clip, of the gradient of a sum, into that of a mean over the batch."""
    rest = {name: value for name, value in given.items() if name != _CLIP_OF_SUM}
    if _CLIP_OF_SUM in given:
        batch = with_settings(TrainConfig(), {**from_file, **rest}).batch_size
        rest["grad_clip"] = given[_CLIP_OF_SUM] / batch
    return rest


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one flag a setting, and the reference's spellings."""

    def run(**values: Any) -> None:
        command(**values)

    own = inspect.signature(command)
    kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = get_type_hints(TrainConfig)
    made = [_flag(one, hints[one.name]) for one in fields(TrainConfig) if one.name != "preset"]
    made += [_alias(name, kind) for name, (kind, _) in _ALIASES.items()]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept] + made
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _flag(one: Field[Any], kind: Any) -> inspect.Parameter:
    option = typer.Option(
        help=f"{one.metadata['help']} (default {_shown(one.default)})",
        show_default=False,
        rich_help_panel=_PANEL if one.name not in _APART else None,
    )
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _alias(name: str, kind: Any) -> inspect.Parameter:
    declared = f"--{name}"
    option = typer.Option(declared, hidden=True)
    return inspect.Parameter(
        f"alias_{name}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, StrEnum):
        return value.value
    return str(value) or "none"


def _settings(
    values: Mapping[str, Any], data: Path | None, output: Path | None
) -> tuple[dict[str, Any], Path | None, Path | None]:
    """Return what was asked for: settings by name, data and output, aliases resolved."""
    given = {
        name: value
        for name, value in values.items()
        if value is not None and not name.startswith("alias_")
    }
    for name, (_, translate) in _ALIASES.items():
        value = values.get(f"alias_{name}")
        if value is not None:
            given.update(translate(value))
    data, output = given.pop("data", data), given.pop("output", output)
    name = given.pop("data_name", None)
    if data is not None and name is not None and (data / name).exists():
        data /= name  # the reference keeps its precomputed sets in folders of that name
    return given, data, output
