"""`digitaltwin dce` on phases made by the extended Tofts model, and what it refuses."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinApp.enhancing import Sequence3D, map_enhancement
from TwinCore import Grid, Image, InvalidInput
from TwinCore.itk import to_sitk
from TwinCore.volume_file import read_volume
from TwinSimulateLib.tofts import extended_tofts, parker_input

GRID = Grid.isotropic((6, 12, 12), 3.0, (-20.0, -20.0, 0.0))
TIMES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
T1_MS, TR_MS, FLIP = 1000.0, 6.0, 15.0


@pytest.fixture
def files(tmp_path):
    """Phases of a tumour whose halves have Ktrans 0.3 and 0.1 /min, and its mask."""
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2:4, 4:8, 3:9] = 1
    ktrans = np.full(GRID.shape, 0.01)
    ktrans[..., 3:6], ktrans[..., 6:9] = 0.3, 0.1
    fine = np.arange(481) / 60.0
    curves = extended_tofts(fine, parker_input(fine - 0.2), np.where(mask > 0, ktrans, 0.01).ravel(), 0.4, 0.02)
    curves = curves[:, np.searchsorted(fine, TIMES)]
    decay = np.exp(-TR_MS * (1 / T1_MS + 4.5e-3 * curves))
    turn = np.deg2rad(FLIP)
    signal = 1000 * np.sin(turn) * (1 - decay) / (1 - decay * np.cos(turn))
    paths = []
    for n in range(TIMES.size):
        paths.append(tmp_path / f"phase{n}.nii.gz")
        shown = signal[:, n].reshape(GRID.shape).astype(np.float32)
        shown[0] = 0.5  # air
        sitk.WriteImage(to_sitk(Image(shown, GRID)), str(paths[-1]))
    sitk.WriteImage(to_sitk(Image(mask, GRID)), str(tmp_path / "tumour.nii.gz"))
    return paths, tmp_path / "tumour.nii.gz", mask > 0


def test_phases_become_maps_a_table_and_a_picture(files, tmp_path):
    paths, tumour, mask = files
    times = [argument for t in TIMES for argument in ("--time", str(t))]
    out = tmp_path / "out"
    given = ["dce", *map(str, paths), *times, "--tumour", str(tumour), "--arrival", "0.2", "--out", str(out)]
    answer = CliRunner().invoke(app, [*given, "--t1", str(T1_MS), "--tr", str(TR_MS), "--flip", str(FLIP)])
    assert answer.exit_code == 0, answer.output
    ktrans = read_volume(out / "ktrans.nii.gz", "MR").array
    assert ktrans[2, 5, 4] == pytest.approx(0.3, rel=1e-3)
    assert ktrans[2, 5, 7] == pytest.approx(0.1, rel=1e-3)
    delivery = read_volume(out / "drug_delivery.nii.gz", "MR").array
    assert delivery[mask].mean() == pytest.approx(1, rel=1e-5)
    assert delivery[2, 5, 4] == pytest.approx(1.5, rel=1e-3)
    with open(out / "dce.csv", newline="", encoding="utf-8") as file:
        table = {row["map"]: row for row in csv.DictReader(file)}
    assert float(table["ktrans"]["mean"]) == pytest.approx(0.2, rel=1e-3)
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["median_ve"]["value"] == pytest.approx(0.4, rel=1e-3)
    assert (out / "dce.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "provenance.json").read_text("utf-8"))["runs"][0]["module"] == "TwinApp.enhancing"


def test_two_phases_are_enough_without_a_tumour(files, tmp_path):
    paths, _, _ = files
    results = map_enhancement(paths[:2], TIMES[:2], tmp_path / "out")
    assert "median_ktrans" not in results
    assert results["median_relative_enhancement"]["value"] > 0
    assert not (tmp_path / "out/drug_delivery.nii.gz").exists()


def test_what_is_missing_is_said_and_nothing_is_written(files, tmp_path):
    paths, _, _ = files
    with pytest.raises(InvalidInput, match="all three or none"):
        Sequence3D.of(1000.0, None, 15.0)
    with pytest.raises(InvalidInput, match="8 phases or more"):
        map_enhancement(paths[:3], TIMES[:3], tmp_path / "out", sequence=Sequence3D(T1_MS, TR_MS, FLIP))
    assert not (tmp_path / "out").exists()
