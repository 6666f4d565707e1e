"""`mmsearch query`: find pictures and sentences. Its flags; the work is in `answering`."""

from pathlib import Path
from typing import Annotated

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, ModelOption
from mmsearch.commands.plain_query import Flags, Target, Thumbnails
from mmsearch.retrieval.ordering import Grouping, Sort


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="query")(query)


def query(
    text: Annotated[
        str | None,
        typer.Argument(help="What to look for; - reads one question a line.", show_default=False),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Look for what is like this picture; with TEXT, like both.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option(
            "--for",
            help="Look for images or texts. "
            "[default: texts for a picture when the library has any, else images]",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", metavar="N", help="Answers to print.")] = 10,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print paths alone, byte for byte.")
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="Print paths, each ended by a zero byte.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a gallery page as well.", show_default=False
        ),
    ] = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Leave out what lies on a drive or in a folder that is not there now."
        ),
    ] = False,
    sort: Annotated[
        Sort, typer.Option("--sort", help="Order of the answers: best, newest, or by name.")
    ] = Sort.SCORE,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    group: Annotated[
        Grouping | None,
        typer.Option(
            "--group", help="Put answers of a day or folder together.", show_default=False
        ),
    ] = None,
    thumbnails: Annotated[
        Thumbnails,
        typer.Option("--thumbnails", help="How the terminal draws pictures; auto finds out."),
    ] = Thumbnails.AUTO,
    library: LibraryOption = None,
    model: ModelOption = None,
) -> None:
    """Find the pictures or sentences nearest to a question.

    Prints one answer a line, best first: score (the cosine), a tab, the path or the sentence.
    With - the question follows in a third column, and JSON is an object a line; a line that is
    no question is an error on stderr and does not end it. The exit code is 1 when nothing was
    found, 2 after an error.
    """
    from mmsearch.commands.answering import answer

    flags = Flags(
        text=text,
        image=tuple(image or ()),
        target=target,
        k=k,
        as_json=as_json,
        as_csv=as_csv,
        paths=paths,
        null=null,
        html=html,
        online=online,
        sort=sort,
        reverse=reverse,
        group=group,
        thumbnails=thumbnails,
        library=library,
        model=model,
    )
    code = answer(flags)
    if code:
        raise typer.Exit(code)
