"""The picture of a plan: cumulative dose-volume histograms of its structures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from TwinSimulateLib.dose_volume import DoseVolume

from .charts import COLOURS
from .wording import plain

STYLE = {**matplotlib.rcParamsDefault, "font.family": "DejaVu Sans", "font.size": 8, "text.parse_math": False}
DASHES = ("-", "--", ":", "-.")


def draw_histograms(
    histograms: Mapping[str, DoseVolume], dose_gy: np.ndarray, path: Path, prescribed_gy: float | None = None
) -> None:
    """Write the cumulative histograms as a PNG: a line a structure, and the prescription where it is known."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((8.0, 4.6), dpi=150, layout="constrained")
        axis = figure.subplots()
        for n, (name, histogram) in enumerate(histograms.items()):
            style = {"color": COLOURS[n % len(COLOURS)], "ls": DASHES[n // len(COLOURS) % len(DASHES)], "lw": 1.4}
            axis.plot(dose_gy, histogram.cumulative(dose_gy), label=plain(name, 40), **style)
        if prescribed_gy:
            axis.axvline(prescribed_gy, color="0.4", lw=0.8, ls=":", label=f"prescribed {prescribed_gy:g} Gy")
        axis.set(xlabel="dose (Gy)", ylabel="volume with that dose or more (%)", ylim=(0, 101))
        axis.set_xlim(0, float(dose_gy[-1]))
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
