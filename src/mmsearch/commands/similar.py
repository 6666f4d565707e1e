"""`mmsearch similar`: more like some items of the library. The work is in `answering`."""

from typing import Annotated

import typer

from mmsearch.choices import Cutoff, Sort
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
    app.command(name="similar")(similar)


def similar(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="ITEM...",
            help="The id or the path of what is in the library; of several, what is like all.",
            show_default=False,
        ),
    ],
    target: Annotated[
        Target | None,
        typer.Option(
            "--for",
            help="Look for images, texts, or any: the best of each by turns. "
            "[default: of the kind that the first item is]",
            show_default=False,
        ),
    ] = None,
    k: TopOption = 10,
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
    """Find what is most like some items of the library, which are not among the answers.

    Prints what `mmsearch query` prints. The items' vectors are compared, so that the question
    takes no network. The exit code is 1 when nothing was found, 2 after an error.
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
        like=tuple(items),
        target=target,
        k=k,
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
