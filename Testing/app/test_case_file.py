"""Case files: what is wrong with one is said before anything is read or computed."""

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.fusion.dicom_files import save as save_slices
from Testing.fusion.dicom_files import slices
from Testing.fusion.dicom_objects import dose
from Testing.fusion.dicom_objects import write as write_dicom
from TwinApp.case_file import DATA_VARIABLE, read_case_file
from TwinApp.loading import load_case
from TwinApp.pipeline import case_steps, open_twin
from TwinCore import Grid, Image, InvalidInput, MissingInput, TwinError
from TwinCore.itk import to_sitk

CASE = """
question = "What happens?"
{extra}
[patient]
name = "Anna"
[[image]]
name = "T1"
path = "t1.nii.gz"
modality = "MR"
reference = true
{image}
[target]
name = "tumour"
{target}
"""


@pytest.fixture
def case(tmp_path):
    """Writes a case with a small T1 and its labels beside it; parts of the text can be set."""
    grid = Grid.isotropic((8, 9, 10), 2.0)
    values = np.random.default_rng(0).uniform(0, 100, grid.shape).astype(np.float32)
    sitk.WriteImage(to_sitk(Image(values, grid, "MR")), str(tmp_path / "t1.nii.gz"))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:4, 2:5, 2:5] = 1
    sitk.WriteImage(to_sitk(Image(labels, grid)), str(tmp_path / "labels.nii.gz"))

    def write(text=None, extra="", image="", target=""):
        path = tmp_path / "case.toml"
        path.write_text(text if text is not None else CASE.format(extra=extra, image=image, target=target))
        return path

    return write


OUTLINE = '[[outline]]\npath = "labels.nii.gz"\nimage = "{0}"\nsegments = {1}'
MAP = '[[map]]\nname = "{0}"\npath = "{1}"\nimage = "{2}"\nunit = "Gy"'
VOLUME = '[[observation]]\ntime_days = 30\npath = "labels.nii.gz"\nlabels = {0}'


def test_a_right_case_is_read(case):
    loaded = load_case(case(image=OUTLINE.format("T1", '{ 1 = "tumour" }') + "\n" + VOLUME.format([1])))
    assert loaded.images["T1"].grid.shape == (8, 9, 10)
    assert loaded.outlines["T1"].volume_ml("tumour") == pytest.approx(18 * 0.008)
    assert loaded.observations[0].value == pytest.approx(18 * 0.008)
    assert loaded.frames == {"T1": "T1"}


VISIT = '[[observation]]\nquantity = "{0}"\ndate = "2024-06-01"\npath = "t1.nii.gz"\n{1}'
SCANNED = 'time = "2024-05-01"\n'


