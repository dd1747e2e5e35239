"""Slice pictures: two images over each other; fused images, anatomy and predicted fields in planes through the target.

Patient right is on the screen's left, as radiologists read; planes are sampled at 1 mm from the native images.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib import cm, colors, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from TwinCore import Grid, Image, Segmentation, bounding_box, resample
from TwinCore.units import HOUNSFIELD, in_words

from .planes import Placed, Plane, common_view, target_view, view_planes, whole_view
from .wording import number, plain, scenario

WIDTH_INCHES, DPI = 7.4, 170
GAP_INCHES = 0.05
FOOT_INCHES = 0.42
BACKGROUND, INK = "#0c0e12", "#e8eaee"
OUTLINES = (("#3fe0ff", "solid"), ("#b6ff4d", "dashed"), ("#ff9be8", "dotted"))
UPTAKE, PROBABILITY = matplotlib.colormaps["inferno"], matplotlib.colormaps["viridis"]
GAMMA = 0.8  # lifts the dark muscles and fat-suppressed tissue of an MR
CT_WINDOW_HU = (-160.0, 240.0)
NEAR_TARGET_MM = 10.0
CHEQUER_MM = 20
EDGES, EDGE_SIGMA_MM = "#ffd23f", 2.0
EDGE_STEEPNESS = 0.03  # of the range of greys, a millimetre
FIELD_MARGIN_MM = 35.0
STYLE = {
    **matplotlib.rcParamsDefault,
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "text.color": INK,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Key:
    """One entry of a picture's legend: a colour, how it is drawn ("fill", "solid", "dashed", "dotted"), its meaning."""

    colour: str
    style: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A picture with its words: PNG bytes, a description for those who do not see it, and a legend."""

    png: bytes
    alt: str
    legend: tuple[Key, ...] = ()


def pair_planes(fixed: Placed, moving: Placed, grid: Grid) -> Picture:
    """Two images over each other in three planes through the middle of what both show, to judge a registration by eye.

    Above a chequerboard: lines must go on from square to square. In the middle the edges of the fixed image over the
    moving one: they must lie on its own. Below a blend, the fixed image in green and the moving one in magenta: what
    both show alike is grey.

    Parameters
    ----------
    fixed, moving : Placed
    grid : Grid
        Of the part of the reference frame that is of interest.
    """
    box = common_view(fixed, moving, grid)
    planes = view_planes(box, box.mean(0))
    with matplotlib.rc_context(STYLE):
        figure, rows = _panels([planes, planes, planes], 0.06)
        greys = _greys(planes, fixed), _greys(planes, moving)
        for one, other, plane, above, middle, below in zip(*greys, planes, *rows):
            squares = np.where(_chequers(one.shape), one, other)
            above.imshow(squares, cmap="gray", vmin=0, vmax=1, extent=_extent(plane), interpolation="nearest")
            middle.imshow(other, cmap="gray", vmin=0, vmax=1, extent=_extent(plane), interpolation="bicubic")
            _draw_edges(middle, one, np.isfinite(plane.sample(fixed)))
            below.imshow(np.stack([other, one, other], -1), extent=_extent(plane), interpolation="bilinear")
            for axis in (above, middle, below):
                _frame(axis, plane)
        _scale_bar(figure, rows[-1][0])
        png = _png(figure)
    names = plain(fixed.image.name), plain(moving.image.name)
    alt = f"Axial, coronal and sagittal plane: chequerboard, edges and blend of {names[0]} and {names[1]}."
    edges = Key(EDGES, "solid", f"edges of {names[0]}")
    return Picture(png, alt, (edges, Key("#00d000", "fill", names[0]), Key("#d000d0", "fill", names[1])))


def _draw_edges(axis: Axes, grey: np.ndarray, seen: np.ndarray) -> None:
    """Lines where a picture changes fastest (Marr & Hildreth 1980, Proc R Soc Lond B 207:187), and steeply."""
    if min(grey.shape) < 2:
        return
    slope = ndimage.gaussian_gradient_magnitude(grey, EDGE_SIGMA_MM)
    change = ndimage.gaussian_laplace(grey, EDGE_SIGMA_MM)
    near_end = ndimage.binary_dilation(~seen, iterations=round(3 * EDGE_SIGMA_MM))
    steep = (slope > EDGE_STEEPNESS) & ~near_end
    if not (steep & (change > 0)).any() or not (steep & (change < 0)).any():
        return
    x, y = (np.arange(n) + 0.5 for n in grey.shape[::-1])
    axis.contour(x, y, np.ma.array(change, mask=~steep), levels=[0.0], colors=[EDGES], linewidths=0.7)


def _chequers(shape: tuple[int, int]) -> np.ndarray:
    """Squares of 20 mm on a plane, sampled at 1 mm."""
    row, column = np.indices(shape) // CHEQUER_MM
    return (row + column) % 2 == 0


def fused_overlay(anatomy: Placed, uptake: Placed | None, segmentation: Segmentation, target: str) -> Picture:
    """Anatomy in grey with PET in colour, in three planes through the target, with the target's outlines.

    Parameters
    ----------
    anatomy : Placed
        MR, CT or US.
    uptake : Placed, optional
        PET; its colours end at the 99th percentile within 10 mm of the target, so that a bladder does not hide it.
    segmentation : Segmentation
        On the common grid, in the reference frame. Outlined are the target and segments named "<target> (...)".
    target : str
    """
    planes = view_planes(*whole_view(anatomy, segmentation, target))
    top = 1.0 if uptake is None else _top_near_target(uptake, segmentation, target)
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels([planes], 0.06)
        _show_anatomy(axes[0], planes, anatomy)
        for axis, plane in zip(axes[0], planes):
            if uptake is not None:
                _show_coloured(axis, plane.sample(uptake), UPTAKE, top, 0.8)
            _frame(axis, plane)
        legend = _draw_outlines(axes[0], planes, segmentation, target)
        if uptake is not None:
            words = in_words(uptake.image.unit)
            _colour_bar(figure, UPTAKE, top, f"PET {plain(words, 40)}")
        _scale_bar(figure, axes[0][0])
        png = _png(figure)
    seen = plain(anatomy.image.name) + ("" if uptake is None else f" in grey with {plain(uptake.image.name)} in colour")
    words = f"Axial, coronal and sagittal plane through {plain(target)}: {seen}; outlines of the target."
    return Picture(png, words, legend)


def segmentation_planes(anatomy: Placed, segmentation: Segmentation, target: str) -> Picture:
    """Every segment over the anatomy in three planes through the target, with volumes in the legend."""
    planes = view_planes(*whole_view(anatomy, segmentation, target))
    volumes = {name: segmentation.volume_ml(name) for name in segmentation.names}
    large_first = sorted(segmentation.segments, key=lambda s: (s.name == target, -volumes[s.name]))
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels([planes], 0.06)
        _show_anatomy(axes[0], planes, anatomy)
        for segment in large_first:
            mask = segmentation.mask(segment.name)
            other_outline = segment.name != target and _outlines_target(segment.name, target)
            for axis, plane in zip(axes[0], planes):
                share = plane.sample_mask(mask, segmentation.grid)
                if not other_outline:
                    opacity = 0.55 if segment.name == target else 0.28
                    layer = np.array([*segment.colour, 1.0]) * np.ones((*share.shape, 1))
                    layer[..., 3] = opacity * np.clip(share, 0, 1)
                    axis.imshow(layer, extent=_extent(plane), interpolation="bilinear")
                _contour(axis, plane, share, segment.colour, "dashed" if other_outline else "solid", 0.9)
        for axis, plane in zip(axes[0], planes):
            _frame(axis, plane)
        _scale_bar(figure, axes[0][0])
        png = _png(figure)
    legend = tuple(
        Key(
            colors.to_hex(s.colour),
            "dashed" if s.name != target and _outlines_target(s.name, target) else "fill",
            f"{plain(s.name)}, {number(volumes[s.name])}\u00a0mL",
        )
        for s in reversed(large_first)
    )
    return Picture(png, "Segments over the anatomy in three planes: " + "; ".join(k.text for k in legend) + ".", legend)


def field_planes(anatomy: Placed, fields: Mapping[str, Image], segmentation: Segmentation, target: str) -> Picture:
    """A predicted field from 0 to 1 over the anatomy, one column a scenario, around the target.

    Parameters
    ----------
    anatomy : Placed
    fields : mapping of str to Image
        Probability of tumour by scenario, in the reference frame.
    segmentation : Segmentation
    target : str
    """
    planes = view_planes(*target_view(segmentation, target, FIELD_MARGIN_MM), ("axial", "coronal"))
    scenarios = list(fields.items())
    with matplotlib.rc_context(STYLE):
        figure, rows = _panels([[plane] * max(len(scenarios), 2) for plane in planes], 0.27)
        for row, plane in zip(rows, planes):
            copies = [plane] * len(scenarios)
            _show_anatomy(row[: len(scenarios)], copies, anatomy)
            for axis, (_, field) in zip(row, scenarios):
                values = plane.sample(Placed(field))
                _show_coloured(axis, values, PROBABILITY, 1.0, 0.62)
                _contour(axis, plane, np.nan_to_num(values), "#ffffff", "solid", 0.8)
                _frame(axis, plane)
            for axis in row[len(scenarios) :]:
                axis.set_visible(False)
            legend = _draw_outlines(row[: len(scenarios)], copies, segmentation, target, only_target=True)
        for axis, (name, _) in zip(rows[0], scenarios):
            axis.set_title(plain(scenario(name), 34), fontsize=8.5, color=INK, pad=5, weight="bold")
        _colour_bar(figure, PROBABILITY, 1.0, "probability of tumour", "neither")
        _scale_bar(figure, rows[0][0])
        png = _png(figure)
    legend = (*legend, Key("#ffffff", "solid", "probability one half"))
    names = ", ".join(scenario(name) for name in fields)
    return Picture(
        png, f"Predicted probability of tumour, axial and coronal plane, one column each for: {names}.", legend
    )


def map_planes(
    anatomy: Placed, maps: Mapping[str, Image], box: np.ndarray, point: np.ndarray, view: str = "axial"
) -> Picture:
    """Maps over the anatomy in the plane through a point, one column each, from 0 to their 99.5th percentile there.

    Parameters
    ----------
    anatomy : Placed
    maps : mapping of str to Image
        By title.
    box : array, shape (2, 3)
        Lowest and highest corner of what is shown, RAS mm.
    point : array, shape (3,)
    view : {"axial", "coronal", "sagittal"}
    """
    planes = view_planes(box, point, (view,)) * len(maps)
    with matplotlib.rc_context(STYLE):
        figure, (row,) = _panels([planes], 0.27)
        _show_anatomy(row, planes, anatomy)
        for axis, plane, (title, shown) in zip(row, planes, maps.items()):
            values = plane.sample(Placed(shown))
            known = values[np.isfinite(values)]
            top = max(float(np.percentile(known, 99.5)), 1e-6) if known.size else 1.0
            _show_coloured(axis, values, UPTAKE, top, 0.85)
            _frame(axis, plane)
            axis.set_title(
                f"{plain(title, 34)}, 0 to {number(top)} {shown.unit.replace('1', '')}", fontsize=7, color=INK
            )
        _scale_bar(figure, row[0])
        png = _png(figure)
    return Picture(png, f"{view.capitalize()} plane, one column each: {', '.join(maps)}.")


def _panels(rows: Sequence[Sequence[Plane]], head_inches: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of planes all at one scale, with room above and below, and its axes."""
    columns = len(rows[0])
    widths = [max(row[n].size_mm[0] for row in rows) for n in range(columns)]
    inches_per_mm = min((WIDTH_INCHES - GAP_INCHES * (columns + 1)) / sum(widths), 0.03)
    left = (WIDTH_INCHES - inches_per_mm * sum(widths) - GAP_INCHES * (columns - 1)) / 2
    heights = [max(plane.size_mm[1] for plane in row) * inches_per_mm for row in rows]
    total = head_inches + sum(heights) + GAP_INCHES * (len(rows) - 1) + FOOT_INCHES
    figure = Figure((WIDTH_INCHES, total), dpi=DPI, facecolor=BACKGROUND)
    axes: list[list[Axes]] = []
    bottom = total - head_inches + GAP_INCHES
    for row, height in zip(rows, heights):
        bottom -= GAP_INCHES + height
        axes.append([])
        for n, plane in enumerate(row):
            width, tall = np.array(plane.size_mm) * inches_per_mm
            x = left + inches_per_mm * (sum(widths[:n]) + (widths[n] - plane.size_mm[0]) / 2) + GAP_INCHES * n
            box = (x / WIDTH_INCHES, (bottom + (height - tall) / 2) / total, width / WIDTH_INCHES, tall / total)
            axes[-1].append(figure.add_axes(box))
    return figure, axes


