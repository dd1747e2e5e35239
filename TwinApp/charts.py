"""The chart of the report: predicted volume over time, as inline SVG that takes the page's text colour."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from TwinCore.units import in_words
from TwinSimulateLib.model import Curve

from .wording import number, plain, scenario

# Okabe and Ito 2008, those that stand out from white and from black alike.
COLOURS = ("#d55e00", "#0083c9", "#009e73", "#cc79a7", "#b8860b", "#56a0d9")
COLUMNS = 3
INK = "#010203"  # stands for the page's own text colour, whatever it is
LOGARITHMIC_FROM = 20.0
"""Growth, as a multiple of today's value, from which a linear scale would flatten everything else."""
FLOORS = (1e-9, 1e-3)
"""Where a logarithmic scale starts, as a share of today's value: at the lowest value, between these two."""
STYLE = {
    **matplotlib.rcParamsDefault,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,
}


def prediction_chart(
    curves: Mapping[str, Curve],
    treatment_days: Mapping[str, Sequence[float]] | None = None,
    quantity: str = "volume",
    logarithmic: bool = False,
) -> str:
    """Median, 50 % and 90 % band of a curve over time, one panel a scenario, as an SVG element.

    Parameters
    ----------
    curves : mapping of str to Curve
        By scenario; the first scenario's median is repeated, dashed, in the other panels.
    treatment_days : mapping of str to sequence of float, optional
        Days of treatment by scenario, marked below the curve.
    quantity : str
        What the curves show, for the vertical axis.
    logarithmic : bool
        Whether the scale is logarithmic even if no curve grows so much that it must be.

    Returns
    -------
    str
        The `<svg>` element; equal for equal curves.
    """
    treatment_days = treatment_days or {}
    names = list(curves)
    first = curves[names[0]]
    logarithmic = logarithmic or is_logarithmic(curves)
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "DigitalTwin"}):
        figure = Figure((7.4, 2.5 * rows + 0.1), layout="constrained")
        figure.patch.set_alpha(0)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for n, axis in enumerate(grid.flat):
            if n >= len(names):
                axis.set_visible(False)
                continue
            _draw(axis, curves[names[n]], COLOURS[n % len(COLOURS)])
            if n:
                axis.plot(first.times_days, first.values, color=COLOURS[0], lw=1.0, ls=(0, (4, 2)), alpha=0.9)
            _mark_days(axis, treatment_days.get(names[n], ()))
            axis.set_title(
                plain(scenario(names[n]), 40), loc="left", fontsize=9, weight="bold", color=COLOURS[n % len(COLOURS)]
            )
        _set_scale(grid[0, 0], curves, logarithmic)
        figure.supxlabel("days from the reference scan", fontsize=8)
        figure.supylabel(f"{quantity} ({in_words(first.unit)})", fontsize=8)
        return _svg(figure)


def is_logarithmic(curves: Mapping[str, Curve]) -> bool:
    """Whether the chart's scale is logarithmic: some curve grows more than twentyfold."""
    start = float(next(iter(curves.values())).values[0])
    return start > 0 and max(float(c.values.max()) for c in curves.values()) > LOGARITHMIC_FROM * start


def _draw(axis: Axes, curve: Curve, colour: str) -> None:
    axis.set_facecolor("none")
    if curve.members is not None:
        for percent, opacity in ((90.0, 0.16), (50.0, 0.32)):
            low, high = curve.band(percent)
            axis.fill_between(curve.times_days, low, high, color=colour, alpha=opacity, lw=0)
    axis.plot(curve.times_days, curve.values, color=colour, lw=1.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color=INK, alpha=0.12, lw=0.6)
    axis.margins(x=0)


def _mark_days(axis: Axes, days: Sequence[float]) -> None:
    """A short stroke above the time axis for each day of treatment."""
    if len(days):
        heights = axis.get_xaxis_transform()
        axis.vlines(days, 0.0, 0.06, transform=heights, color=INK, lw=0.5, alpha=0.9)


def _set_scale(axis: Axes, curves: Mapping[str, Curve], logarithmic: bool) -> None:
    """One scale for all panels, which share it."""
    bands = [(c.values, c.values) if c.members is None else c.band(90.0) for c in curves.values()]
    highest = max(float(np.max(high)) for _, high in bands)
    if logarithmic:
        start = float(next(iter(curves.values())).values[0])
        axis.set_yscale("log", nonpositive="clip")
        lowest = min(float(np.min(low)) for low, _ in bands)
        axis.set_ylim(np.clip(lowest, FLOORS[0] * start, FLOORS[1] * start), 1.5 * highest)
    else:
        axis.set_ylim(0, 1.05 * highest if highest > 0 else 1.0)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
