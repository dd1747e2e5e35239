"""PET as SUV: the rules, the refusals, and a published SUV image."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.fusion.dicom_files import pet_slices, save, slices
from TwinCore import InvalidInput, MissingInput
from TwinCore.volume_file import read_volume
from TwinFusionLib.body_size import body_size
from TwinFusionLib.dicom_series import read_series
from TwinFusionLib.pet_decay import nuclide, scan_start
from TwinFusionLib.suv import read_pet_suv, suv_factor, to_suv

DOSE, HALF_LIFE, GRAMS = 3.5e8, 6586.2, 70_000.0


def expected(delay_s: float) -> float:
    return GRAMS / (DOSE * 2.0 ** (-delay_s / HALF_LIFE))


def changed(**values):
    """A PET whose slices have these tags; those of the radiopharmaceutical go into its sequence."""
    made = pet_slices()
    for d in made:
        for key, value in values.items():
            inner = key.startswith("Radio") and not key.endswith("Sequence")
            setattr(d.RadiopharmaceuticalInformationSequence[0] if inner else d, key, value)
    return made


def test_start_correction_decays_the_dose_to_the_series_time(tmp_path):
    folder = save(tmp_path / "pet", pet_slices())
    image, activity = read_pet_suv(folder), read_series(folder).image
    np.testing.assert_allclose(suv_factor(read_series(folder).headers), expected(3600))
    np.testing.assert_allclose(image.array, activity.array * expected(3600), rtol=1e-6)
    assert (image.unit, image.modality, image.name) == ("g/mL", "PT", "SUVbw")


def test_admin_correction_leaves_the_dose():
    np.testing.assert_allclose(suv_factor(changed(DecayCorrection="ADMIN")), expected(0))


def test_acquisition_after_the_series_time_does_not_count():
    np.testing.assert_allclose(suv_factor(changed(AcquisitionTime="113000")), expected(3600))


def test_series_stored_after_the_scan():
    made = changed(SeriesTime="150000")
    np.testing.assert_allclose(suv_factor(made), expected(3600))
    assert scan_start(made).isoformat() == "2020-03-05T11:00:00"
    for d in made:
        d.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20200305105000.00")
    np.testing.assert_allclose(suv_factor(made), expected(3000))


def test_scan_after_midnight():
    late = {"SeriesTime": "003000", "AcquisitionTime": "003000"}
    np.testing.assert_allclose(suv_factor(changed(**late, RadiopharmaceuticalStartTime="233000")), expected(3600))
    dated = changed(**late, RadiopharmaceuticalStartTime="233000", RadiopharmaceuticalStartDateTime="20200304233000")
    np.testing.assert_allclose(suv_factor(dated), expected(3600))


def test_date_and_time_of_the_injection_go_before_the_time_alone():
    made = changed(RadiopharmaceuticalStartDateTime="20200305093000.0", RadiopharmaceuticalStartTime="100000")
    np.testing.assert_allclose(suv_factor(made), expected(5400))


def test_philips_counts():
    made = changed(Units="CNTS")
    with pytest.raises(InvalidInput, match="7053,1000.*7053,1009"):
        suv_factor(made)
    for n, d in enumerate(made):
        d.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x09, "DS", str(2.0 + n))
    np.testing.assert_allclose(suv_factor(made), (2.0 + np.arange(5)) * expected(3600))
    for d in made:
        d.private_block(0x7053, "Philips PET Private Group").add_new(0x00, "UN", b"0.25 ")
    np.testing.assert_allclose(suv_factor(made), 0.25)


def test_suv_is_never_converted_twice(tmp_path):
    series = read_series(save(tmp_path / "suv", changed(Units="GML", DecayCorrection="NONE", PatientWeight=None)))
    assert series.image.unit == "g/mL"
    assert to_suv(series) is series.image
    np.testing.assert_array_equal(suv_factor(series.headers), 1.0)
    with pytest.raises(InvalidInput, match="LBM .0054,1006.*LBMJANMA"):
        read_series(save(tmp_path / "sul", changed(Units="GML", SUVType="LBM")))


def test_only_pet_becomes_suv(tmp_path):
    with pytest.raises(InvalidInput, match="SUV is made from PET"):
        to_suv(read_series(save(tmp_path / "mr", slices())))


PERSON = {"PatientSize": 1.75, "PatientSex": "M"}
LEAN_G = 9270e3 * 70 / (6680 + 216 * 70 / 1.75**2)
LEAN_FEMALE_G = 9270e3 * 70 / (8780 + 244 * 70 / 1.75**2)
SURFACE_CM2 = 1e4 * 0.007184 * 70**0.425 * 175**0.725


@pytest.mark.parametrize(
    ("kind", "sex", "size", "unit"),
    [
        ("bw", "M", GRAMS, "g/mL"),
        ("lbm", "M", LEAN_G, "g/mL{SUVlbm}"),
        ("lbm", "F", LEAN_FEMALE_G, "g/mL{SUVlbm}"),
        ("bsa", "O", SURFACE_CM2, "cm2/mL"),
    ],
)
def test_suv_by_body_weight_lean_mass_and_surface(tmp_path, kind, sex, size, unit):
    series = read_series(save(tmp_path / "pet", changed(PatientSize=1.75, PatientSex=sex)))
    np.testing.assert_allclose(suv_factor(series.headers, kind), expected(3600) * size / GRAMS)
    image = to_suv(series, kind)
    assert (image.unit, image.name) == (unit, f"SUV{kind}")
    np.testing.assert_allclose(image.array, series.image.array * expected(3600) * size / GRAMS, rtol=1e-6)


def test_body_sizes_are_those_of_the_published_formulas():
    """A man of 70 kg and 1.75 m: 55.86 kg lean and 1.848 m2; a woman: 45.20 kg lean. Worked out by hand."""
    assert body_size(changed(**PERSON)[0], "lbm") == pytest.approx(55_857, abs=1)
    assert body_size(changed(PatientSize=1.75, PatientSex="F")[0], "lbm") == pytest.approx(45_197, abs=1)
    assert body_size(changed(**PERSON)[0], "bsa") == pytest.approx(18480, abs=20)


def test_one_kind_of_suv_becomes_another_without_dose_or_decay(tmp_path):
    lean = {"Units": "GML", "SUVType": "LBMJANMA", "RadiopharmaceuticalInformationSequence": [], **PERSON}
    series = read_series(save(tmp_path / "sul", changed(**lean)))
    assert series.image.unit == "g/mL{SUVlbm}"
    assert to_suv(series, "lbm") is series.image
    np.testing.assert_allclose(to_suv(series).array, series.image.array * GRAMS / LEAN_G, rtol=1e-6)
    surface = read_series(save(tmp_path / "bsa", changed(Units="CM2ML", **PERSON)))
    assert surface.image.unit == "cm2/mL"
    np.testing.assert_allclose(to_suv(surface, "lbm").array, surface.image.array * LEAN_G / SURFACE_CM2, rtol=1e-6)


def test_philips_suv_factor_is_by_body_weight():
    made = changed(Units="CNTS", **PERSON)
    for d in made:
        d.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.25")
    np.testing.assert_allclose(suv_factor(made, "lbm"), 0.25 * LEAN_G / GRAMS)


def test_another_unit_is_not_taken_for_activity(tmp_path):
    series = read_series(save(tmp_path / "pet", pet_slices()), unit="kBq/mL")
    with pytest.raises(InvalidInput, match="unit is kBq mL"):
        to_suv(series)
    with pytest.raises(InvalidInput, match="kind of SUV is 'ibw'.*bw, lbm, bsa"):
        suv_factor(series.headers, "ibw")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PatientSize": 175.0}, "0010,1020. is 175 m.*centimetres"),
        ({"PatientSize": 17.5}, "0010,1020. is 17.5 m, which nobody has"),
        ({"PatientSize": 0}, "height .0010,1020. is missing, 0"),
        ({"PatientSize": None}, "height .0010,1020. is missing"),
        ({"PatientSex": ""}, "sex .0010,0040. is not given"),
        ({"PatientSex": "O"}, "sex .0010,0040. is O"),
        ({"PatientWeight": None}, "weight .0010,1030. is missing"),
        ({"PatientWeight": 70000}, "0010,1030.*grams"),
        ({"PatientWeight": 7.0}, "0010,1030.*0010,1020.*body mass index of 2.29"),
    ],
)
def test_what_lean_mass_cannot_do_without(tags, words):
    with pytest.raises(InvalidInput, match=words):
        suv_factor(changed(**{**PERSON, **tags}), "lbm")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"RadiopharmaceuticalInformationSequence": []}, "0054,0016.*missing"),
        ({"RadionuclideTotalDose": 0}, "dose .0018,1074. is missing, 0"),
        ({"RadionuclideTotalDose": None}, "dose .0018,1074. is missing"),
        ({"RadionuclideTotalDose": 350.0}, "0018,1074.*MBq"),
        ({"RadionuclideTotalDose": 350000.0}, "0018,1074.*kBq"),
        ({"RadionuclideTotalDose": 3.5e14}, "0018,1074.*more than anyone"),
        ({"RadionuclideHalfLife": 109.77}, "0018,1075.*minutes"),
        ({"RadionuclideHalfLife": 1.8295}, "0018,1075.*hours"),
        ({"RadionuclideHalfLife": None}, "half-life .0018,1075. is missing"),
        ({"RadionuclideHalfLife": 1222.0}, "F-18 is 6586 s"),
        ({"PatientWeight": 0}, "weight .0010,1030. is missing, 0"),
        ({"PatientWeight": None}, "weight .0010,1030. is missing"),
        ({"PatientWeight": 70000}, "0010,1030.*grams"),
        ({"RadiopharmaceuticalStartTime": "113000"}, "0:30:00 h after the start of the scan.*0018,1072"),
        ({"RadiopharmaceuticalStartTime": None}, "0018,1072 or 0018,1078.*missing"),
        ({"RadiopharmaceuticalStartDateTime": "20190305100000"}, "ten half-lives.*0018,1078"),
        ({"DecayCorrection": "NONE"}, "0054,1102.*START or ADMIN"),
        ({"DecayCorrection": None}, "0054,1102.*not given"),
        ({"CorrectedImage": ["DECY"]}, "ATTN.*0028,0051"),
        ({"CorrectedImage": "ATTN"}, "DECY.*0028,0051"),
        ({"Units": "PROPCPS"}, "0054,1001.*PROPCPS"),
        ({"SeriesTime": "", "AcquisitionTime": ""}, "0008,0031"),
    ],
)
def test_what_makes_suv_impossible_is_named_with_its_tag(tags, words):
    with pytest.raises(InvalidInput, match=words):
        suv_factor(changed(**tags))


def test_long_lived_nuclides_need_the_date():
    made = changed(RadionuclideHalfLife=282_300.0)
    for d in made:
        d.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0].CodeMeaning = "^89^Zirconium"
    with pytest.raises(InvalidInput, match="has no date.*0018,1078"):
        suv_factor(made)
    for d in made:
        d.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20200301110000"
    np.testing.assert_allclose(suv_factor(made), GRAMS / (DOSE * 0.5 ** (4 * 86400 / 282_300)))


@pytest.mark.parametrize(
    ("meaning", "found"),
    [
        ("18F", ("18", "F")),
        ("F-18", ("18", "F")),
        ("^68^Gallium", ("68", "Ga")),
        ("Fluorine F^18^", ("18", "F")),
        ("Carbon-11", ("11", "C")),
        ("118F", None),
        ("", None),
    ],
)
def test_nuclides_are_known_by_their_words(meaning, found):
    made = pet_slices()[0]
    made.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0].CodeMeaning = meaning
    assert nuclide(made) == found


def test_published_suv_image(data):
    """The reference values come with the data: another program's conversion of the same series."""
    reference = json.loads((data("sts_001_raw") / "reference.json").read_text())["SUV"]
    series = read_series(data("sts_001_raw") / "PET_dicom")
    np.testing.assert_allclose(suv_factor(series.headers), reference["suvbw_per_BqML"], rtol=1e-9)
    published = read_volume(data("sts_petctmr") / "STS_001" / "PET_image.nii.gz", "PT", unit="g/mL")
    suv = to_suv(series)
    low = np.round(suv.grid.to_ijk(published.grid.origin)).astype(int)[::-1]
    part = suv.crop(low, low + published.grid.shape)
    np.testing.assert_allclose(part.grid.corners(), published.grid.corners(), atol=0.05)
    assert np.abs(part.array - published.array).max() < 0.001
    assert part.array.max() == pytest.approx(reference["ref_SUVmax"], abs=0.005)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    folder, rng, refusals = save(tmp_path / "pet", pet_slices()), np.random.default_rng(5), 0
    path = sorted(folder.iterdir())[1]
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(changed)))
            changed[at : at + int(rng.integers(0, 4))] = rng.integers(
                0, 256, int(rng.integers(0, 4)), np.uint8
            ).tobytes()
        path.write_bytes(changed)
        try:
            read_pet_suv(folder)
        except (InvalidInput, MissingInput):
            refusals += 1
    assert refusals > 50
