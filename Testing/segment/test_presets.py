"""Anatomy without any network: on phantoms whose truth is known, and on patients."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinCore.units import HOUNSFIELD
from TwinCore.volume_file import read_volume
from TwinSegmentLib.measure import dice
from TwinSegmentLib.presets.ct import PRESETS, ct_tissues
from TwinSegmentLib.presets.left_ventricle import left_ventricle
from TwinSegmentLib.presets.polar_wall import Search, find_wall
from TwinSegmentLib.presets.tube import tube


@pytest.fixture(scope="module")
def torso() -> tuple[Image, dict[str, np.ndarray]]:
    """A chest of 3 mm voxels: fat round muscle, two lungs with vessels, a trachea that divides, a spine and a table."""
    grid = Grid.isotropic((70, 80, 110), 3.0)
    k, j, i = np.indices(grid.shape)
    rng = np.random.default_rng(0)

    def ellipse(cj, ci, rj, ri):
        return ((j - cj) / rj) ** 2 + ((i - ci) / ri) ** 2 < 1

    body, inner = ellipse(42, 54, 30, 46), ellipse(42, 54, 26, 42)
    lungs = (ellipse(42, 33, 16, 13) | ellipse(42, 76, 16, 13)) & (k > 8) & (k < 60)
    vessels = lungs & ((j - 42) % 9 == 0) & ((i - 54) % 7 == 0)
    trachea = ellipse(36, 54, 3, 3) & (k > 35)
    bronchi = ellipse(36, 54, 3, 12) & (k > 33) & (k <= 36)
    spine, marrow = ellipse(62, 54, 6, 7), ellipse(62, 54, 4, 5)
    table = (j > 76) & (j < 78)
    hounsfield = np.full(grid.shape, -1000.0)
    for mask, value in (
        (body, -100),
        (inner, 50),
        (lungs, -800),
        (vessels, 40),
        (trachea | bronchi, -990),
        (spine, 400),
        (marrow, 180),
        (table, 200),
    ):
        hounsfield[mask] = value
    hounsfield += rng.normal(0, 10, grid.shape)
    truth = {"body": body, "lung": lungs & ~bronchi & ~trachea, "airway": trachea | bronchi, "bone": spine}
    truth["fat"] = body & ~inner
    return Image(hounsfield.astype(np.float32), grid, "CT", HOUNSFIELD, name="torso"), truth


def test_the_tissues_of_a_torso(torso):
    ct, truth = torso
    found = ct_tissues(ct)
    assert set(found) == set(PRESETS)
    for name, least in {"body": 0.98, "lung": 0.97, "airway": 0.9, "bone": 0.95, "fat": 0.9}.items():
        assert dice(found[name], truth[name]) > least, name
    assert not (found["lung"] & found["airway"]).any()
    assert not (found["body"] & (np.indices(ct.array.shape)[1] > 76)).any()  # the table


def test_the_head_may_be_at_either_end(torso):
    ct, truth = torso
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    turned = Image(ct.array[::-1].copy(), Grid(ct.grid.shape, ct.grid.ijk_to_ras @ flip), "CT", HOUNSFIELD, name="t")
    assert dice(ct_tissues(turned)["airway"][::-1], truth["airway"]) > 0.9


def test_what_is_no_ct_is_refused(torso):
    ct, _ = torso
    with pytest.raises(InvalidInput, match="'torso' is MR in '1': these presets need a CT"):
        ct_tissues(Image(ct.array, ct.grid, "MR", name="torso"))


def test_tissues_of_a_patient(data):
    """Abdomen: lung bases and bone against the labels of another model; everything labelled is inside the body."""
    ct = read_volume(data("ct_totalseg") / "example_ct.nii.gz", "CT", HOUNSFIELD)
    labels = read_volume(data("ct_totalseg") / "example_seg_fast_force_split.nii.gz").array.astype(int)
    bones = [*range(25, 51), *range(69, 79), 91, *range(92, 117)]
    found = ct_tissues(ct)
    assert dice(found["lung"], np.isin(labels, range(10, 15))) > 0.94
    assert dice(found["bone"], np.isin(labels, bones)) > 0.87
    assert found["body"][labels > 0].mean() > 0.999
    assert "airway" not in found  # the trachea is above the image; gas in the bowel is none


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_wall_is_found_to_a_fraction_of_a_voxel(sign):
    """An ellipse of radii 20 and 14 mm with anisotropic pixels, seen from a point 5 mm off its middle, with noise."""
    pixel = np.array([1.2, 0.9])
    j, i = np.indices((80, 70))
    inside = ((i * pixel[0] - 40) / 20) ** 2 + ((j * pixel[1] - 36) / 14) ** 2 < 1
    plane = sign * inside + np.random.default_rng(0).normal(0, 0.1, inside.shape)
    search = Search(nearest_mm=4, farthest_mm=35, step_mm=0.5, side_mm=3)
    wall = find_wall(plane.astype(np.float32), np.array([43, 36]) / pixel, pixel, search, sign)
    assert dice(wall.inside(inside.shape, pixel), inside) > 0.97
    np.testing.assert_allclose(wall.centre * pixel, [40, 36], atol=0.5)


def beating(radii, shape=(6, 64, 64)) -> list[Image]:
    """A blood pool (bright) in a thick wall, of these radii in mm over time, with a papillary muscle in it."""
    matrix = np.diag([1.5, 1.5, 8.0, 1.0])
    grid = Grid(shape, matrix)
    _, j, i = np.indices(shape)
    images = []
    for time, radius in enumerate(radii):
        distance = np.hypot(i * 1.5 - 48, j * 1.5 - 48)
        papillary = np.hypot(i * 1.5 - 48 - 0.6 * radius, j * 1.5 - 48) < 2.5
        array = np.where(distance < radius, np.where(papillary, 100, 300), np.where(distance < radius + 11, 100, 180))
        noise = np.random.default_rng(time).normal(0, 8, shape)
        images.append(Image((array + noise).astype(np.float32), grid, "MR", name="cine"))
    return images


def test_a_beating_ventricle_has_its_volumes_and_ejection_fraction():
    radii = 22 - 5 * np.sin(np.pi * np.arange(8) / 8) ** 2
    cine = beating(radii)
    found = left_ventricle(cine, [48, 48, 32], [48, 48, 8], clicked=0)
    true = np.pi * radii**2 * 4 * 8 / 1000  # four slices of 8 mm
    np.testing.assert_allclose(found.volumes_ml, true, rtol=0.09)
    assert (found.end_diastole, found.end_systole) == (0, 4)
    assert found.ejection_fraction == pytest.approx(1 - (17 / 22) ** 2, abs=0.04)
    assert not found.masks[0][[0, 5]].any()


def test_clicks_that_cannot_be_are_refused_and_a_run_can_be_cancelled():
    cine = beating([20, 18, 20])
    with pytest.raises(InvalidInput, match="lies outside 'cine'"):
        left_ventricle(cine, [48, 48, 200], [48, 48, 8])
    with pytest.raises(InvalidInput, match="in one slice"):
        left_ventricle(cine, [48, 48, 16], [50, 48, 17])
    with pytest.raises(InvalidInput, match="two times or more"):
        left_ventricle(cine[:1], [48, 48, 32], [48, 48, 8])
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        left_ventricle(cine, [48, 48, 32], [48, 48, 8], job=job)


@pytest.mark.parametrize("patient", ["SC-HF-I-1", "SC-HF-I-2"])
def test_the_left_ventricle_of_a_patient(data, patient):
    """Two clicks in the middle of the cavity: Dice of at least 0.85 at both ends of the cycle, EF within 5 points."""
    folder = data("cardiac_sunnybrook") / patient
    series = sitk.ReadImage(str(folder / "cine_4d.nii.gz"))
    reference = json.loads((folder / "reference.json").read_text())
    expert = {name: read_volume(folder / f"label_{name}.nii.gz") for name in ("ED", "ES")}
    arrays = sitk.GetArrayFromImage(series)
    grid = expert["ED"].grid
    cine = [Image(array.astype(np.float32), grid, "MR", name="cine") for array in arrays]
    cavity = expert["ED"].array == 1
    slices = np.flatnonzero(cavity.any((1, 2)))
    base, apex = (grid.to_ras([*np.argwhere(cavity[z]).mean(0)[::-1], z]) for z in (slices[-1], slices[0]))
    found = left_ventricle(cine, base, apex, clicked=reference["ed_frame"])
    assert dice(found.masks[reference["ed_frame"]], cavity) >= 0.85
    assert dice(found.masks[reference["es_frame"]], expert["ES"].array == 1) >= 0.85
    assert 100 * found.ejection_fraction == pytest.approx(reference["ef_pct"], abs=5)


def test_a_bent_tube_is_followed():
    """A tube of 5 mm radius whose middle bends by 8 mm, brighter and darker than what is round it."""
    grid = Grid(shape := (30, 60, 60), np.diag([0.8, 0.8, 2.0, 1.0]))
    k, j, i = np.indices(shape)
    middle = 24 + 8 * np.sin(np.pi * k / 29)
    inside = np.hypot(i * 0.8 - middle, j * 0.8 - 24) < 5
    for sign in (1, -1):
        array = 100 + 40 * sign * inside + np.random.default_rng(0).normal(0, 5, shape)
        image = Image(array.astype(np.float32), grid, "MR", name="tube")
        found = tube(image, [24, 24, 0], [24, 24, 58])
        assert dice(found, inside) > 0.9


def test_the_spinal_cord_of_a_patient(data):
    """From two clicks in its middle, against the manual outline."""
    t2 = read_volume(data("cord_sct") / "t2_t2.nii.gz", "MR")
    cord = read_volume(data("cord_sct") / "t2_t2_seg-manual.nii.gz").array > 0
    places = np.argwhere(cord)[:, ::-1]
    axis = int(np.ptp(places, axis=0).argmax())
    ends = [places[places[:, axis] == end].mean(0) for end in (places[:, axis].min(), places[:, axis].max())]
    assert dice(tube(t2, *t2.grid.to_ras(np.array(ends))), cord) > 0.94
    with pytest.raises(InvalidInput, match="in one plane"):
        tube(t2, t2.grid.to_ras(ends[0]), t2.grid.to_ras(ends[0]))
