"""A picture of a run: loss, learning rate and recall over the epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmsearch.errors import MissingExtraError
from mmsearch.retrieval.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIRECTIONS: Final = {"i2t": "image to text", "t2i": "text to image"}
RECALLS: Final = {"r1": "R@1", "r5": "R@5", "r10": "R@10"}
# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73")
GREY: Final = "#777777"
INCHES: Final = (11.0, 7.0)
DOTS_PER_INCH: Final = 110


def draw_curves(
    records: Sequence[Mapping[str, Any]], path: Path, *, chance: Metrics | None = None
) -> None:
    """Write the curves of a run's records as PNG; `chance` is drawn as dotted lines.

    A record holds `epoch`, `loss`, `lr`, `rsum`, and `i2t` and `t2i` with `r1`, `r5`, `r10`.
    Raises MissingExtraError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    figure = Figure(figsize=INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    (training, total), (left, right) = figure.subplots(2, 2, sharex=True)
    epochs = [record["epoch"] for record in records]
    _draw_training(training, epochs, records)
    _draw_rsum(total, epochs, records, chance)
    for axes, direction in ((left, "i2t"), (right, "t2i")):
        _draw_recall(axes, epochs, records, direction, chance)
        axes.set_xlabel("epoch")
    top = max(left.get_ylim()[1], right.get_ylim()[1])
    for axes in (left, right):
        axes.set_ylim(0, top)
    for axes in (training, total, left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(axes is training)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _draw_training(
    axes: "Axes", epochs: Sequence[int], records: Sequence[Mapping[str, Any]]
) -> None:
    axes.set_title("training")
    axes.plot(epochs, [record["loss"] for record in records], color=COLOURS[0], **_style(epochs))
    axes.set_ylabel("loss", color=COLOURS[0])
    axes.set_ylim(bottom=0)
    rate = axes.twinx()
    rate.plot(epochs, [record["lr"] for record in records], color=GREY, linestyle="--")
    rate.set_ylabel("learning rate (dashed)", color=GREY)
    rate.set_ylim(bottom=0)


def _draw_rsum(
    axes: "Axes",
    epochs: Sequence[int],
    records: Sequence[Mapping[str, Any]],
    chance: Metrics | None,
) -> None:
    values = [record["rsum"] for record in records]
    axes.set_title("rsum (0 to 600)")
    axes.plot(epochs, values, color=COLOURS[0], **_style(epochs))
    if values:
        best = max(range(len(values)), key=values.__getitem__)
        axes.set_title(f"rsum: best {values[best]:.1f} of 600, epoch {epochs[best]}")
        axes.plot(epochs[best], values[best], "o", color=COLOURS[1], markersize=9, fillstyle="none")
    if chance is not None:
        axes.axhline(chance.rsum, color=GREY, linestyle=":", label="chance")
        axes.legend(loc="lower right")
    axes.set_ylim(bottom=0)


def _draw_recall(
    axes: "Axes",
    epochs: Sequence[int],
    records: Sequence[Mapping[str, Any]],
    direction: str,
    chance: Metrics | None,
) -> None:
    axes.set_title(f"{DIRECTIONS[direction]} ({direction})")
    axes.set_ylabel("percent")
    for (key, label), colour in zip(RECALLS.items(), COLOURS, strict=True):
        values = [record[direction][key] for record in records]
        axes.plot(epochs, values, color=colour, **_style(epochs))
        if values:
            axes.annotate(
                f"{label}\n{values[-1]:.1f}",
                (epochs[-1], values[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        if chance is not None:
            expected = getattr(getattr(chance, direction), key)
            axes.axhline(expected, color=colour, linestyle=":", linewidth=1)
    if chance is not None:
        axes.plot([], [], color=GREY, linestyle=":", label="chance")
        axes.legend(loc="upper left")


def _style(epochs: Sequence[int]) -> dict[str, Any]:
    return {"marker": "o" if len(epochs) == 1 else "", "linewidth": 1.8}