def _show_anatomy(axes: Sequence[Axes], planes: Sequence[Plane], anatomy: Placed) -> None:
    """The anatomy in grey, under one window for all planes."""
    for axis, plane, shown in zip(axes, planes, _greys(planes, anatomy)):
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=_extent(plane), interpolation="bicubic")


def _greys(planes: Sequence[Plane], placed: Placed) -> list[np.ndarray]:
    """An image on planes as greys from 0 to 1, under one window for all; 0 where it does not reach."""
    slices = [plane.sample(placed) for plane in planes]
    low, high = CT_WINDOW_HU
    if (placed.image.modality, placed.image.unit) != ("CT", HOUNSFIELD):
        values = np.concatenate([s[np.isfinite(s)] for s in slices])
        low, high = np.percentile(values, (1, 99.5)) if values.size else (0.0, 1.0)
    return [np.clip((np.nan_to_num(s, nan=low) - low) / max(high - low, 1e-12), 0, 1) ** GAMMA for s in slices]


def _show_coloured(axis: Axes, values: np.ndarray, colour_map: colors.Colormap, top: float, opacity: float) -> None:
    """Values from 0 to `top` in colour, the fainter the lower, so that the anatomy shows through."""
    share = np.clip(np.nan_to_num(values) / top, 0, 1)
    layer = colour_map(share)
    layer[..., 3] = np.clip((share - 0.06) / 0.5, 0, 1) * opacity
    height, width = values.shape
    axis.imshow(layer, extent=(0, width, height, 0), interpolation="bilinear")


