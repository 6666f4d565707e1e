"""`mmsearch index`: bring a library up to date with the disk."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.border import say
from mmsearch.commands.options import JsonOption, LibraryOption, ModelOption, library_directory
from mmsearch.commands.results import one_line
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.retrieval.encoder import Use
    from mmsearch.retrieval.library import Library, OnProgress
    from mmsearch.retrieval.report import IngestOptions, IngestReport

_SHOWN = 10
_INTERRUPTED = 130
_MOST_LANES = 4  # each has the network's intermediate results in memory
_BYTES = ("utf-8", "surrogateescape")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="index")(index)


def index(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            readable=False,  # what cannot be read is a row of the report
            help="Folders and pictures; without any, everything indexed before is looked at again.",
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--texts",
            metavar="FILE",
            help="Sentences to index: a line each, or CSV or JSONL with a column caption or text.",
            show_default=False,
        ),
    ] = None,
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            "--captions",
            metavar="FILE",
            help="Captions to attach to the library's pictures: a file or folder as `train` reads "
            "it (CSV, JSONL, Karpathy, Flickr); repeatable. It is read again when it changes.",
            show_default=False,
        ),
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option(
            "--fuse",
            metavar="caption=W",
            help="Search captioned pictures by one vector of both, with weight W of the captions "
            "(0 to 1); `none` undoes it. Kept for later runs.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Leave out files and folders with such a name, or path below PATH; repeatable.",
            show_default=False,
        ),
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Look into names that begin with a dot.")
    ] = False,
    reindex: Annotated[
        bool,
        typer.Option(
            "--reindex", help="Encode the whole library with --model when it has another's vectors."
        ),
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files that failed although unchanged.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", hidden=True)] = False,
    watching: Annotated[
        bool,
        typer.Option(
            "--watch", help="Afterwards keep the library up to date until Ctrl-C (extra: watch)."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Processes that decode pictures. [default: one a core]",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Pictures encoded at once. [default: what is fastest here, measured once]",
            show_default=False,
        ),
    ] = None,
    commit_seconds: Annotated[
        float, typer.Option("--commit-seconds", metavar="X", hidden=True)  # for the fault matrix
    ] = 2.0,
    library: LibraryOption = None,
    as_json: JsonOption = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No progress and no summary; warnings stay.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Say where the time went; with --json, as `seconds`."),
    ] = False,
) -> None:
    """Index pictures and sentences: only what is new or changed is encoded.

    A file that cannot be read is noted with its reason and does not stop the run. Files that
    were moved keep their vectors; those of a folder that is not there now are kept as offline.
    Ctrl-C keeps what was finished, and the same command goes on from there. What a file
    .mmsearchignore names, with the rules of .gitignore, is left out.
    """
    from mmsearch.commands.indexing_view import progress
    from mmsearch.retrieval.fusing import parse_fuse
    from mmsearch.retrieval.opening import open_library
    from mmsearch.retrieval.report import IngestOptions

    options = IngestOptions(
        exclude=tuple(exclude or ()),
        hidden=hidden,
        reindex=reindex,
        retry_failed=retry or retry_failed,
        workers=workers,
        batch_size=batch_size,
        commit_seconds=commit_seconds,
        model=model,
        captions=tuple(captions or ()),
        fuse=None if fuse is None else parse_fuse(fuse),
    )
    if watching:
        from mmsearch.retrieval.watch import check_installed

        check_installed()
    directory = library_directory(library)
    _check_given(directory, [*(paths or []), *(texts or [])], options.captions)
    with open_library(directory, model=model, use=_use(batch_size)) as opened:
        if not (paths or texts or opened.catalog.roots() or opened.catalog.counts().items):
            raise InputError("nothing was indexed yet; say what: mmsearch index PATH")
        with progress(sys.stderr, quiet=quiet or as_json) as on_progress:
            report = _run(opened, paths or [], texts or [], options, on_progress)
        _warn(opened, report)
        if as_json:
            counts: dict[str, object] = {**report.as_dict()}
            if verbose:
                counts["seconds"] = report.timing.as_dict()
            typer.echo(json.dumps(counts, indent=None if watching else 2))
        elif not quiet:
            _summarise(opened, report, verbose=verbose)
        if watching and not report.interrupted:
            _watch(opened, [*(paths or []), *(texts or [])], options, (as_json, quiet))
            return
    if report.interrupted:
        typer.echo("mmsearch: the same command goes on from here", err=True)
        raise typer.Exit(_INTERRUPTED)


def _use(batch_size: int | None) -> "Use":
    """Return how the encoder is used: batches side by side, one for each of a few processors.

    They lose less time than one batch that all processors share, part by part of the network.
    """
    from mmsearch.retrieval.encoder import DEFAULT_USE, Use
    from mmsearch.retrieval.processors import available_processors

    return Use(
        batch_size=batch_size or DEFAULT_USE.batch_size,
        lanes=min(available_processors(), _MOST_LANES),
        verified=True,
        say=say,
    )


def _summarise(library: "Library", report: "IngestReport", *, verbose: bool) -> None:
    from mmsearch.commands.indexing_view import LONG_SECONDS, summary, time_spent

    for line in summary(report, library.catalog.counts()):
        typer.echo(line)
    if verbose or report.timing.total >= LONG_SECONDS:
        typer.echo(time_spent(report), err=True)


def _check_given(directory: Path, wanted: Sequence[Path], captions: Sequence[Path]) -> None:
    """Refuse a path that was never there before a library is made for it."""
    from mmsearch.index.catalog import Catalog

    if Catalog.exists(directory):
        return
    if not wanted:
        raise InputError(
            f"there is no library at {directory}; say what to index: mmsearch index PATH"
        )
    for path in [*wanted, *captions]:
        if not os.path.lexists(path):
            raise InputError(f"{one_line(str(path))} does not exist")


def _run(
    library: "Library",
    paths: list[Path],
    texts: list[Path],
    options: "IngestOptions",
    on_progress: "OnProgress",
) -> "IngestReport":
    """Index the sentences first, which takes moments, then the pictures with their captions."""
    from mmsearch.retrieval.report import IngestReport

    if not paths and not texts and not options.captions:
        return library.refresh(options, on_progress)
    report = IngestReport()
    for file in texts:
        if not report.interrupted:
            report.merge(library.add_texts(file, options))
    if (paths or options.reindex) and not report.interrupted:
        report.merge(library.add(paths, options, on_progress))
    elif (options.captions or options.fuse is not None) and not report.interrupted:
        report.merge(library.attach_captions(options.captions, options, on_progress))
    return report


def _watch(
    library: "Library", places: list[Path], options: "IngestOptions", shown: tuple[bool, bool]
) -> None:
    """Update the library until Ctrl-C; a line an update. `shown`: as JSON, quiet."""
    from dataclasses import replace

    from mmsearch.commands.indexing_view import update_line
    from mmsearch.retrieval.watch import watch

    as_json, quiet = shown

    def warn(line: str) -> None:
        typer.echo(f"mmsearch: warning: {one_line(line)}".encode(*_BYTES), err=True)

    if not quiet:
        typer.echo("mmsearch: watching; Ctrl-C ends", err=True)
    options = replace(options, reindex=False, retry_failed=False)
    for report in watch(library, places, options, warn):
        _warn(library, report)
        library.warnings.clear()
        if as_json:
            typer.echo(json.dumps(report.as_dict()))
            sys.stdout.flush()
        elif not quiet:
            typer.echo(update_line(report), err=True)
        if report.interrupted:
            raise KeyboardInterrupt


def _warn(library: "Library", report: "IngestReport") -> None:
    """Say what was left out, the first of each kind, and what should be mended."""
    from mmsearch.commands.indexing_view import failure_line, offline_line

    lines = [failure_line(failure) for failure in report.failures[:_SHOWN]]
    if len(report.failures) > _SHOWN:
        lines.append(f"{len(report.failures) - _SHOWN} more; `mmsearch failures` lists all")
    lines += [f"left out: {problem}" for problem in report.problems[:_SHOWN]]
    if len(report.problems) > _SHOWN:
        lines.append(f"left out: {len(report.problems) - _SHOWN} more lines")
    lines += map(offline_line, report.offline_roots)
    for line in [*lines, *library.warnings]:
        typer.echo(f"mmsearch: warning: {one_line(line)}".encode(*_BYTES), err=True)
