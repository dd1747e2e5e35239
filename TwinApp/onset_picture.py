"""The picture of a glioma's onset: observed and fitted outlines, the probability beyond them, and where it began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from TwinCore import Image, bounding_box
from TwinSimulateLib.model import Anatomy, Result
from TwinSimulateLib.onset_unknowns import ORIGIN

from .planes import Placed, Plane, view_planes

STYLE = {**matplotlib.rcParamsDefault, "font.family": "DejaVu Sans", "font.size": 8, "text.parse_math": False}
MARGIN_MM = 25.0
FLAIR, ENHANCING, PALE, ORIGIN_COLOUR = "#3fe0ff", "#ff9e3d", "#ffffff", "#ff2f6d"


def draw_onset(anatomy: Anatomy, today: Result, values: Mapping[str, float], path: Path) -> None:
    """Write the picture as a PNG: three planes through the origin, twice.

    Parameters
    ----------
    anatomy : Anatomy
        As of `TumourOnset`.
    today : Result
        Of its `today`.
    values : mapping of str to float
        The most probable parameters.
    path : Path
    """
    grid = anatomy.grid
    tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
    flair = (np.asarray(anatomy.tissue("flair")) >= 0.5) | tumour
    tissue = 0.9 * np.asarray(anatomy.tissue("white matter"), float) + 0.45 * np.asarray(anatomy.tissue("grey matter"))
    origin = np.array([values[name] for name in ORIGIN])
    corners = grid.crop(*bounding_box(flair)).corners()
    box = np.stack([corners.min(0) - MARGIN_MM, corners.max(0) + MARGIN_MM])
    planes = view_planes(box, np.clip(origin, box[0], box[1]))
    density, probability = Placed(today.fields["density"]), Placed(today.fields["probability"])
    with matplotlib.rc_context(STYLE):
        figure = Figure((10.0, 7.4), dpi=130, layout="constrained")
        above, below = figure.subplots(2, 3)
        for axis, plane in zip(above, planes):
            _ground(axis, plane, Image(tissue.astype(np.float32), grid))
            fitted = np.nan_to_num(plane.sample(density))
            for mask, name, colour in ((flair, "oedema_threshold", FLAIR), (tumour, "detection_threshold", ENHANCING)):
                _line(axis, plane.sample_mask(mask, grid), 0.5, colour, "solid")
                _line(axis, fitted, values[name], colour, "dashed")
            _mark(axis, plane, origin)
            axis.set_title(f"{plane.name}, {plane.position}")
        for axis, plane in zip(below, planes):
            _ground(axis, plane, Image(tissue.astype(np.float32), grid))
            share = np.nan_to_num(plane.sample(probability))
            shown = axis.imshow(np.ma.masked_less(share, 0.02), cmap="viridis", vmin=0, vmax=1, alpha=0.75)
            _line(axis, plane.sample_mask(flair, grid), 0.5, FLAIR, "solid")
            _line(axis, share, 0.5, PALE, "solid")
            _mark(axis, plane, origin)
        figure.colorbar(shown, ax=list(below), shrink=0.7, label="probability of a tenth of the capacity")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False)
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _ground(axis: Axes, plane: Plane, tissue: Image) -> None:
    axis.imshow(np.nan_to_num(plane.sample(Placed(tissue))), cmap="gray", vmin=0, vmax=1.1)
    axis.set(xticks=[], yticks=[])
    left, right, top, bottom = plane.letters
    for letter, x, y in ((left, 0.02, 0.5), (right, 0.98, 0.5), (top, 0.5, 0.97), (bottom, 0.5, 0.03)):
        axis.text(x, y, letter, transform=axis.transAxes, color="white", ha="center", va="center", weight="bold")


def _line(axis: Axes, values: np.ndarray, level: float, colour: str, style: str) -> None:
    if values.min() < level <= values.max():
        axis.contour(values, levels=[level], colors=[colour], linewidths=1.3, linestyles=style)


def _mark(axis: Axes, plane: Plane, origin: np.ndarray) -> None:
    i, j, _ = plane.grid.to_ijk(origin)
    axis.plot([i], [j], marker="+", color=ORIGIN_COLOUR, markersize=11, markeredgewidth=2.2)


def _legend() -> list[Line2D]:
    words = (
        (FLAIR, "solid", "outline on FLAIR"),
        (FLAIR, "dashed", "fitted to it"),
        (ENHANCING, "solid", "outline of enhancement"),
        (ENHANCING, "dashed", "fitted to it"),
    )
    lines = [Line2D([], [], color=colour, ls=style, label=text) for colour, style, text in words]
    lines.append(Line2D([], [], color=ORIGIN_COLOUR, marker="+", ls="none", markeredgewidth=2, label="origin"))
    lines.append(Line2D([], [], color="0.6", label="probability one half (white)"))
    return lines