def _top_near_target(uptake: Placed, segmentation: Segmentation, target: str) -> float:
    mask = segmentation.mask(target)
    margin = np.ceil(NEAR_TARGET_MM / segmentation.grid.spacing[::-1]).astype(int)
    low, high = bounding_box(mask, margin)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    grid = segmentation.grid.crop(low, high)
    near = ndimage.distance_transform_edt(~mask[box], sampling=grid.spacing[::-1]) <= NEAR_TARGET_MM
    values = resample(uptake.image, grid, uptake.transform).array[near]
    top = float(np.percentile(values[np.isfinite(values)], 99)) if np.isfinite(values).any() else 0.0
    return top if top > 0 else 1.0


def _outlines_target(name: str, target: str) -> bool:
    """Whether a segment is the target, or the target as another image shows it."""
    return name == target or name.startswith(f"{target} (")


def _draw_outlines(axes, planes, segmentation: Segmentation, target: str, only_target=False) -> tuple[Key, ...]:
    names = [n for n in segmentation.names if n == target or (not only_target and _outlines_target(n, target))]
    names.sort(key=lambda n: n != target)
    legend = []
    for n, name in enumerate(names):
        colour, style = OUTLINES[min(n, len(OUTLINES) - 1)]
        mask = segmentation.mask(name)
        for axis, plane in zip(axes, planes):
            _contour(axis, plane, plane.sample_mask(mask, segmentation.grid), colour, style, 1.1)
        legend.append(Key(colour, style, plain(name)))
    return tuple(legend)


