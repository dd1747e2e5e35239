"""The verdict: its figures tell right from wrong, its model is data that follows its schema, worse is never better."""

import json
from dataclasses import fields, replace
from importlib import resources

import jsonschema
import numpy as np
import pytest
from phantoms import SHAPE, pair, rigid
from verdict_fit import fit, operating_point, roc

from TwinCore import Grid, GridTransform, LinearTransform
from TwinFusionLib import verdict
from TwinFusionLib.quality import Quality, assess
from TwinFusionLib.quality_fields import folding, largest_disagreement, uncertainty_map
from TwinFusionLib.verdict import WORDS, contributions, judge, model

FOLDER = resources.files("TwinFusionLib")
TRUTH = rigid(12, (1, 0, 1), (10, -15, 60))


@pytest.fixture(scope="module")
def assessed():
    """Figures of the true pose, and of poses 3 to 40 mm beside it."""
    fixed, moving = pair(TRUTH)
    beside = {mm: TRUTH.then(LinearTransform(rigid(0, (1, 0, 0), (mm, 0, 0)).matrix)) for mm in (0, 3, 10, 40)}
    return {mm: assess(fixed, moving, transform) for mm, transform in beside.items()}


def test_the_model_follows_its_schema_and_names_figures_that_there_are():
    schema = json.loads(FOLDER.joinpath("verdict_schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(model(), schema)
    known = {f.name for f in fields(Quality)}
    assert set(model()["features"]) | set(model()["limits"]) <= known & set(WORDS)
    assert model()["check_above"] <= model()["failed_above"]
    assert not jsonschema.Draft202012Validator(schema).is_valid({**model(), "check_above": 1.5})


def test_figures_fall_with_the_distance_from_the_truth(assessed):
    for better, worse in ((0, 10), (0, 40)):
        assert assessed[better].nmi > assessed[worse].nmi
        assert assessed[better].local_z > assessed[worse].local_z
        assert assessed[better].edge_gain > assessed[worse].edge_gain
        assert assessed[better].residual_mm < assessed[worse].residual_mm
        assert assessed[better].deficit < assessed[worse].deficit
    assert assessed[0].drift_mm < 1.0
    assert assessed[0].inverse_consistency_mm < 1.0
    assert assessed[10].inverse_consistency_mm < 2.0  # both ways climb 10 mm, and meet
    assert assessed[3].drift_mm == pytest.approx(3.0, abs=1.0)
    assert assessed[10].drift_mm == pytest.approx(10.0, abs=2.0)
    assert assessed[40].overlap < assessed[0].overlap


def test_right_and_wrong_poses_are_told_apart(assessed):
    verdicts = {mm: judge(quality) for mm, quality in assessed.items()}
    assert verdicts[0].grade == "good"
    assert verdicts[0].reasons == ()
    assert verdicts[40].grade != "good"
    assert verdicts[40].reasons
    assert verdicts[0].probability < verdicts[10].probability <= verdicts[40].probability


def test_images_that_do_not_meet_have_failed():
    fixed, moving = pair(TRUTH)
    away = assess(fixed, moving, TRUTH.then(LinearTransform(rigid(0, (1, 0, 0), (500, 0, 0)).matrix)))
    assert away.overlap == 0.0
    assert np.isnan(away.nmi)
    assert judge(away).grade == "failed"
    assert "only 0%" in judge(away).reasons[0]


def test_a_worse_figure_never_gives_a_better_verdict(assessed):
    """Each figure of the model, moved from its best to its worst, alone."""
    for name, feature in model()["features"].items():
        values = np.linspace(feature["lowest"], feature["highest"], 9)[:: 1 if feature["weight"] > 0 else -1]
        chances = [judge(replace(assessed[0], **{name: float(value)})).probability for value in values]
        assert (np.diff(chances) >= -1e-12).all(), name


def test_what_is_not_known_counts_neither_way(assessed):
    for name in contributions(assessed[10]):
        unknown = replace(assessed[10], **{name: float("nan")})
        assert name not in contributions(unknown)
        assert len(contributions(unknown)) == len(contributions(assessed[10])) - 1


@pytest.mark.parametrize(
    ("figure", "value", "grade", "words"),
    [
        ("landmark_error_mm", 7.0, "check", "landmarks that belong together are 7.0 mm apart"),
        ("landmark_error_mm", 30.0, "failed", "30.0 mm apart"),
        ("folding", 0.05, "failed", "folds in 5.00%"),
        ("inverse_consistency_mm", 9.0, "check", "the way there and back ends 9.0 mm off"),
        ("overlap", 0.2, "check", "only 20% of the moved image"),
    ],
)
def test_limits_hold_whatever_the_model_says(assessed, figure, value, grade, words):
    told = judge(replace(assessed[0], **{figure: value}))
    assert told.grade == grade
    assert words in told.reasons[0]


def test_a_fit_finds_what_tells_right_from_wrong_and_leaves_out_the_rest():
    """Made figures: one that tells, one that does not, one that tells the wrong way round and may not be used."""
    rng = np.random.default_rng(0)
    errors = np.where(rng.random(400) < 0.5, rng.uniform(0, 2, 400), rng.uniform(6, 30, 400))
    figures = {f.name: np.full(400, np.nan) for f in fields(Quality) if f.name != "group"}
    figures["nmi"] = rng.uniform(1.05, 1.15, 400)
    group = rng.choice(["other", "CT", "PET"], 400)
    figures["drift_mm"] = errors * 0.5 + rng.normal(0, 1.0, 400) + 3.0 * (group == "PET")
    figures["deficit"] = rng.normal(0, 1, 400)
    figures["local_z"] = errors + rng.normal(0, 5.0, 400)
    for name in ("residual_mm", "consistency_mm", "mirrored", "runner_up", "z_score", "edge_gain", "explained"):
        figures[name] = rng.normal(0, 1, 400)
    figures = {**figures, "error_mm": errors, "group": group}
    rows = [{name: values[n].item() for name, values in figures.items()} for n in range(400)]
    fitted = fit(rows, model(), {"pairs": 400, "date": "2026-01-01", "seeds": [1]})
    weights = {name: feature["weight"] for name, feature in fitted["features"].items()}
    assert weights["drift_mm"] == max(weights.values())
    assert weights["drift_mm"] > 1.0
    usual = fitted["features"]["drift_mm"]["usual"]
    assert usual["PET"] - usual["other"] == pytest.approx(3.0, abs=0.5)
    assert usual["CT"] == pytest.approx(usual["other"], abs=0.5)
    assert usual["other"] < usual["CT and PET"] < usual["PET"]  # of this group there was none
    assert "local_z" not in weights
    assert abs(weights.get("deficit", 0.0)) < 0.5
    chances = np.array([_chance(row, fitted) for row in rows])
    caught, alarms, area = operating_point(chances, chances > fitted["check_above"], errors)
    assert caught >= 0.95
    assert area > 0.95
    assert alarms < 0.5


def _chance(row: dict, fitted: dict) -> float:
    odds = fitted["intercept"]
    for name, feature in fitted["features"].items():
        held = min(max(row[name], feature["lowest"]), feature["highest"])
        odds += feature["weight"] * (held - feature["usual"][row["group"]]) / feature["scale"]
    return 1 / (1 + np.exp(-odds))


def test_the_roc_curve_of_a_perfect_and_of_a_blind_judge():
    errors = np.array([0.5, 1.0, 1.5, 8.0, 9.0, 12.0, 3.0])
    assert roc(errors, errors)[2] == 1.0
    assert roc(np.full(7, 0.5), errors)[2] == 0.5
    alarms, caught, _ = roc(errors, errors)
    assert caught[alarms == 0].max() == 1.0


def test_figures_of_transforms_alone():
    grid = Grid.isotropic((9, 10, 11), 3.0)
    squeeze = GridTransform(-0.4 * grid.to_ras(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1)), grid)
    assert folding(squeeze)[0] == pytest.approx(0.6**3, rel=1e-3)
    assert folding(squeeze)[1] == 0.0
    points = grid.corners()
    shifts = [LinearTransform(rigid(0, (1, 0, 0), (mm, 0, 0)).matrix) for mm in (0.0, 1.0, -2.0)]
    assert largest_disagreement(shifts, points) == pytest.approx(3.0)
    spread = uncertainty_map(shifts, grid)
    assert spread.unit == "mm"
    np.testing.assert_allclose(spread.array, np.std([0, 1, -2], ddof=1), rtol=1e-5)


def test_a_pair_is_compared_with_its_like(assessed):
    """The measures of a blurred image fall slowly with the distance, whether it lies right or not."""
    usual = model()["features"]["local_z"]["usual"]
    assert usual["PET"] < usual["other"]
    slow = replace(assessed[0], local_z=usual["PET"])
    assert judge(replace(slow, group="PET")).probability < judge(slow).probability


@pytest.mark.parametrize(
    ("modalities", "group"),
    [
        (("MR", "MR"), "other"),
        (("CT", "CT"), "other"),
        (("MR", "CT"), "CT"),
        (("PT", "MR"), "PET"),
        (("PT", "PT"), "PET"),
        (("CT", "PT"), "CT and PET"),
    ],
)
def test_the_modalities_make_the_group(modalities, group):
    images = [replace(image, modality=modality) for image, modality in zip(pair(TRUTH), modalities)]
    assert assess(*images, TRUTH).group == group


def test_the_verdict_reads_as_a_sentence():
    told = verdict.Verdict("check", ("the best match nearby lies 9.0 mm away", "repeated runs differ by up to 6.0 mm"))
    assert str(told) == "check: the best match nearby lies 9.0 mm away; repeated runs differ by up to 6.0 mm"
    assert str(verdict.Verdict("good", ())) == "good"


def test_masks_limit_what_is_judged():
    fixed, moving = pair(TRUTH)
    upper = np.zeros(SHAPE, bool)
    upper[22:] = True
    half, whole = assess(fixed, moving, TRUTH, moving_mask=upper), assess(fixed, moving, TRUTH)
    assert half.nmi != whole.nmi
    assert half.overlap != whole.overlap
