"""The preview of a growing tumour: as the model has it, within what a coarse grid costs; the same when asked again."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput, Job, JobCancelled, MissingInput
from TwinSimulateLib import registry
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.preview import KEPT, Preview
from TwinSimulateLib.radiotherapy import NO_TREATMENT, Schedule
from TwinSimulateLib.tumour_growth import TumourGrowth

DAY = 45.0


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """A ball of 12 mm radius in one tissue, on a grid of 2 mm."""
    grid = Grid.isotropic((40, 40, 40), 2.0)
    far = np.sqrt((((np.indices(grid.shape) - 19.5) * 2.0) ** 2).sum(0))
    return Anatomy(grid, {"tumour": far < 12, "soft tissue": far >= 12})


@pytest.fixture(scope="module")
def preview(anatomy) -> Preview:
    return registry.preview_of("tumour_growth")("soft-tissue sarcoma", anatomy)


@pytest.mark.parametrize("treatment", [NO_TREATMENT, Schedule.of(5, 2.0)])
def test_the_coarse_answer_is_near_the_exact_one_which_is_the_model_s(preview, anatomy, treatment):
    values = {"diffusivity": 0.08}
    quick, exact = (ask(values, DAY, treatment) for ask in (preview.at, preview.exactly))
    own = TumourGrowth("soft-tissue sarcoma").simulate(anatomy, values, [0.0, DAY], Job(), treatment)
    assert exact.volume_ml == pytest.approx(own.numbers["volume"].value, rel=1e-6)
    assert quick.volume_ml == pytest.approx(exact.volume_ml, rel=0.05)
    assert (quick.spacing_mm, exact.spacing_mm) == (3.0, pytest.approx(own_spacing(exact)))
    assert quick.density.array.max() <= 1.0
    assert quick.density.time == DAY


def own_spacing(glimpse) -> float:
    return float(glimpse.density.grid.spacing.max())


def test_it_grows_with_time_and_rate_and_starts_at_the_outline(preview):
    volumes = [preview.at({}, day, NO_TREATMENT).volume_ml for day in (0.0, 30.0, 60.0)]
    assert volumes == sorted(volumes)
    assert volumes[0] == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.08)  # voxels of 2 mm and 3 mm
    assert preview.at({"proliferation_rate": 0.04}, 30.0, NO_TREATMENT).volume_ml > volumes[1]


def test_the_same_question_has_the_same_answer_and_few_boxes_are_kept(preview):
    first = preview.at({}, DAY, NO_TREATMENT)
    for rate in (0.01, 0.05, 0.1, 0.2, 0.4):
        preview.at({"proliferation_rate": rate}, DAY, NO_TREATMENT)
    assert len(preview._stages) <= KEPT
    again = preview.at({}, DAY, NO_TREATMENT)
    np.testing.assert_array_equal(first.density.array, again.density.array)


def test_what_cannot_be_is_told(preview, anatomy):
    with pytest.raises(InvalidInput, match="diffusivity"):
        preview.at({"diffusivity": 99.0}, DAY, NO_TREATMENT)
    with pytest.raises(MissingInput, match="white matter"):
        Preview("glioma", anatomy).at({}, DAY, NO_TREATMENT)
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        preview.at({}, DAY, NO_TREATMENT, job)