def test_a_case_takes_images_at_visits_with_dates(case, tmp_path):
    """An ADC map within an outline, on one scale with an earlier one; an outline; an uptake; a start."""
    grid = Grid.isotropic((8, 9, 10), 2.0)
    for name, least in (("early", 600.0), ("late", 900.0)):
        adc = np.full(grid.shape, 2400.0, np.float32)
        adc[2:4, 2:5, 2:4] = least
        sitk.WriteImage(to_sitk(Image(adc, grid)), str(tmp_path / f"{name}.nii.gz"))
    adc = 'unit = "um2/s"\ninside = "labels.nii.gz"\nlabels = [1]'
    observations = [
        VISIT.format("cellularity", adc + "\nnoise_sd = 0.3").replace("t1.", "late."),
        VISIT.format("cellularity", adc + "\nstart = true").replace("t1.", "early.").replace("06-01", "05-01"),
        VISIT.format("outline", "labels = [1]\nthreshold = 0.16").replace("t1.", "labels."),
        VISIT.format("uptake", 'inside = "labels.nii.gz"\nimage = "T1"'),
    ]
    loaded = load_case(case(image=SCANNED + "\n".join(observations)))
    late, outline, uptake = loaded.observations
    assert [o.quantity for o in loaded.observations] == ["cellularity", "outline", "uptake"]
    assert {o.time_days for o in loaded.observations} == {31.0}
    assert late.noise_sd == 0.3
    np.testing.assert_allclose(late.image.array[2, 2, 2:5], [2100 / 2400, 2100 / 2400, 600 / 2400], rtol=1e-5)
    _, start = loaded.maps["cellularity"]
    np.testing.assert_allclose(start.array[2, 2, 2:5], [1.0, 1.0, 0.25], rtol=1e-5)
    assert np.count_nonzero(np.isfinite(start.array)) == outline.image.array.sum() == 18
    assert outline.threshold == 0.16
    assert np.count_nonzero(np.isfinite(uptake.image.array)) == 18


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (VISIT.format("cellularity", ""), "reference image has no date"),
        (SCANNED + VISIT.format("cellularity", "").replace("2024-06", "2024-04"), "before the reference scan"),
        (SCANNED + VISIT.format("cellularity", ""), "from 0 to 1"),
        (SCANNED + VISIT.format("cellularity", "time_days = 3"), "either date"),
        (SCANNED + VISIT.format("cellularity", 'date = "x"').replace('date = "2024-06-01"\n', ""), "not an ISO date"),
        (SCANNED + VISIT.format("outline", "").replace('date = "2024-06-01"\n', ""), "either date"),
        (SCANNED + VISIT.format("outline", "").replace('path = "t1.nii.gz"', ""), "needs the path"),
        (SCANNED + VISIT.format("outline", "noise_sd = 0.1"), "outline has no noise_sd"),
        (SCANNED + VISIT.format("uptake", "log_sd = 0.1"), "uptake has no log_sd"),
        (SCANNED + VISIT.format("uptake", 'image = "T9"'), "observation.image names the image 'T9'"),
        (SCANNED + VISIT.format("cellularity", 'unit = "mm2/s"'), "needs inside"),
        (SCANNED + VISIT.format("cellularity", "labels = [1]"), "not given"),
        (SCANNED + VISIT.format("uptake", 'inside = "labels.nii.gz"\nlabels = [9]'), r"no voxel has the labels \[9\]"),
        (SCANNED + VISIT.format("cellularity", 'unit = "mm2/s"\ninside = "labels.nii.gz"'), "is its unit"),
        (
            SCANNED
            + VISIT.format("cellularity", 'image = "T2"\nstart = true')
            + '\n[[image]]\nname = "T2"\npath = "t1.nii.gz"\nmodality = "MR"',
            "the start lies in the frame of 'T2', which is not that of the reference",
        ),
        (
            SCANNED + VISIT.format("cellularity", 'unit = "um2/s"\ninside = "labels.nii.gz"\nstart = true'),
            "not on day 31|is its unit",
        ),
    ],
)
def test_an_observation_that_cannot_be_is_named(case, image, words):
    with pytest.raises(InvalidInput, match=words):
        load_case(case(image=image))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": "question = "}, "not a TOML file"),
        ({"text": "\x00\x01\x02"}, "not a TOML file"),
        ({"text": "question = 'only'"}, "patient: Field required"),
        ({"extra": "qestion = 'typo'"}, "qestion: Extra inputs"),
        ({"image": "unit = 3"}, "image.0.unit"),
        ({"image": '[[image]]\nname = "T1"\npath = "t1.nii.gz"\nmodality = "MR"'}, "same name"),
        (
            {"image": '[[image]]\nname = "T2"\npath = "t1.nii.gz"\nmodality = "MR"\nreference = true'},
            "exactly one image",
        ),
        ({"image": '[[image]]\nname = "XA"\npath = "t1.nii.gz"\nmodality = "XA"'}, "image.1.modality"),
        ({"image": OUTLINE.format("T2", "[]")}, "'T2'; there are: T1"),
        ({"image": '[simulation]\nmodel = "a"\npreset = "b"\nhorizon_days = -5'}, "horizon_days"),
        ({"image": "[[observation]]\ntime_days = 3"}, "either volume_ml or path"),
        ({"image": MAP.format("dose", "t1.nii.gz", "T2")}, "map.image names the image 'T2'"),
        ({"image": MAP.format("T1", "t1.nii.gz", "T1")}, "name of its own"),
        ({"image": MAP.format("diffusion_tensor", "t1.nii.gz", "T1")}, "has 1 volumes; diffusion tensors are six"),
        ({"target": "centroid_reference_ras_mm = [nan, 0, 0]"}, "finite"),
        ({"image": OUTLINE.format("T1", '["tumour"]')}, "label = name"),
        ({"image": OUTLINE.format("T1", '{ one = "tumour" }')}, "whole numbers"),
        ({"image": VOLUME.format([7])}, r"no voxel has the labels \[7\]"),
    ],
)
def test_what_is_wrong_is_named(case, changes, words):
    with pytest.raises(InvalidInput, match=words):
        load_case(case(**changes))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../secret.nii.gz", InvalidInput),
        ("/etc/passwd", InvalidInput),
        ("C:\\\\secret.nii", InvalidInput),
        ("t2.nii", MissingInput),
    ],
)
def test_paths_stay_in_the_data_folder(case, path, error):
    with pytest.raises(error, match="data folder"):
        load_case(case(image=f'[[image]]\nname = "T2"\npath = "{path}"\nmodality = "MR"'))


def test_no_case_file_and_no_data_folder_are_named(case, tmp_path, monkeypatch):
    with pytest.raises(MissingInput, match="'nothing.toml'"):
        read_case_file(tmp_path / "nothing.toml")
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(MissingInput, match="'elsewhere' does not exist"):
        read_case_file(case(extra='data = "elsewhere"'))


