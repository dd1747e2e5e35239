"""Treatments and margins on a real glioblastoma: python Testing/benchmarks/glioma_treatments.py [--out PICTURE.png]

Patient of the data set glioma_growth (outlines on T1 with gadolinium and FLAIR, white and grey matter), D/rho
calibrated on the two outlines. Prints the tables that docs/models/tumour_growth.md quotes.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from TwinCore import Job, bounding_box
from TwinCore.volume_file import read_volume
from TwinSimulateLib import registry
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.treatment_text import parse_scenarios
from TwinSimulateLib.tumour_margins import compare_margins

SCENARIOS = (
    "none",
    "30 x 2 Gy from day 28",
    "30 x 2 Gy from day 56",
    "surgery day 0",
    "surgery day 0 + 30 x 2 Gy from day 28",
    "surgery day 0 + 30 x 2 Gy from day 28 + temozolomide",
)
DAYS = 270
MARGINS_MM = (10.0, 15.0, 20.0, 25.0)


def patient(folder: Path) -> tuple[Anatomy, float]:
    """The anatomy round the brain, and the volume on FLAIR in mL."""
    images = {name: read_volume(folder / f"{name}.nii.gz", "") for name in ("WM", "GM", "tumT1c", "tumFLAIR")}
    low, high = bounding_box((images["WM"].array > 0) | (images["GM"].array > 0) | (images["tumFLAIR"].array > 0))
    box, grid = tuple(slice(a, b) for a, b in zip(low, high)), images["WM"].grid.crop(low, high)
    tumour = np.isin(images["tumT1c"].array[box], (1, 4))
    flair = images["tumFLAIR"].array[box] > 0
    white, grey = images["WM"].array[box] > 0, images["GM"].array[box] > 0
    unknown = flair & ~white & ~grey  # the lesion is in neither mask: oedema spreads in white matter
    tissues = {"tumour": tumour, "white matter": white | unknown, "grey matter": grey & ~white}
    return Anatomy(grid, tissues), float(np.count_nonzero(flair | tumour) * grid.voxel_volume_ml)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = Path(os.environ.get("DIGITALTWIN_DATA", "")) / "glioma_growth"
    if not folder.is_dir():
        print("no glioma_growth: set DIGITALTWIN_DATA to the folder that holds it")
        return
    anatomy, flair_ml = patient(folder)
    model, job = registry.find("tumour_growth", "glioma"), Job()
    started = time.perf_counter()
    posterior = model.calibrate(anatomy, [Observation("volume", 0.0, flair_ml, 0.1, 0.16)], job)
    print(
        f"FLAIR {flair_ml:.1f} mL; D {posterior.map['diffusivity']:.3g}, rho {posterior.map['proliferation_rate']:.3g}"
    )
    margins = compare_margins(model, anatomy, posterior, MARGINS_MM, 0.0, job, members=options.members)
    show(margins.table)
    times = np.arange(0.0, DAYS + 1, 15.0)
    comparison = model.compare(anatomy, posterior, parse_scenarios(SCENARIOS), times, job, members=options.members)
    show(comparison.table)
    print(f"{time.perf_counter() - started:.0f} s", *sorted(set(job.warnings)), sep="\n")
    if options.out:
        picture(anatomy, comparison, margins, options.out)


def show(table) -> None:
    for n in range(table.rows):
        row = {name: values[n] for name, values in table.columns.items()}
        print("; ".join(f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()))


def picture(anatomy, comparison, margins, path: Path) -> None:
    tumour = anatomy.tissues["tumour"]
    k = int(tumour.sum(axis=(1, 2)).argmax())
    ground = 0.3 * anatomy.tissues["grey matter"][k] + 0.6 * anatomy.tissues["white matter"][k]
    kept = [name for name in comparison.predictions if not name.startswith("30 x 2 Gy from day") or "day 28" in name]
    shown = {name: comparison.predictions[name].fields["density"].array[k] for name in kept}
    figure, axes = plt.subplots(2, (len(shown) + 2) // 2, figsize=(15, 8.5), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, density) in zip(axes.flat, shown.items()):
        axis.imshow(ground, cmap="gray", vmin=0, vmax=1, origin="lower")
        seen = np.ma.masked_less(np.log10(np.maximum(density, 1e-12)), -4)
        drawn = axis.imshow(seen, cmap="inferno", vmin=-4, vmax=0, alpha=0.85, origin="lower")
        axis.contour(tumour[k], [0.5], colors="cyan", linewidths=1)
        axis.set_title(name.replace(" + ", "\n+ "), fontsize=9)
    figure.colorbar(drawn, ax=axes, label=f"log10 of the mean density at day {DAYS}", shrink=0.6)
    last = axes.flat[len(shown)]
    last.imshow(ground, cmap="gray", vmin=0, vmax=1, origin="lower")
    last.contour(tumour[k], [0.5], colors="cyan", linewidths=1)
    last.contour(margins.even[2].array[k], [0.5], colors="white", linewidths=1.2)
    last.contour(margins.model_based[2].array[k], [0.5], colors="orange", linewidths=1.2)
    last.set_title("margin of 20 mm (white) and model-based\none of its volume (orange)", fontsize=9)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
