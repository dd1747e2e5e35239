"""Which image is registered to which."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput
from TwinFusionLib.groups import links


def image(name: str, modality: str) -> Image:
    return Image(np.zeros((4, 4, 4)), Grid.isotropic((4, 4, 4)), modality, name=name)


def plan(reference, images, frames=None, direct=()):
    found = links(reference, images, frames or {}, direct)
    return [(x.frame, x.onto, x.fixed.name, [m.name for m in x.moving], x.carried) for x in found]


MR, T2, CT, PET, US = (image(n, m) for n, m in (("MR", "MR"), ("T2", "MR"), ("CT", "CT"), ("PET", "PT"), ("US", "US")))


def test_a_pet_rides_on_the_ct_that_shares_its_frame():
    frames = {"PET": "scanner", "CT": "scanner"}
    assert plan(MR, [PET, CT], frames) == [("scanner", "MR", "MR", ["CT"], ("PET", "CT"))]
    assert plan(PET, [CT, MR], frames) == [("MR", "scanner", "CT", ["MR"], ("MR",))]


def test_a_pet_goes_by_way_of_a_ct_with_a_frame_of_its_own():
    assert plan(MR, [PET, CT]) == [("CT", "MR", "MR", ["CT"], ("CT",)), ("PET", "CT", "CT", ["PET"], ("PET",))]


def test_without_a_ct_it_goes_straight():
    assert plan(MR, [PET]) == [("PET", "MR", "MR", ["PET"], ("PET",))]


def test_images_of_one_session_are_compared_together():
    assert plan(PET, [MR, T2], {"MR": "visit", "T2": "visit"}) == [("visit", "PET", "PET", ["MR", "T2"], ("MR", "T2"))]


def test_an_ultrasound_goes_by_way_of_the_mr():
    assert plan(PET, [US, MR])[-1][:2] == ("US", "MR")


def test_landmarks_lead_straight_to_the_reference_and_make_no_bridge():
    assert ("PET", "MR") in [entry[:2] for entry in plan(MR, [PET, CT], direct=["PET"])]
    assert [entry[:2] for entry in plan(PET, [MR, CT], direct=["CT"])] == [("CT", "PET"), ("MR", "PET")]


def test_nothing_is_registered_in_one_frame():
    assert plan(PET, [CT], {"PET": "scanner", "CT": "scanner"}) == []


def test_an_image_without_modality_is_named():
    with pytest.raises(InvalidInput, match="'map' does not say its modality"):
        links(MR, [image("map", "")], {})
