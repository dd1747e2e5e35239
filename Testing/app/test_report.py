"""The report: complete, self-contained, the same twice, and safe whatever the words in the files are."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from TwinApp import surface_view
from TwinApp.charts import is_logarithmic, prediction_chart
from TwinApp.report import NO_GL, ReportContent, answer, write_report
from TwinApp.wording import interval, label, number, plain, quantity, volume_interval
from TwinCore import Grid, Image, Job, LinearTransform, MissingInput, Quantity, Segmentation, Table
from TwinSimulateLib.model import Comparison, Curve, Estimate, Posterior
from TwinSimulateLib.radiotherapy import SCENARIOS
from TwinSimulateLib.tumour_answers import prediction, scenario_table, untreated
from TwinSimulateLib.tumour_presets import PRESETS

HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>$\\frac{{7*7}}{% raw %}\u202e\x00&\ud800"
GRID = Grid.isotropic((30, 32, 34), 3.0)
TIMES = np.arange(0.0, 61.0, 3.0)


def block(low, high):
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high))] = True
    return mask


def comparison(growth=0.01):
    members = [{"alpha": 0.2, "alpha_beta": 4.0, "clonogen_density": 1e7}] * 20
    rates = growth * np.linspace(0.8, 1.25, 20)[:, None]
    ensembles = []
    for schedule in SCENARIOS:
        killed = np.array([np.searchsorted(schedule.days, day) for day in TIMES]) * (0.2 if schedule.fractions else 0.0)
        volume = 20.0 * np.exp(rates * TIMES - killed)
        regrown = np.full(20, 0.0 if not schedule.fractions else np.inf)
        ensembles.append(
            SimpleNamespace(
                treatment=schedule,
                times_days=TIMES,
                volume_ml=volume,
                burden_ml=volume,
                diameter_mm=10.0 * np.cbrt(volume),
                reach_mm=np.cbrt(volume),
                least_burden_ml=volume.min(axis=1),
                probability=block((9, 9, 9), (18, 18, 18)).astype(np.float32),
                mean_density=np.zeros(GRID.shape, np.float32),
                days_to_regrow=regrown,
            )
        )
    predictions = {e.treatment.name: prediction(e, members, GRID, 0.01, untreated(ensembles)) for e in ensembles}
    return Comparison(scenario_table(ensembles, members), predictions)


@pytest.fixture
def content():
    rng = np.random.default_rng(0)
    mr = Image(rng.uniform(0, 100, GRID.shape).astype(np.float32), GRID, "MR", "1", name="T1")
    pet = Image(block((10, 10, 10), (16, 16, 16)) * np.float32(7.0), GRID, "PT", "g/mL", name="PET")
    tumour = block((10, 10, 10), (16, 16, 16))
    return ReportContent(
        patient="Nobody",
        virtual=True,
        question="What happens if?",
        reference=mr,
        moved=[(pet, LinearTransform.identity())],
        segmentation=Segmentation.from_masks(
            GRID, {"tumour": tumour, "brain": block((2, 2, 2), (28, 30, 32)) & ~tumour}
        ),
        target="tumour",
        results={"verdict": "good", "volume_ml": Quantity(5.83, "mL"), "suv_max": Quantity(7.0, "g/mL")},
        verdicts=[("PET", "good", "")],
        comparison=comparison(),
        posterior=Posterior.prior(PRESETS["glioma"].parameters),
        truth=[("tumour volume", "mL", 6.0, 5.83)],
        limits=["One limit."],
        warnings=["One warning."],
        provenance=[{"run": "r1", "module": "TwinFusion", "software": {"numpy": "2.4"}, "seeds": {"seed": 7}}],
        treatments=SCENARIOS,
    )


@pytest.fixture(autouse=True)
def no_surfaces(monkeypatch):
    """The picture that needs GL has its own test."""
    monkeypatch.setattr(surface_view, "can_render", lambda: False)


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def page_of(content, tmp_path):
    write_report(content, tmp_path / "report.html", Job())
    return (tmp_path / "report.html").read_text("utf-8")


def test_the_whole_story_is_told(content, tmp_path):
    text = Page(page_of(content, tmp_path)).text
    for words in ("Nobody", "VIRTUAL PATIENT", "Research use only", "What happens if?", "25 x 2 Gy", "5 x 6 Gy", "BED",
                  "P(benefit)", "ρ", "One limit.", "One warning.", "−0.17", "seed 7", "numpy 2.4", NO_GL):  # fmt: skip
        assert words in text
    assert "VIRTUAL PATIENT" not in Page(page_of(replace(content, virtual=False), tmp_path)).text


def test_pictures_have_words_and_nothing_comes_from_outside(content, tmp_path):
    source = page_of(content, tmp_path)
    page = Page(source)
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 3
    assert all(attrs["alt"] and attrs["src"].startswith("data:image/png;base64,") for attrs in pictures)
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)
    assert source.startswith("<!doctype html>")


def test_equal_contents_give_equal_files(content, tmp_path):
    assert page_of(content, tmp_path) == page_of(content, tmp_path)


def test_hostile_words_stay_words(content, tmp_path):
    grid, word = content.segmentation.grid, HOSTILE
    masks = {word: content.segmentation.mask("tumour"), f"{word} (T1)": content.segmentation.mask("brain")}
    first, *others = content.comparison.predictions.items()
    columns = dict(content.comparison.table.columns)
    columns["scenario"] = [word, *columns["scenario"][1:]]
    hostile = replace(
        content,
        patient=word,
        question=word,
        reference=content.reference.with_array(content.reference.array, name=word),
        moved=[(content.moved[0][0].with_array(content.moved[0][0].array, name=word, unit=word), None)],
        segmentation=Segmentation.from_masks(grid, masks),
        target=word,
        results={word: word, f"{word}2": Quantity(1.0, word)},
        verdicts=[(word, word, word)],
        comparison=Comparison(replace(content.comparison.table, columns=columns), {word: first[1], **dict(others)}),
        truth=[(word, word, 1.0, 2.0)],
        limits=[word],
        warnings=[word],
        provenance=[{"run": word, "module": word, "software": {word: word}, "parameters": {word: [word]}}],
    )
    source = page_of(hostile, tmp_path)
    clean = Page(page_of(content, tmp_path))
    page = Page(source)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(attrs["src"].startswith("data:") for tag, attrs in page.tags if tag == "img")
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in source
    assert "\x00" not in source


def test_without_a_prediction_the_images_answer(content, tmp_path):
    bare = replace(
        content, comparison=None, posterior=None, moved=[], verdicts=[], truth=[], provenance=[], warnings=[]
    )
    assert answer(bare) == ["Tumour volume: 5.83\u00a0mL.", "No prediction was asked for."]
    text = Page(page_of(bare, tmp_path)).text
    assert "Scenarios" not in text
    assert "none was moved" in text


def test_the_answer_has_intervals(content):
    untreated, treated, _ = answer(content)
    assert untreated.startswith("Without treatment, the viable tumour volume goes from 20\u00a0mL to ")
    assert "90\u00a0% interval" in untreated
    assert "by day 60" in untreated
    assert "in 100\u00a0% of 20 courses" in treated


def test_cells_that_survive_are_told_where_no_volume_shows(content, tmp_path):
    curve = Curve.of_members(np.array([0.0, 60.0]), np.array([[20.0, 4e-6], [20.0, 4e-6]]), "mL")
    name, treated = list(content.comparison.predictions.items())[1]
    treated = replace(treated, curves={**treated.curves, "burden": curve})
    changed = replace(content.comparison, predictions={**content.comparison.predictions, name: treated})
    assert "2.0 × 10⁻⁷" in Page(page_of(replace(content, comparison=changed), tmp_path)).text


def test_other_comparisons_have_their_tables_with_intervals_in_the_cells(content, tmp_path):
    columns = {"scenario": ["5 x 6 Gy"], "burden": [2.0], "burden_low_90": [1.0], "burden_high_90": [3.0]}
    table = Table("Schedule search", columns, {"burden": "mL", "burden_low_90": "mL", "burden_high_90": "mL"})
    write_report(replace(content, tables=[table]), tmp_path / "r.html", Job())
    page = (tmp_path / "r.html").read_text()
    assert "Schedule search, with" in page
    assert '<td class="n">2<small>1 to 3</small></td>' in page
    assert "burden (mL)" in page
    assert "low 90" not in page


def test_what_is_found_in_the_images_has_no_population(content, tmp_path):
    from TwinSimulateLib.onset_unknowns import onset, prior

    onset_of = prior(onset("glioma").parameters, np.array([22.0, 8.0, 10.0]), 7.0)
    text = Page(page_of(replace(content, posterior=onset_of), tmp_path)).text
    assert "Where the tumour began, towards the patient" in text
    assert "Density at the outline on FLAIR." in text


def test_an_unknown_target_is_named(content, tmp_path):
    with pytest.raises(MissingInput, match="lesion"):
        write_report(replace(content, target="lesion"), tmp_path / "report.html", Job())
    assert not list(tmp_path.iterdir())


def test_a_surface_picture_is_embedded_where_it_can_be(content, tmp_path, monkeypatch):
    monkeypatch.setattr("TwinApp.report.render_surfaces", lambda *_: b"\x89PNG")
    source = page_of(content, tmp_path)
    assert "data:image/png;base64,iVBORw==" in source
    assert NO_GL not in source


def test_chart_marks_treatment_and_takes_the_page_colour(content):
    curves = {name: p.curves["volume"] for name, p in content.comparison.predictions.items()}
    days = {s.name: s.days for s in SCENARIOS}
    marked, plain_chart = prediction_chart(curves, days), prediction_chart(curves)
    assert marked.count("<path") >= plain_chart.count("<path") + 30 - 2
    assert "currentColor" in marked
    assert "#010203" not in marked
    assert ">25 x 2 Gy</text>" in marked
    assert marked == prediction_chart(curves, days)


@pytest.mark.parametrize(("last", "logarithmic"), [(30.0, False), (5000.0, True)])
def test_scale_is_logarithmic_only_over_decades(last, logarithmic):
    members = np.linspace([10.0, last], [11.0, last], 5)
    curves = {"none": Curve.of_members(np.array([0.0, 100.0]), members, "mL")}
    assert is_logarithmic(curves) is logarithmic
    assert prediction_chart(curves).startswith("<svg")


def test_a_logarithmic_chart_shows_what_a_linear_one_flattens():
    times = np.array([0.0, 50.0, 100.0])
    curves = {
        "none": Curve(times, np.array([10.0, 11.0, 12.0]), "mL"),
        "a": Curve(times, np.array([10.0, 1e-4, 1e-5]), "mL"),
    }
    assert "10⁻⁴" in prediction_chart(curves, logarithmic=True)
    assert "10⁻⁴" not in prediction_chart(curves)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (366.14, "366"), (12345.6, "12\u202f346"), (-2.5, "−2.5"), (0.0456, "0.0456"), (0.0005, "5.0 × 10⁻⁴"),
     (2.4e-7, "2.4 × 10⁻⁷"),
     (np.inf, "not reached"), (np.nan, "–"), (99.96, "100"), (999.7, "1\u202f000")],
)  # fmt: skip
def test_numbers_in_words(value, words):
    assert number(value) == words


def test_quantities_in_words():
    assert quantity(Estimate(2.0, "mL", (1.5, 2.5), (1.0, 3.0))) == "2\u00a0mL (90\u00a0% interval 1 to 3)"
    assert interval(0.1, 0.2) == "0.1 to 0.2"
    assert volume_interval(1e-9, 2.0) == "under 0.001 to 2"
    assert volume_interval(1e-9, 1e-8) == "under 0.001"
    assert label("suv_max_target") == "Highest SUV in the tumour"
    assert label("alpha_beta") == "Alpha beta"


def test_names_lose_what_disguises_them():
    assert plain("a\x07b\u202ec\nd") == "a b c d"
    assert plain("x" * 400) == "x" * 299 + "…"
