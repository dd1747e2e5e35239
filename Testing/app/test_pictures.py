"""Slice pictures: what is on the patient's right is on the screen's left, to scale, whatever the grid."""

import io

import matplotlib.image
import numpy as np
import pytest

from TwinApp import pictures, surface_view
from TwinApp.pictures import field_planes, fused_overlay, pair_planes, segmentation_planes
from TwinApp.planes import Placed, common_view, target_view, view_planes, whole_view
from TwinCore import Grid, Image, LinearTransform, Segmentation, resample

CENTRE = np.array([10.0, -20.0, 30.0])
LANDMARK = CENTRE + [24.0, 16.0, 8.0]  # to the patient's right, front and head
GRID = Grid.isotropic((60, 70, 80), 1.5, CENTRE - 1.5 * np.array([40, 35, 30]))


def ball(grid, centre, radius_mm):
    points = grid.to_ras(np.indices(grid.shape)[::-1].reshape(3, -1).T)
    return (np.linalg.norm(points - centre, axis=1) <= radius_mm).reshape(grid.shape)


def anatomy(grid=GRID, at=LANDMARK):
    return Image(100.0 * ball(grid, at, 5.0).astype(np.float32), grid, modality="MR", unit="1", name="T1")


def segmentation():
    masks = {"tumour": ball(GRID, CENTRE, 12.0), "tumour (T1)": ball(GRID, CENTRE + 2, 11.0)}
    return Segmentation.from_masks(GRID, {**masks, "body": ball(GRID, CENTRE, 40.0) & ~masks["tumour"]})


def turned(image, degrees):
    """The image stored on an oblique, flipped, anisotropic grid, and its move back to where it belongs."""
    a = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    turn[:3, 3] = [300.0, -50.0, 700.0]
    move = LinearTransform(turn).inverse()
    stored = np.diag([-1.2, 2.0, -1.6, 1.0])
    grid = Grid((80, 80, 120), stored)
    grid = Grid(grid.shape, LinearTransform(turn).matrix @ _around(CENTRE, grid))
    return resample(image, grid, LinearTransform(turn)), move


def _around(centre, grid):
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] += centre - grid.centre
    return matrix


def spot(plane, placed):
    """Where the brightest part lies on the plane, in mm to the right of and below the plane's middle."""
    values = np.nan_to_num(plane.sample(placed))
    rows, columns = np.nonzero(values > 0.5 * values.max())
    middle = (np.array(values.shape) - 1) / 2
    return np.array([columns.mean() - middle[1], rows.mean() - middle[0]])


@pytest.mark.parametrize("stored_elsewhere", [False, True])
@pytest.mark.parametrize(("name", "expected"), [("axial", (-24, -16)), ("coronal", (-24, -8)), ("sagittal", (-16, -8))])
def test_landmark_is_where_a_radiologist_expects_it(name, expected, stored_elsewhere):
    placed = Placed(*turned(anatomy(), 25)) if stored_elsewhere else Placed(anatomy())
    box = np.stack([CENTRE - 40, CENTRE + 40])
    # Planes through the landmark show it; their middle is still the centre of the box.
    (plane,) = view_planes(box, LANDMARK, [name])
    np.testing.assert_allclose(spot(plane, placed), expected, atol=0.8)


def test_letters_and_position():
    axial, coronal, sagittal = view_planes(np.stack([CENTRE - 40, CENTRE + 40]), CENTRE)
    assert (axial.letters, coronal.letters, sagittal.letters) == ("RLAP", "RLSI", "APSI")
    assert (axial.position, coronal.position, sagittal.position) == ("S 30 mm", "P 20 mm", "R 10 mm")
    assert axial.size_mm == (81, 81)


def test_values_on_a_plane_are_those_of_the_image():
    ramp = Image(GRID.to_ras(np.indices(GRID.shape)[::-1].reshape(3, -1).T)[:, 0].reshape(GRID.shape), GRID)
    (plane,) = view_planes(np.stack([CENTRE - 20, CENTRE + 20]), CENTRE, ["axial"])
    np.testing.assert_allclose(plane.sample(Placed(ramp))[5], CENTRE[0] + 20 - np.arange(41), atol=1e-4)