def _contour(axis: Axes, plane: Plane, share: np.ndarray, colour, style: str, width: float) -> None:
    """The line where a sampled mask or field passes 1/2."""
    if share.max() < 0.5 or share.min() >= 0.5 or min(share.shape) < 2:
        return
    x, y = (np.arange(n) + 0.5 for n in share.shape[::-1])
    lines = axis.contour(x, y, share, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)
    lines.set(path_effects=[patheffects.withStroke(linewidth=width + 1.2, foreground="#00000088")])


def _extent(plane: Plane) -> tuple[float, float, float, float]:
    return 0.0, plane.size_mm[0], plane.size_mm[1], 0.0


def _frame(axis: Axes, plane: Plane) -> None:
    """Orientation letters, the plane's name and place; no ticks."""
    width, height = plane.size_mm
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], facecolor="black")
    axis.spines[:].set_visible(False)
    for letter, x, y, across, along in zip(
        plane.letters,
        (0.015, 0.985, 0.5, 0.5),
        (0.5, 0.5, 0.985, 0.015),
        ("left", "right", "center", "center"),
        ("center", "center", "top", "bottom"),
    ):
        _label(axis, x, y, letter, ha=across, va=along, weight="bold", fontsize=8)
    _label(axis, 0.02, 0.985, f"{plane.name}\n{plane.position}", ha="left", va="top", fontsize=6, alpha=0.9)


