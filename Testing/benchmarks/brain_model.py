"""How good the built-in brain model is: `make bench`.

    python brain_model.py [model]

On label maps that it was not trained on, rendered at 1 mm in usual contrasts with noise, receive field and slices at
random: Dice by structure and contrast. On the real T1 of the test data: Dice against the labels of a pretrained MeshNet
of 18 classes, which is another network's opinion and no truth. The data are found through DIGITALTWIN_DATA.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from pretrained import MERGED, meshnet
from registration_tools import print_table

from TwinCore import Grid, Image, Segmentation
from TwinCore.volume_file import read_volume
from TwinSegmentLib.generator import Synthesiser, read_recipe
from TwinSegmentLib.measure import dice
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import load_model
from TwinSegmentLib.networks.model import Model

DATA = Path(os.environ.get("DIGITALTWIN_DATA", "../shared/data"))
CONTRASTS = ("T1", "T2", "FLAIR", "CT")
HELD_OUT, RENDERINGS, SHAPE = 2, 2, (208, 240, 208)
MESHNET = "meshnet-model30chan18cls"


def main(name: str = "brain-anatomy") -> None:
    if not (DATA / "brain_labels").is_dir():
        print(f"Left out: there are no label maps in {DATA} (DIGITALTWIN_DATA).")
        return
    model = load_model(find_model(name))
    scores = {contrast: rendered(model, contrast) for contrast in CONTRASTS}
    scores["real T1"], seconds = beside_meshnet(model)
    names = [one.name for one in model.labels[1:]]
    rows = [[n, *(_two(scores[column].get(n)) for column in scores)] for n in names]
    rows.append(["mean", *(_two(np.mean(list(scores[column].values()))) for column in scores)])
    print_table([f"Dice of {name}", *scores], rows)
    print(f"The real T1 took {seconds:.1f} s. Its column is agreement with {MESHNET}, not truth.")


def rendered(model: Model, contrast: str) -> Mapping[str, float]:
    """Mean Dice of each structure over renderings of the label maps that were held out."""
    recipe = read_recipe("brain")
    paths = sorted((DATA / "brain_labels").glob("*.nii.gz"))[-HELD_OUT:]
    found: dict[str, list[float]] = {}
    for path in paths:
        make = Synthesiser(recipe, [read_volume(path)], SHAPE, 1.0, {contrast: 1.0})
        for seed in range(RENDERINGS):
            sample = make((4, seed))
            grid = Grid.isotropic(SHAPE, 1.0)
            image = Image(sample.image, grid, "MR", name=contrast)
            answer = label(model, [image]).segmentation
            for number, name in enumerate(recipe.classes[1:], 1):
                truth = sample.classes == number
                if truth.any():
                    found.setdefault(name, []).append(_dice(answer, name, truth))
    return {name: float(np.mean(values)) for name, values in found.items()}


def beside_meshnet(model: Model) -> tuple[Mapping[str, float], float]:
    """Dice of each structure that both networks have, on a real T1, and the seconds that ours took."""
    t1 = read_volume(DATA / "brain_t1" / "t1_crop.nii.gz", "MR")
    start = time.perf_counter()
    ours = label(model, [t1]).segmentation
    seconds = time.perf_counter() - start
    theirs = meshnet(DATA, MESHNET)
    other = label(theirs, [t1]).segmentation
    masks: dict[str, np.ndarray] = {}
    for name in other.names:
        into = MERGED.get(name, name)
        masks[into] = masks.get(into, False) | other.mask(name)
    return {name: _dice(ours, name, mask) for name, mask in masks.items() if name in ours.names}, seconds


def _dice(answer: Segmentation, name: str, truth: np.ndarray) -> float:
    return dice(answer.mask(name), truth) if name in answer.names else 0.0


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
