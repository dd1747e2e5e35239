"""`digitaltwin onset` on files of a made-up brain, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from glioma_brains import TRUTH, brain, with_tumour
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinApp.onset_files import TIME_SCALE, OnsetFiles, fit_files
from TwinCore import Image, InvalidInput
from TwinCore.itk import to_sitk
from TwinCore.volume_file import read_volume

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "TwinApp/results_schema.json").read_text("utf-8"))
NAMES = {"white": "white matter", "grey": "grey matter", "flair": "flair", "core": "tumour"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder, anatomy = tmp_path_factory.mktemp("onset"), with_tumour(brain(), TRUTH)
    paths = {}
    for option, name in NAMES.items():
        paths[option] = folder / f"{option}.nii.gz"
        mask = anatomy.tissue(name).astype(np.uint8)
        sitk.WriteImage(to_sitk(Image(mask, anatomy.grid)), str(paths[option]))
    return paths


def test_files_give_a_fitted_tumour_with_its_picture(files, tmp_path):
    out = tmp_path / "out"
    options = [part for option, path in files.items() for part in (f"--{option}", str(path))]
    done = CliRunner().invoke(app, ["onset", *options, "--members", "4", "--horizon", "10", "--out", str(out)])
    assert done.exit_code == 0, done.output
    results = json.loads((out / "results.json").read_text("utf-8"))
    jsonschema.validate(results, SCHEMA)
    off_mm = math.dist(
        [results[name]["value"] for name in ("origin_r", "origin_a", "origin_s")],
        [TRUTH[name] for name in ("origin_r", "origin_a", "origin_s")],
    )
    assert off_mm < 2.0
    assert results["dice_flair"]["value"] > 0.95
    assert TIME_SCALE in results["warnings"]
    assert results["scenarios"][0]["scenario"] == "none"
    low, high = results["front_width"]["interval_90"]
    assert low < math.sqrt(TRUTH["diffusivity"] / TRUTH["proliferation_rate"]) < high
    rows = list(csv.DictReader((out / "onset.csv").open(encoding="utf-8")))
    assert {"age", "front_width", "time_scale"} <= {row["parameter"] for row in rows}
    density = read_volume(out / "density.nii.gz")
    assert density.grid.same_as(read_volume(files["core"]).grid)
    assert 0.5 < density.array.max() <= 1.0
    assert (out / "onset.png").read_bytes().startswith(b"\x89PNG")


def test_files_that_cannot_be_used_are_named(files, tmp_path):
    def fitted(**changes):
        fit_files(OnsetFiles(**{**files, **changes}), tmp_path / "none")

    with pytest.raises(InvalidInput, match=r"no label 7"):
        fitted(necrosis=7)
    wrong = tmp_path / "labels.nii.gz"
    image = sitk.ReadImage(str(files["white"]))
    sitk.WriteImage(image * 3, str(wrong))
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        fitted(white=wrong)
    sitk.WriteImage(image * 0, str(wrong))
    with pytest.raises(InvalidInput, match="nothing is outlined"):
        fitted(flair=wrong)
    with pytest.raises(InvalidInput, match="members"):
        fit_files(OnsetFiles(**files), tmp_path / "none", members=1)
    assert not (tmp_path / "none").exists()
