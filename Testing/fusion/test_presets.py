"""Presets are data: they follow their schema, and each pair of modalities has one."""

import inspect
import itertools
import json
from dataclasses import fields
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput
from TwinCore.image import MODALITIES
from TwinCore.parameter import complete
from TwinFusionLib.presets import choose_preset, find_preset, fusion_parameters, modality_pairs, pair_of, presets
from TwinFusionLib.step import FusionStep

FOLDER = resources.files("TwinFusionLib")
SCHEMA = json.loads(FOLDER.joinpath("presets_schema.json").read_text("utf-8"))
DOCUMENT = json.loads(FOLDER.joinpath("presets.json").read_text("utf-8"))


def image(modality: str, name: str = "") -> Image:
    return Image(np.zeros((4, 4, 4)), Grid.isotropic((4, 4, 4)), modality, name=name or modality)


def test_presets_follow_their_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(DOCUMENT, SCHEMA)
    assert {"head", "limb", "thorax", "abdomen"} < set(presets())


@pytest.mark.parametrize(
    "wrong",
    [
        {"motion": "elastic", "description": "A motion that there is not."},
        {"motion": "rigid"},
        {"motion": "rigid", "description": "A misspelt key is found out.", "stifness": 2},
        {"motion": "rigid", "description": "A negative number is found out.", "stiffness": -1},
    ],
)
def test_a_wrong_preset_does_not(wrong):
    document = {**DOCUMENT, "presets": {**DOCUMENT["presets"], "new": wrong}}
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_every_pair_of_modalities_has_a_preset_that_exists():
    pairs = {frozenset(pair) for pair in itertools.combinations_with_replacement(MODALITIES, 2)}
    assert set(modality_pairs()) == pairs
    assert len(DOCUMENT["pairs"]) == len(pairs)
    assert all(pair.preset in presets() and pair.cost > 0 for pair in modality_pairs().values())
    assert all(entry["modalities"] == sorted(entry["modalities"]) for entry in DOCUMENT["pairs"])


@pytest.mark.parametrize(
    ("fixed", "moving", "name"),
    [
        ("MR", ["CT"], "CT-MR"),
        ("CT", ["PT"], "PET-CT"),
        ("MR", ["PT", "CT"], "CT-MR"),
        ("PT", ["MR"], "PET-MR"),
        ("MR", ["MR"], "MR contrasts"),
        ("CT", ["US"], "US-MR/CT"),
        ("CT", ["CT"], "follow-up"),
    ],
)
def test_the_usual_preset_is_that_of_the_easiest_pair(fixed, moving, name):
    assert choose_preset(image(fixed), [image(m) for m in moving]).name == name


def test_what_is_not_known_is_named():
    with pytest.raises(InvalidInput, match="'field' does not say its modality"):
        pair_of(image("CT"), image("", "field"))
    with pytest.raises(InvalidInput, match="'knee' is not known; there are: CT-MR"):
        find_preset("knee")


def test_what_can_be_chosen_is_declared_as_the_step_takes_it():
    defaults = {f.name: f.default for f in fields(FusionStep)}
    declared = {p.name: p for p in fusion_parameters()}
    assert {name: p.default for name, p in declared.items()} == {name: defaults[name] for name in declared}
    assert all(p.meaning.endswith(".") for p in declared.values())
    assert set(declared["preset"].options) == {"by modality", *presets()}
    plain = {n for n, p in inspect.signature(FusionStep).parameters.items() if type(p.default) in (str, int, float)}
    assert plain - {"name", "stack"} == set(declared)


@pytest.mark.parametrize(
    "wrong", [{"preset": "knee"}, {"motion": "elastic"}, {"stiffness": -1}, {"spacing_mm": "fine"}, {"seed": True}]
)
def test_wrong_choices_are_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong)) + r"|" + next(iter(wrong)).capitalize()):
        complete(fusion_parameters(), wrong)


def test_every_preset_is_in_the_guide():
    guide = (Path(__file__).resolve().parents[2] / "docs/fusion.md").read_text("utf-8")
    assert [name for name in presets() if f"`{name}`" not in guide] == []


def test_what_a_fusion_takes_grows_with_what_is_deformed():
    from TwinFusionLib.expected import expected

    rigid = expected(7_000_000, ["CT", "MR"], 1)
    assert rigid.seconds == pytest.approx(6.0 + 7.0 + 2 * 0.05 * 7)
    assert expected(7_000_000, ["CT", "MR"], 1, {"motion": "deformable"}).seconds > 3 * rigid.seconds
    assert expected(7_000_000, ["CT", "MR"], 1, {"preset": "thorax"}).seconds > 3 * rigid.seconds
    assert expected(256**3, ["CT", "MR"], 1).memory_bytes == pytest.approx(1.64e9, rel=0.03)
    assert expected(7_000_000, ["CT", "PT"], 0).seconds < rigid.seconds
