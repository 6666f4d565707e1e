"""`mmsearch query`: find pictures and sentences. Its flags; the work is in `answering`."""

from pathlib import Path
from typing import Annotated

import typer

from mmsearch.choices import USUAL_NEGATION, Cutoff, Mode, Negation, Sort
from mmsearch.commands.filters import FilterFlags
from mmsearch.commands.options import JsonOption, LibraryOption, ModelOption
from mmsearch.commands.plain_query import Flags, Target, Thumbnails
from mmsearch.commands.question_options import (
    AfterOption,
    AspectOption,
    BeforeOption,
    CameraOption,
    CsvOption,
    CutoffOption,
    ExplainOption,
    GroupOption,
    HtmlOption,
    LabelOption,
    MinScoreOption,
    NearOption,
    NullOption,
    OnlineOption,
    PathsOption,
    ReverseOption,
    SizeOption,
    SortOption,
    ThumbnailsOption,
    TopOption,
    UnderOption,
    WhereOption,
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="query")(query)


def query(
    text: Annotated[
        str | None,
        typer.Argument(
            help="What to look for: a sentence, or terms with weights, such as "
            '"2:dog on grass +0.5:beach -:people"; - reads one question a line.',
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="Look for what is like this picture; with TEXT, like both. Repeatable.",
            show_default=False,
        ),
    ] = None,
    plus: Annotated[
        list[str] | None,
        typer.Option(
            "--plus",
            metavar="TERM",
            help="Look for this as well: beach, 0.5:beach, image:FILE, item:ID. Repeatable.",
            show_default=False,
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(
            "--minus",
            metavar="TERM",
            help="Look for what is less like this: people, 1:people, image:FILE, item:ID. "
            "Its weight is 0.5 unless it is given. Repeatable.",
            show_default=False,
        ),
    ] = None,
    item: Annotated[
        list[int] | None,
        typer.Option(
            "--item",
            metavar="ID",
            help="Look for what is like this item of the library. Repeatable.",
            show_default=False,
        ),
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="Keep the question's own pictures and items as answers.")
    ] = False,
    negation: Annotated[
        Negation,
        typer.Option(
            "--negation",
            help="How what is unwanted acts: taken off the sum, or projected out of it.",
        ),
    ] = USUAL_NEGATION,
    target: Annotated[
        Target | None,
        typer.Option(
            "--for",
            help="Look for images, texts, or any: the best of each by turns. "
            "[default: texts for a picture when the library has any, else images]",
            show_default=False,
        ),
    ] = None,
    k: TopOption = 10,
    mode: Annotated[
        Mode | None,
        typer.Option(
            "--mode",
            help="What ranks: the vectors, the words of names, captions and labels (text), or "
            "both. [default: vector; words that the model does not know are looked for as text]",
            show_default=False,
        ),
    ] = None,
    min_score: MinScoreOption = None,
    cutoff: CutoffOption = Cutoff.OFF,
    online: OnlineOption = False,
    explain: ExplainOption = False,
    under: UnderOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    label: LabelOption = None,
    size: SizeOption = None,
    aspect: AspectOption = None,
    where: WhereOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    paths: PathsOption = False,
    null: NullOption = False,
    html: HtmlOption = None,
    sort: SortOption = Sort.SCORE,
    reverse: ReverseOption = False,
    group: GroupOption = None,
    thumbnails: ThumbnailsOption = Thumbnails.AUTO,
    library: LibraryOption = None,
    model: ModelOption = None,
) -> None:
    """Find the pictures or sentences nearest to a question.

    Prints one answer a line, best first: score (the cosine), a tab, the path or the sentence.
    With - the question follows in a third column, and JSON is an object a line; a line that is
    no question is an error on stderr and does not end it. Pictures and items of the question are
    not among its answers. Filters narrow what may answer before it is ranked. The exit code is 1
    when nothing was found, 2 after an error.
    """
    from mmsearch.commands.answering import answer

    filters = FilterFlags(
        under=tuple(under or ()),
        after=after,
        before=before,
        camera=camera,
        near=near,
        label=tuple(label or ()),
        size=size,
        aspect=aspect,
        where=tuple(where or ()),
    )
    flags = Flags(
        text=text,
        image=tuple(image or ()),
        plus=tuple(plus or ()),
        minus=tuple(minus or ()),
        item=tuple(item or ()),
        own=own,
        negation=negation,
        target=target,
        k=k,
        mode=mode,
        min_score=min_score,
        cutoff=cutoff,
        explain=explain,
        as_json=as_json,
        as_csv=as_csv,
        paths=paths,
        null=null,
        html=html,
        online=online,
        filters=filters or None,
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
