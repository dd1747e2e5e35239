"""How well the built-in brain model does: `make bench`.

On renderings of whole heads at 1 mm in every usual contrast, of the two label maps that it was not trained on; on the
MNI152 T1 against its own maps of grey and white matter; and on a real T1 beside the pretrained MeshNet, which was made
for T1 alone. Label maps, the T1 and the MeshNet are looked for in DIGITALTWIN_DATA; MNI152 comes with nilearn.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from registration_tools import print_table

from TwinCore import Grid, Image
from TwinCore.volume_file import read_volume
from TwinSegmentLib.built_in import HELD_OUT_KINDS
from TwinSegmentLib.generator import Synthesiser, read_recipe
from TwinSegmentLib.measure import dice
from TwinSegmentLib.models.catalogue import CACHE_VARIABLE, find_model
from TwinSegmentLib.models.load import load_model

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DIGITALTWIN_DATA", ROOT / "../shared/data")).resolve()
HELD_OUT = ("synthseg_training_seg_18.nii.gz", "synthseg_training_seg_19.nii.gz")
SHAPE = (208, 224, 192)
PEER = "meshnet-model30chan18cls"


def main() -> None:
    model = load_model(find_model("brain"))
    if (DATA / "brain_labels").is_dir():
        on_renderings(model)
    else:
        print(f"Left out: no brain_labels in {DATA}.")
    on_mni(model)
    if (DATA / "brain_t1").is_dir():
        beside_meshnet(model)


def labels_of(model, image: Image) -> tuple[np.ndarray, float]:
    begin = time.perf_counter()
    labels, _ = model.probabilities([image]).onto(image.grid)
    return labels, time.perf_counter() - begin


def on_renderings(model) -> None:
    """Dice of every class by contrast, mean of two heads."""
    recipe = read_recipe("brain")
    maps = [read_volume(DATA / "brain_labels" / name) for name in HELD_OUT]
    rows = {name: [name] for name in recipe.classes[1:]}
    means, seconds = ["**mean**"], []
    for kind in HELD_OUT_KINDS:
        scores: dict[str, list[float]] = {name: [] for name in rows}
        for number, label_map in enumerate(maps):
            sample = Synthesiser(recipe, [label_map], SHAPE, 1.0, {kind: 1.0})((4, number))
            found, spent = labels_of(model, Image(sample.image, Grid.isotropic(SHAPE, 1.0), "MR", name=kind))
            seconds.append(spent)
            for value, name in enumerate(recipe.classes[1:], 1):
                if (sample.classes == value).any():
                    scores[name].append(dice(found == value, sample.classes == value))
        for name, values in scores.items():
            rows[name].append(f"{np.mean(values):.3f}" if values else "-")
        means.append(f"**{np.mean([np.mean(v) for v in scores.values() if v]):.3f}**")
    print(f"## Renderings of two heads that were not trained on, 1 mm; {np.median(seconds):.1f} s each\n")
    print_table(["class", *HELD_OUT_KINDS], [*rows.values(), means])


def on_mni(model) -> None:
    """Grey and white matter of MNI152 against its maps."""
    from TwinApp.virtual_patient import brain_maps

    maps = brain_maps()
    labels, seconds = labels_of(model, maps["t1"])
    names = [one.name for one in model.labels]
    white = np.isin(labels, [names.index(n) for n in names if "white matter" in n or n == "brain stem"])
    deep = ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala", "accumbens")
    grey = np.isin(labels, [names.index(n) for n in names if "cortex" in n or n in deep])
    print(f"## MNI152 T1, without skull, against its own maps ({seconds:.1f} s)\n")
    rows = [
        [name, f"{dice(found, maps[short].array > 0.5):.3f}"]
        for name, short, found in (("white matter", "wm", white), ("grey matter", "gm", grey))
    ]
    print_table(["tissue", "Dice"], rows)


def beside_meshnet(model) -> None:
    """Agreement with the pretrained MeshNet on a real T1, by structures that both have."""
    t1 = read_volume(DATA / "brain_t1/t1_crop.nii.gz", "MR")
    with tempfile.TemporaryDirectory() as cache:
        os.environ[CACHE_VARIABLE] = cache
        shutil.copytree(DATA / "weights_brainchop" / PEER.removeprefix("meshnet-"), Path(cache) / PEER)
        peer = load_model(find_model(PEER))
    theirs, their_s = labels_of(peer, t1)
    ours, our_s = labels_of(model, t1)
    names, others = ([one.name for one in m.labels] for m in (model, peer))
    rows = []
    for name in names[1:]:
        if name in others:
            wanted = {name} | ({"inferior lateral ventricle"} if name == "lateral ventricle" else set())
            peers = np.isin(theirs, [others.index(n) for n in wanted if n in others])
            own = ours == names.index(name)
            volumes = [f"{mask.sum() * t1.grid.voxel_volume_ml:.1f}" for mask in (own, peers)]
            rows.append([name, *volumes, f"{dice(own, peers):.3f}"])
    print(f"## A real T1 beside {PEER} ({our_s:.1f} s and {their_s:.1f} s): volumes in mL, and their overlap\n")
    print_table(["structure", "ours", "MeshNet", "Dice of the two"], rows)


if __name__ == "__main__":
    main()
