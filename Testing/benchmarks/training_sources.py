"""What a labelled scan is worth beside images made of label maps: `make bench`.

    python training_sources.py                             # from nothing, at 4 and 3 mm
    python training_sources.py --steps 100 --built-in      # from the weights of the built-in model, at 2 mm

Two real T1 of heads are there: that of the test data and MNI152 (nilearn). Both are labelled by a pretrained MeshNet of
18 classes, which is another network's opinion and no truth. One is learnt from and the other judged on, then the other
way round: networks are trained on images of label maps, on the one scan, and on both, with the same steps and seed. The
data are found through DIGITALTWIN_DATA. Six trainings at half a second a step or more, at 2 mm two seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from pretrained import MERGED, meshnet
from registration_tools import print_table

from TwinCore import Image
from TwinCore.volume_file import read_volume
from TwinSegmentLib.generator import Recipe, read_recipe
from TwinSegmentLib.label_map_training import Plan, Stage
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import load_model
from TwinSegmentLib.networks.model import Model
from TwinSegmentLib.training import Schedule
from TwinSegmentLib.training_comparison import compare_sources

DATA = Path(os.environ.get("DIGITALTWIN_DATA", "../shared/data"))
MESHNET = "meshnet-model18cls"
HELD_OUT = 2


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=300, help="images that each network learns from")
    options.add_argument("--built-in", action="store_true", help="begin with the built-in model")
    args = options.parse_args()
    steps = args.steps
    try:
        from nilearn.datasets import load_mni152_template
    except ModuleNotFoundError:
        print("Left out: nilearn, with MNI152, is not installed.")
        return
    if not (DATA / "brain_labels").is_dir():
        print(f"Left out: there are no label maps in {DATA} (DIGITALTWIN_DATA).")
        return
    recipe, model = read_recipe("brain"), meshnet(DATA, MESHNET)
    heads = [read_volume(DATA / "brain_t1" / "t1_crop.nii.gz", "MR")]
    with tempfile.TemporaryDirectory() as folder:
        load_mni152_template(resolution=1).to_filename(Path(folder) / "mni.nii.gz")
        heads.append(read_volume(Path(folder) / "mni.nii.gz", "MR"))
    scans = [(head, labelled(model, head, recipe)) for head in heads]
    maps = [read_volume(path) for path in sorted((DATA / "brain_labels").glob("*.nii.gz"))[:-HELD_OUT]]
    stages = (Stage((48, 64, 48), 4.0, round(0.6 * steps)), Stage((64, 80, 64), 3.0, steps))
    plan, first = Plan(stages, schedule=Schedule(steps=steps, every=max(steps // 6, 1))), None
    if args.built_in:
        plan, first = Plan.refining(steps, every=steps), load_model(find_model("brain-anatomy")).weights
    for name, learnt, judged in (("the test data's T1", *scans), ("MNI152", *scans[::-1])):
        with tempfile.TemporaryDirectory() as folder:
            table = compare_sources(maps, [learnt], [judged], folder, plan, first)
        rows = [[row[0], *(f"{value:.2f}" for value in row[1:])] for row in zip(*table.columns.values())]
        print_table([f"Dice; the scan learnt from is {name}", *list(table.columns)[1:]], rows)


def labelled(model: Model, head: Image, recipe: Recipe) -> Image:
    """What the pretrained network sees in a head, in the recipe's numbers."""
    found = label(model, [head]).segmentation
    labels = np.zeros(head.grid.shape, np.uint16)
    for name in found.names:
        labels[found.mask(name)] = recipe.label(MERGED.get(name, name))
    return Image(labels, head.grid, name=f"labels of {head.name}")


if __name__ == "__main__":
    main()