def test_the_variable_takes_the_place_of_the_data_folder(case, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert read_case_file(case(extra='data = "elsewhere"'))[1] == tmp_path.resolve()


def test_damaged_files_are_refused_before_anything_else(case, tmp_path):
    whole = (tmp_path / "t1.nii.gz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"version https://git-lfs.github.com/spec/v1", b"<html></html>", b""):
        (tmp_path / "t1.nii.gz").write_bytes(damaged)
        with pytest.raises(TwinError, match="t1.nii.gz"):
            load_case(case())


SIMULATION = '[simulation]\nmodel = "tumour_growth"\npreset = "soft-tissue sarcoma"'


def test_maps_are_read_and_lie_in_the_frame_of_their_image(case, tmp_path):
    shape = (8, 9, 10)
    parts = [sitk.GetImageFromArray(np.full(shape, value, np.float32)) for value in (3.0, 0, 0, 1, 0, 1)]
    sitk.WriteImage(sitk.JoinSeries(parts), str(tmp_path / "tensors.nii.gz"))
    write_dicom(tmp_path / "rd.dcm", dose())
    other = '[[image]]\nname = "T2"\npath = "t1.nii.gz"\nmodality = "MR"'
    maps = (
        MAP.format("diffusion_tensor", "tensors.nii.gz", "T2").replace("Gy", "mm2/s"),
        MAP.format("dose", "rd.dcm", "T1"),
    )
    loaded = load_case(case(image="\n".join([other, *maps])))
    where, tensors = loaded.maps["diffusion_tensor"]
    assert (where, tensors.unit, tensors.array.shape) == ("T2", "mm2/s", (*shape, 6))
    np.testing.assert_array_equal(tensors.array[1, 2, 3], [3, 0, 0, 1, 0, 1])
    assert loaded.maps["dose"][1].unit == "Gy"
    assert loaded.maps["dose"][1].array.max() == pytest.approx(14.5)
    twin = open_twin(loaded)
    assert [node.GetName() for node in twin.nodes("field")] == ["diffusion_tensor", "dose"]
    assert [node.GetName() for node in twin.nodes("image")] == ["T1", "T2"]
    with pytest.raises(InvalidInput, match="without .simulation. the case has no use for them"):
        case_steps(loaded)


@pytest.mark.parametrize(
    ("name", "unit", "words"),
    [("temperature", "Cel", "no use for the image 'temperature'"), ("diffusion_tensor", "mm2/s", "has 1 volumes")],
)
def test_a_map_that_the_model_does_not_take_is_told_before_anything_is_computed(case, name, unit, words):
    entry = MAP.format(name, "t1.nii.gz", "T1").replace("Gy", unit)
    outlined = OUTLINE.format("T1", '{ 1 = "tumour" }')
    with pytest.raises(InvalidInput, match=words):
        case_steps(load_case(case(image="\n".join([entry, outlined, SIMULATION]))))


def test_a_dose_of_another_frame_is_refused(case, tmp_path):
    save_slices(tmp_path / "ct", slices(modality="CT"))
    write_dicom(tmp_path / "rd.dcm", dose())
    ct = '[[image]]\nname = "CT"\npath = "ct"\nmodality = "CT"'
    with pytest.raises(InvalidInput, match="'dose' is not in the frame of reference of the image 'CT'"):
        load_case(case(image="\n".join([ct, MAP.format("dose", "rd.dcm", "CT")])))
    with pytest.raises(InvalidInput, match="said to be in cGy, but the RTDOSE is in Gy"):
        load_case(case(image=MAP.format("dose", "rd.dcm", "T1").replace('"Gy"', '"cGy"')))


def test_nothing_in_a_case_is_executed(case):
    hostile = "__import__('os').system('touch owned')"
    loaded = load_case(case(text=CASE.format(extra="", image="", target="").replace("What happens?", hostile)))
    assert loaded.case.question == hostile


ASKED = """[simulation]
model = "tumour_growth"
preset = "glioma"
horizon_days = 200
scenarios = {scenarios}
margins_mm = [10.0]
[simulation.search]
standard = "30 x 2 Gy from day 28"
fractions = [10, 20]
others = ["surgery day 0"]
{search}
"""


def asked(case, scenarios='["none", "doses of 30 x 2 Gy"]', search=""):
    text = ASKED.format(scenarios=scenarios, search=search)
    return case_steps(load_case(case(image=OUTLINE.format("T1", '{ 1 = "tumour" }'), target=text)))[2]


def test_scenarios_and_a_search_are_read_into_treatments(case):
    step = asked(case, search="sparing = 0.5")
    assert [s.name for s in step.scenarios] == ["none", "30 x 2 Gy", "36 x 2 Gy", "24 x 2 Gy"]
    assert (step.search.standard.start_day, step.search.others[0].day, step.search.sparing) == (28, 0, 0.5)
    assert (step.search.fractions, step.search.highest_dose_gy, step.margins_mm) == ([10, 20], 10.0, [10.0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios": '["none", "prayer"]'}, "'prayer' is not understood"),
        ({"scenarios": '["none", "none"]'}, "'none' is there twice"),
        ({"search": "sparing = 0.0"}, "Sparing must be above 0"),
        ({"search": 'objective = "fun"'}, "there are: burden, nadir, control"),
        ({"search": "spare = 1"}, "spare: Extra inputs"),
    ],
)
def test_treatments_that_cannot_be_are_named(case, changes, words):
    with pytest.raises(InvalidInput, match=words):
        asked(case, **changes)
