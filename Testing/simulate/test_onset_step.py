"""The onset on a twin in a real scene: what it reads, what it leaves there."""

from __future__ import annotations

import numpy as np
import pytest
from glioma_brains import TRUTH, brain, with_tumour
from scipy.ndimage import gaussian_filter

from TwinCore import Grid, Image, InvalidInput, MissingInput, MissingPackage, Segmentation, resample
from TwinCore.scene import Twin, execute, new_scene, node_to_image, node_to_table
from TwinSimulateLib.onset_step import OnsetStep
from TwinSimulateLib.radiotherapy import NO_TREATMENT


def test_a_fitted_tumour_is_left_in_the_scene():
    try:
        scene = new_scene()
    except MissingPackage as error:
        pytest.skip(str(error))
    twin, patient = Twin.create("Virtual", scene), with_tumour(brain(), TRUTH)
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(patient.grid, _apart(patient.tissues)), "Anatomy")
    chosen = {"members": 4, "horizon_days": 10, "scenarios": [NO_TREATMENT]}
    with pytest.raises(MissingInput, match="oedema"):
        execute(twin, OnsetStep("glioma", segments={"flair": "oedema"}, **chosen))
    with pytest.raises(InvalidInput, match="one day alone"):
        execute(twin, OnsetStep("glioma", margins_mm=[10.0], **chosen))
    done = execute(twin, OnsetStep("glioma", images={"pet": _pet(patient)}, **chosen))
    assert done.results["origin_r"].value == pytest.approx(TRUTH["origin_r"], abs=2.0)
    assert done.results["predicted_volume_ml, none"].value > 0
    assert done.results["pet_correlation"].value > 0
    fields = {node_to_image(node).name for node in twin.nodes("field")}
    assert {"density from the onset", "probability of a tenth"} <= fields
    assert [len(twin.nodes(role)) for role in ("plot", "sequence")] == [1, 2]
    assert {"Onset", "Scenarios"} <= {node_to_table(node).name for node in twin.nodes("table")}


def _pet(patient):
    """Brighter towards the middle of the tumour, on voxels of its own."""
    activity = gaussian_filter(patient.tissue("tumour").astype(np.float32), 4)
    coarse = Grid(tuple(n // 2 for n in patient.grid.shape), patient.grid.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0]))
    return resample(Image(activity, patient.grid, "PT"), coarse)


def _apart(tissues):
    """Segments that do not overlap, as a segmentation of one label map has them: the tumour taken out of the others."""
    tumour = tissues["tumour"]
    return {"tumour": tumour, **{name: mask & ~tumour for name, mask in tissues.items() if name != "tumour"}}
