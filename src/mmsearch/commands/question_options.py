"""The flags that `query` and `similar` share: which items may answer, and how they are shown."""

from pathlib import Path
from typing import Annotated

import typer

from mmsearch.choices import Cutoff, Grouping, Sort
from mmsearch.commands.filters import Aspect
from mmsearch.commands.plain_query import Thumbnails

_FILTERS = "Filters"
_OUTPUT = "Output"

TopOption = Annotated[int, typer.Option("-k", "--top", metavar="N", help="Answers to print.")]
OnlineOption = Annotated[
    bool,
    typer.Option(
        "--online", help="Leave out what lies on a drive or in a folder that is not there now."
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="COSINE",
        help="Leave out answers with a lower score, from -1 to 1.",
        show_default=False,
    ),
]
CutoffOption = Annotated[
    Cutoff,
    typer.Option(
        "--cutoff",
        help="What to do with answers that are no better than those to questions about nothing: "
        "mark them with a question mark, or drop them.",
    ),
]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Say on stderr what each term contributed and how the search was done; in JSON, "
        "print {hits, explanation}.",
    ),
]

UnderOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--under",
        metavar="DIR",
        help="Only pictures in this folder or below, or this file; repeatable: in any of them.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
AfterOption = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="DATE",
        help="Only pictures taken on this date or later, by the camera's clock, else by the "
        "time of the file: 2024, 2024-06, 2024-06-01, 2024-06-01T12:30.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
BeforeOption = Annotated[
    str | None,
    typer.Option(
        "--before",
        metavar="DATE",
        help="Only pictures taken before this date.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
CameraOption = Annotated[
    str | None,
    typer.Option(
        "--camera",
        metavar="TEXT",
        help="Only pictures of cameras whose name has this in it.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
NearOption = Annotated[
    str | None,
    typer.Option(
        "--near",
        metavar="LAT,LON,DISTANCE",
        help="Only pictures taken within a distance of a place: 48.2,16.4,5km.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME",
        help="Only what has this label; repeatable: all of them.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="RANGE",
        help="Only pictures of this size, in megapixels or bytes: 2MP.., ..500kB, 1MP..4MP.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
AspectOption = Annotated[
    Aspect | None,
    typer.Option(
        "--aspect",
        help="Only pictures of this shape; a panorama is 2:1 and beyond.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only what a condition holds for, such as \"width >= 1000 AND NOT label = 'draft'\"; "
        "repeatable: all of them.",
        show_default=False,
        rich_help_panel=_FILTERS,
    ),
]

CsvOption = Annotated[
    bool, typer.Option("--csv", help="Print CSV with a header.", rich_help_panel=_OUTPUT)
]
PathsOption = Annotated[
    bool,
    typer.Option("--paths", help="Print paths alone, byte for byte.", rich_help_panel=_OUTPUT),
]
NullOption = Annotated[
    bool,
    typer.Option(
        "-0", "--null", help="Print paths, each ended by a zero byte.", rich_help_panel=_OUTPUT
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a gallery page as well.",
        show_default=False,
        rich_help_panel=_OUTPUT,
    ),
]
SortOption = Annotated[
    Sort,
    typer.Option(
        "--sort",
        help="Order of the answers: best, newest, or by name.",
        rich_help_panel=_OUTPUT,
    ),
]
ReverseOption = Annotated[
    bool, typer.Option("--reverse", help="The other way round.", rich_help_panel=_OUTPUT)
]
GroupOption = Annotated[
    Grouping | None,
    typer.Option(
        "--group",
        help="Put answers of a day or folder together.",
        show_default=False,
        rich_help_panel=_OUTPUT,
    ),
]
ThumbnailsOption = Annotated[
    Thumbnails,
    typer.Option(
        "--thumbnails",
        help="How the terminal draws pictures; auto finds out.",
        rich_help_panel=_OUTPUT,
    ),
]
