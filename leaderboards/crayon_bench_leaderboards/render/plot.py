"""Curves as PNG or SVG, with matplotlib; the same table gives the same bytes."""

import io
import math
from collections.abc import Callable
from textwrap import fill
from typing import TYPE_CHECKING, Any

from crayon_bench_leaderboards.curve import Curve, curves_of
from crayon_bench_leaderboards.table import Cell, Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, in an order in which neighbours differ in lightness too; markers and dashes tell them apart
# where there is no colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8C")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (4, 2, 1, 2)), (0, (2, 1.5)), "-", (0, (6, 2)), (0, (4, 2, 1, 2)))
_LEVELS: tuple[Any, ...] = ((0, (1, 1.5)), (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), "-")
_GREYS = ("#333333", "#6f6f6f", "#999999", "#bbbbbb")


def draw_curve(table: Table, form: str) -> bytes:
    """Return the picture of a table of one data set, which has a curve, in the format png or svg."""
    import matplotlib
    from matplotlib.figure import Figure

    section = table.sections[0]
    metric = table.board.metric_names()[0]
    curves, levels = curves_of(section, metric)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nothing of the user's own settings
        matplotlib.rcParams.update({"svg.hashsalt": "crayon-bench", "text.parse_math": False, "font.size": 9})
        figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        handles = _draw(left, curves, levels, metric, lambda row: row.feedback_total)
        _draw(right, curves, levels, metric, lambda row: row.hours)
        left.set_ylabel(f"{_name(table, metric)} (%)")
        left.set_xlabel("answers (#FB), log scale")
        right.set_xlabel(f"person-hours ({_price(table)}), log scale")
        right.tick_params(labelleft=False)
        ordered = sorted(handles, key=lambda one: -one[0])
        labels = [fill(label.lstrip("_") or "?", 26) for _, _, label in ordered]
        figure.legend([handle for _, handle, _ in ordered], labels, loc="outside right center", frameon=False)
        figure.suptitle(f"{table.title}\n{table.subtitle}, oracle {section.oracle}", fontsize=10, x=0.01, ha="left")
        figure.supxlabel(_caption(table, curves), fontsize=7.5, x=0.01, ha="left", color="#444444")
        picture = io.BytesIO()
        nothing: dict[str, Any] = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        figure.savefig(picture, format=form, metadata=nothing)
    return picture.getvalue()


def _name(table: Table, metric: str) -> str:
    short = next(row.metrics[metric].short for row in table.sections[0].rows if row.metrics[metric].per_seed)
    words = {"WGA": "worst-group accuracy", "MA": "mean accuracy over groups", "Acc": "accuracy"}
    return words.get(short, short)


def _price(table: Table) -> str:
    price = table.price
    assert price is not None
    return "recorded times" if price.prices is None else f"prices: {price.prices.title}"


def _draw(
    axes: "Axes", curves: list[Curve], levels: list[Row], metric: str, where: Callable[[Row], float | None]
) -> list[tuple[float, Any, str]]:
    """Draw a panel; return, of each line, its last height, itself and its label."""
    handles: list[tuple[float, Any, str]] = []
    for n, row in enumerate(levels):
        mean, low, high = _band(row.metrics[metric])
        grey = _GREYS[n % len(_GREYS)]
        axes.axhspan(low, high, color=grey, alpha=0.12, linewidth=0)
        line = axes.axhline(mean, color=grey, linestyle=_LEVELS[n % len(_LEVELS)], linewidth=1.4)
        handles.append((mean, line, row.label))
    controlled = any(curve.control is not None for curve in curves)
    for n, curve in enumerate(curves):
        points = [(x, *_band(row.metrics[metric]), row.status) for row in curve.rows if (x := where(row))]
        colour, marker = _COLOURS[curve.of % len(_COLOURS)], _MARKERS[curve.of % len(_MARKERS)]
        look: dict[str, Any] = {"linestyle": _DASHES[n % len(_DASHES)]}
        if controlled:  # then dashes tell controls from true answers
            look = {"linestyle": "-"} if curve.control is None else _control_look(curve.control)
        xs, means, lows, highs = ([point[k] for point in points] for k in range(4))
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.16 if curve.control is None else 0.06, linewidth=0)
        line = axes.plot(
            xs, means, color=colour, marker=marker, markersize=5, zorder=3 - (curve.control is not None), **look
        )[0]
        partial = [(x, mean) for x, mean, _, _, status in points if status != "ok"]
        if partial:
            axes.plot(*zip(*partial, strict=True), marker, color="white", markersize=2.5)
        last = curve.rows[-1].metrics[metric].mean
        handles.append((last if last is not None else math.nan, line, curve.label))
    _scale(axes, any(where(row) for curve in curves for row in curve.rows))
    return handles


def _control_look(control: str) -> dict[str, Any]:
    dashes = {"shuffled": (0, (5, 2)), "shuffled-all": (0, (2, 1.5)), "constant": (0, (5, 2, 1, 2))}
    return {"linestyle": dashes.get(control, (0, (1, 1))), "markerfacecolor": "white", "linewidth": 1.2}


def _band(cell: Cell) -> tuple[float, float, float]:
    assert cell.mean is not None
    # A share of right predictions cannot lie outside, whatever the standard deviation says.
    return cell.mean, max(0.0, cell.mean - (cell.std or 0.0)), min(100.0, cell.mean + (cell.std or 0.0))


def _scale(axes: "Axes", known: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if not known:
        axes.text(0.5, 0.6, "not known", transform=axes.transAxes, ha="center", color="#666666")
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=24))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)


def _caption(table: Table, curves: list[Curve]) -> str:
    section = table.sections[0]
    seeds = len(section.seeds)
    what = "Mean over seeds; bands: ± sample standard deviation." if seeds > 1 else "One seed: there are no bands."
    unverified = any("UNVERIFIED" in remark for remark in table.remarks)
    controlled = any(curve.control is not None for curve in curves)
    few = any(row.status != "ok" for curve in curves for row in curve.rows)
    what += " Dashed: controls, whose answers carry less." if controlled else ""
    return (
        f"{what}{' White dot: fewer seeds.' if few else ''} Horizontal: methods that ask nothing."
        f" Setting {section.setting[:8]}.{' UNVERIFIED data: see the table.' if unverified else ''}"
    )