def test_beyond_the_image_there_is_nothing():
    (plane,) = view_planes(np.stack([CENTRE + 500, CENTRE + 520]), CENTRE + 510, ["axial"])
    assert np.isnan(plane.sample(Placed(anatomy()))).all()


def test_a_long_scan_is_shown_around_the_target():
    grid = Grid.isotropic((400, 20, 20), 4.0)
    mask = np.zeros(grid.shape, bool)
    mask[300:303, 9:12, 9:12] = True
    box, point = whole_view(
        Placed(Image(np.zeros(grid.shape), grid)), Segmentation.from_masks(grid, {"tumour": mask}), "tumour"
    )
    np.testing.assert_allclose(box[1, 2] - box[0, 2], 1.25 * 76)
    assert box[0, 2] < point[2] < box[1, 2]


def test_target_view_keeps_to_the_grid():
    box, point = target_view(segmentation(), "tumour", 1000.0)
    np.testing.assert_allclose(box, [GRID.corners().min(0), GRID.corners().max(0)])
    np.testing.assert_allclose(point, CENTRE, atol=0.1)


def pixels(picture):
    return matplotlib.image.imread(io.BytesIO(picture.png))[..., :3]


def test_pet_lies_over_the_anatomy_on_the_right_side_of_the_picture():
    uptake = Image(8.0 * ball(GRID, CENTRE + [8, 0, 0], 4.0).astype(np.float32), GRID, "PT", "g/mL", name="PET")
    picture = fused_overlay(Placed(anatomy()), Placed(*turned(uptake, -20)), segmentation(), "tumour")
    image = pixels(picture)
    red = (image[..., 0] - image[..., 2] > 0.35)[: int(0.75 * len(image)), : image.shape[1] // 3]
    tumour = (np.abs(image - np.array([63, 224, 255]) / 255).max(-1) < 0.1)[: len(red), : red.shape[1]]
    assert red.any()
    assert np.nonzero(red)[1].mean() < np.nonzero(tumour)[1].mean() - 10
    assert [key.text for key in picture.legend] == ["tumour", "tumour (T1)"]
    assert [key.style for key in picture.legend] == ["solid", "dashed"]


def test_segments_have_their_volumes_in_the_legend():
    anatomical = segmentation()
    picture = segmentation_planes(Placed(anatomy()), anatomical, "tumour")
    assert picture.legend[0].text == f"tumour, {anatomical.volume_ml('tumour'):.3g}\u00a0mL"
    assert {key.style for key in picture.legend} == {"fill", "dashed"}


def test_fields_and_every_picture_are_the_same_twice():
    fields = {
        name: Image(ball(GRID, CENTRE, r).astype(np.float32), GRID) for name, r in (("none", 20), ("5 x 6 Gy", 0.1))
    }
    for draw in (
        lambda: field_planes(Placed(anatomy()), fields, segmentation(), "tumour"),
        lambda: fused_overlay(Placed(anatomy()), None, segmentation(), "tumour"),
    ):
        first = draw()
        assert first.png == draw().png
        assert first.alt


def coloured(picture):
    """How far the pixels of the lowest row, the blend, are from grey on average."""
    shown = pixels(picture)[2 * len(pixels(picture)) // 3 :, :, :3]
    return float(np.ptp(shown, axis=2).mean())


def test_a_pair_that_fits_is_grey_and_one_that_does_not_is_not():
    blob = ball(GRID, CENTRE, 20.0) * 60.0 + anatomy().array
    image = anatomy().with_array(blob)
    elsewhere, back = turned(image, 20)
    shift = np.eye(4)
    shift[0, 3] = 15.0
    right = pair_planes(Placed(image), Placed(elsewhere, back), GRID)
    wrong = pair_planes(Placed(image), Placed(elsewhere, back.then(LinearTransform(shift))), GRID)
    assert coloured(right) < 0.3 * coloured(wrong)
    assert right.alt.endswith("chequerboard, edges and blend of T1 and T1.")


def test_a_ct_has_its_window_in_hounsfield_units_and_another_what_its_values_span():
    (plane,) = view_planes(np.stack([CENTRE - 30, CENTRE + 30]), CENTRE, ["axial"])
    body = np.where(ball(GRID, CENTRE, 20.0), 40.0, -1000.0)
    for offset, unit in ((0.0, "[hnsf'U]"), (1024.0, "1")):
        [grey] = pictures._greys([plane], Placed(Image(body + offset, GRID, "CT", unit)))
        assert grey.min() == 0
        assert 0.5 < grey.max() <= 1
    [white] = pictures._greys([plane], Placed(Image(body + 1e6, GRID, "CT", "[hnsf'U]")))
    assert white.min() == 1


@pytest.mark.parametrize("shift_mm", [0.0, 15.0])
def test_edges_of_the_fixed_image_lie_over_the_moved_one(shift_mm):
    image = anatomy().with_array(60.0 * ball(GRID, CENTRE, 20.0))
    shift = np.eye(4)
    shift[0, 3] = -shift_mm  # to the patient's left, the picture's right
    picture = pair_planes(Placed(image), Placed(image, LinearTransform(shift)), GRID)
    shown = pixels(picture)
    height, width = shown.shape[0] // 3, shown.shape[1] // 3
    axial = shown[height : height + int(0.95 * height), : int(0.9 * width)]
    yellow = (axial[..., 0] > 0.7) & (axial[..., 1] > 0.55) & (axial[..., 2] < 0.45)
    white = axial.min(-1) > 0.95
    edge, moved = (np.argwhere(where).mean(0) for where in (yellow, white))
    per_mm = np.ptp(np.nonzero(white.sum(0) > 20)[0]) / 40  # the moved ball is 40 mm wide
    np.testing.assert_allclose((moved - edge) / per_mm, (0, shift_mm), atol=1.5)
    assert picture.legend[0].text == "edges of T1"


def test_the_common_view_is_what_both_show():
    half = anatomy().crop((0, 0, 0), (60, 70, 40))
    box = common_view(Placed(anatomy()), Placed(half), GRID)
    corners = half.grid.corners()
    np.testing.assert_allclose(box, [corners.min(0), corners.max(0)], atol=1.5 * 79 / 24)
    far = np.eye(4)
    far[2, 3] = 900.0
    nowhere = common_view(Placed(anatomy()), Placed(half, LinearTransform(far)), GRID)
    np.testing.assert_allclose(nowhere, [GRID.corners().min(0), GRID.corners().max(0)])


@pytest.mark.parametrize("probe", ["import os; os.abort()", "raise SystemExit(1)"])
def test_a_process_killed_by_rendering_is_survived(monkeypatch, probe):
    monkeypatch.setattr(surface_view, "PROBE", probe)
    monkeypatch.setattr(surface_view, "can_render", surface_view.can_render.__wrapped__)
    assert surface_view.render_surfaces(segmentation(), "tumour") is None


def test_surfaces_are_seen_from_the_front():
    if not surface_view.can_render():
        pytest.skip("no GL library that renders off-screen (OSMesa or EGL)")
    side = Segmentation.from_masks(GRID, {"tumour": ball(GRID, LANDMARK, 10.0), "body": ball(GRID, CENTRE, 44.0)})
    png = surface_view.render_surfaces(side, "tumour")
    image = matplotlib.image.imread(io.BytesIO(png))[..., :3]
    orange = (image[..., 0] > 0.5) & (image[..., 2] < 0.3)
    rows, columns = np.nonzero(orange)
    assert columns.mean() < 0.45 * image.shape[1]
    assert rows.mean() < 0.5 * image.shape[0]
    assert png == surface_view.render_surfaces(side, "tumour")