def _label(axis: Axes, x: float, y: float, words: str, **style) -> None:
    halo = [patheffects.withStroke(linewidth=2, foreground="#000000bb")]
    axis.text(x, y, words, transform=axis.transAxes, path_effects=halo, **style)


def _scale_bar(figure: Figure, axis: Axes) -> None:
    """A bar of a round length, at the figure's lower left, at the scale of its planes."""
    left, right = axis.get_xlim()
    box = axis.get_position()
    length = max((n for n in (1, 2, 5, 10, 20, 50, 100) if n <= (right - left) / 3), default=1)
    wide = box.width * length / (right - left)
    low = (FOOT_INCHES - 0.21) / figure.get_figheight()
    bar = figure.add_axes((box.x0, low, wide, 0.035 / figure.get_figheight()), facecolor=INK)
    bar.set(xticks=[], yticks=[])
    bar.spines[:].set_visible(False)
    figure.text(box.x0 + wide + 0.008, low, f"{length} mm", fontsize=7, va="center")


def _colour_bar(figure: Figure, colour_map: colors.Colormap, top: float, words: str, extend: str = "max") -> None:
    height = figure.get_figheight()
    axis = figure.add_axes((0.63, (FOOT_INCHES - 0.2) / height, 0.33, 0.075 / height))
    scale = cm.ScalarMappable(colors.Normalize(0, top), colour_map)
    bar = figure.colorbar(scale, cax=axis, orientation="horizontal", extend=extend, extendfrac=0.04)
    bar.outline.set_visible(False)
    bar.set_ticks([0, top / 2, top], labels=[number(v) for v in (0, top / 2, top)])
    axis.tick_params(colors=INK, labelsize=6.5, length=2, pad=1.5)
    figure.text(0.615, (FOOT_INCHES - 0.165) / height, words, ha="right", va="center", fontsize=7)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()
