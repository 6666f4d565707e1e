"""`mmsearch check` and `mmsearch repair`: whether the library is sound, and making it so."""

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.results import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmsearch.index.findings import Finding

_UNSOUND: Final = 3


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(name="check")(check)
    app.command(name="repair")(repair)


def check(
    library: LibraryOption = None,
    as_json: JsonOption = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare structure and sizes, not every checksum.")
    ] = False,
) -> None:
    """Verify everything in the library: catalog, vectors, index files, model.

    Prints one finding a line: error or notice, a tab, what, a tab, what to do. The exit code is
    3 when there is an error. Indexing may go on meanwhile.
    """
    from mmsearch.retrieval.soundness import check as findings_of

    found = findings_of(library_directory(library), quick=quick)
    findings = list(found) if as_json else []
    if as_json:
        typer.echo(json.dumps(_as_dict(findings), indent=2))
    else:
        for finding in found:
            _print(finding)
            findings.append(finding)
        if not any(finding.is_error for finding in findings):
            typer.echo("sound")
    _exit(findings)


def repair(
    library: LibraryOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
) -> None:
    """Make the library sound again, as far as it goes.

    What is derived is made anew. Damaged files are set aside, never deleted: index files as
    .damaged, the catalog in the folder quarantine. Lost items are listed; the next index
    encodes them again. The exit code is 3 when the library is still unsound.
    """
    from mmsearch.retrieval.soundness import repair as mended

    result = mended(library_directory(library), dry_run=dry_run)
    if as_json:
        lost = [{"id": number, "path": path} for number, path in sorted(result.lost.items())]
        record = {"done": result.done, "lost": lost, **_as_dict(result.findings)}
        typer.echo(json.dumps(record, indent=2))
    else:
        for line in result.done:
            typer.echo(one_line(line).encode("utf-8", "surrogateescape"))
        for number, name in sorted(result.lost.items()):
            text = one_line(f"lost item {number} {name}".rstrip())
            typer.echo(text.encode("utf-8", "surrogateescape"))
        for finding in result.findings:
            _print(finding)
        if not result.done:
            typer.echo("nothing to repair" if result.sound else "nothing could be repaired")
        elif result.lost:
            typer.echo("run mmsearch index to encode what was lost again")
    if not dry_run:
        _exit(result.findings)


def _print(finding: "Finding") -> None:
    columns = [finding.level.value, finding.what, finding.advice]
    line = "\t".join(one_line(column) for column in columns if column)
    typer.echo(line.encode("utf-8", "surrogateescape"))


def _as_dict(findings: "Iterable[Finding]") -> dict[str, object]:
    found = list(findings)
    return {
        "sound": not any(finding.is_error for finding in found),
        "findings": [{"level": f.level.value, "what": f.what, "advice": f.advice} for f in found],
    }


def _exit(findings: "Iterable[Finding]") -> None:
    if any(finding.is_error for finding in findings):
        raise typer.Exit(_UNSOUND)
