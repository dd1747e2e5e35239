"""Saving and loading: a bundle read by a fresh process, and bundles that must not be read."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, MissingInput, Segmentation
from TwinCore.scene import (
    ROLES,
    Twin,
    hash_of,
    load,
    new_scene,
    node_to_segmentation,
    node_to_segmentations,
    node_to_sequence,
    node_to_transform,
    save,
    segmentation_to_node,
    snapshot,
)
from TwinCore.scene.sequences import browser_of

DESCRIBE = """
import json, sys
from TwinCore.scene import Twin, load, new_scene, snapshot
sys.path.insert(0, sys.argv[2])
from test_storage import describe
scene = new_scene()
twins = load(sys.argv[1])
described = describe(twins[0])
while twins[0].nodes("run"):
    twins[0].revert_last_run()
kinds = ("VolumeNode", "TransformNode", "SequenceNode", "BrowserNode", "SegmentationNode", "TextNode")
left = sorted(n["class"] for n in snapshot(scene)["nodes"].values() if n["class"].endswith(kinds))
print(json.dumps({"patients": [t.patient for t in twins], "twin": described, "left": left}))
"""


def describe(twin: Twin) -> dict:
    """Everything that a reader of the twin can see, as JSON."""
    roles = {role: [[n.GetName(), n.GetClassName(), hash_of(n)] for n in twin.nodes(role)] for role in ROLES}
    attributes = {
        n.GetName(): {a: n.GetAttribute(a) for a in sorted(n.GetAttributeNames()) if a.startswith("DigitalTwin.")}
        for r in ROLES
        for n in twin.nodes(r)
    }
    segmentation = node_to_segmentation(twin.node("segmentation"))
    sequence = node_to_sequence(twin.node("sequence"))
    outlines = node_to_segmentations(twin.nodes("sequence")[1])
    rigid, warp = (node_to_transform(n) for n in twin.nodes("transform"))
    table, chart = twin.node("table"), twin.node("plot")
    content = {
        "segments": [
            [s.name, np.round(s.colour, 5).tolist(), s.code, int(segmentation.mask(s.name).sum())]
            for s in segmentation.segments
        ],
        "sequence": [[i.time, i.unit, i.modality, float(np.float32(i.array.sum()).round(2))] for i in sequence],
        "outlines": [[day, one.names, [one.volume_ml(name) for name in one.names]] for day, one in outlines.items()],
        "played": [n.GetMasterSequenceNode().GetName() for n in map(browser_of, twin.nodes("sequence"))],
        "rigid": np.round(rigid.matrix, 9).tolist(),
        "warp": np.round(warp.displacement_mm, 4).tolist(),
        "units": [table.GetColumnUnitLabel("time"), table.GetColumnUnitLabel("volume")],
        "chart": [chart.GetXAxisTitle(), chart.GetNthPlotSeriesNode(0).GetTableNode() is table],
        "moving": twin.node("transform").GetNodeReference("spatialRegistrationMoving").GetName(),
    }
    return {
        "roles": roles,
        "attributes": attributes,
        "content": content,
        "provenance": twin.provenance(),
        "hierarchy": snapshot(twin.scene)["hierarchy"],
    }


@pytest.fixture
def full(twin, image, fill) -> Twin:
    with twin.run("TwinFusion", {"method": "rigid"}, twin.nodes("image")) as run:
        fill(run, image)
    with twin.run("TwinSimulate", {"seed": 3}) as run:
        run.add_image(image, "field")
    return twin


def test_a_fresh_process_finds_everything_and_can_revert(full, tmp_path):
    path = save(full, tmp_path / "Patient A.mrb")
    before = json.loads(json.dumps(describe(full)))
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", DESCRIBE, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    assert after["patients"] == ["Patient A"]
    for part in before:
        assert after["twin"][part] == before[part], part
    assert after["left"] == ["vtkMRMLScalarVolumeNode"]


def test_saving_changes_no_node_but_for_storage(scene, full, tmp_path):
    save(scene, tmp_path / "a.mrb")
    before = snapshot(scene)
    save(full, tmp_path / "b.mrb")
    assert snapshot(scene) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mrb", "b.mrb"]


def test_loading_beside_another_twin_keeps_both(full, image, tmp_path):
    path = save(full, tmp_path / "a.mrb")
    before = describe(full)
    other = Twin.create("Patient B", new_scene())
    other.add_image(image, reference=True)
    with other.run("TwinFusion", {}) as run:
        run.add_image(image, "fused")
    [loaded] = load(path)
    assert {t.patient for t in Twin.all()} == {"Patient A", "Patient B"}
    assert loaded.patient == "Patient A"
    after = describe(loaded)
    assert (after["roles"], after["content"]) == (before["roles"], before["content"])
    assert {p for p in after["hierarchy"] if p[0] == "Patient A"} == set(before["hierarchy"])
    other.revert_last_run()
    assert other.nodes("fused") == []
    assert describe(loaded)["roles"] == before["roles"]


def test_a_left_handed_volume_means_the_same_after_loading(scene, tmp_path, image):
    flipped = Grid(image.grid.shape, image.grid.ijk_to_ras @ np.diag([1, 1, -1, 1]))
    twin = Twin.create("A", scene)
    nodes = [twin.add_image(image.with_array(image.array, grid=grid)) for grid in (image.grid, flipped)]
    hashes = [hash_of(node) for node in nodes]
    save(twin, tmp_path / "a.mrb")
    new_scene()
    [loaded] = load(tmp_path / "a.mrb")
    assert [hash_of(node) for node in loaded.nodes("image")] == hashes
    assert hashes[0] != hashes[1]


def test_saving_replaces_a_file_only_when_complete(scene, twin, tmp_path, monkeypatch):
    path = save(twin, tmp_path / "a.mrb")
    whole = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InvalidInput, match="No space left"):
        save(twin, path)
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["a.mrb"]


@pytest.mark.parametrize("name", ["scene.zip", "missing/scene.mrb"])
def test_names_that_cannot_be_saved_to(twin, tmp_path, name):
    with pytest.raises(InvalidInput, match=r"as a \.mrb file|does not exist"):
        save(twin, tmp_path / name)


def test_a_missing_file_is_named(scene, tmp_path):
    with pytest.raises(MissingInput, match="nothing.mrb"):
        load(tmp_path / "nothing.mrb")


def bundle(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def described(**attributes: str) -> bytes:
    written = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    kind = "VolumeArchetypeStorage"
    return f'<MRML version="Slicer4.4.0"><{kind} id="vtkMRML{kind}Node1" {written}></{kind}></MRML>'.encode()


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def around(members: dict[str, bytes]) -> dict[str, bytes]:
    """A bundle with a sequence whose items are a bundle of their own."""
    return {"a/a.mrml": b"<MRML/>", "a/Data/items.seq.mrb": packed(members)}


HOSTILE = {
    "sequence climbs out": (around({"../evil.txt": b"x", "b/b.mrml": b"<MRML/>"}), "outside the folder"),
    "sequence bomb": (around({"b/b.mrml": b"<MRML/>", "b/zeros.raw": bytes(30_000_000)}), "would unpack to 0.03 GB"),
    "sequence of files elsewhere": (
        around({"b/b.mrml": described(fileName="/etc/passwd")}),
        "'/etc/passwd', which is not a file of the bundle",
    ),
    "sequence in a sequence": (around(around({"b/b.mrml": b"<MRML/>"})), "within bundles"),
    "sequence that is none": ({"a/a.mrml": b"<MRML/>", "a/i.seq.mrb": b"x"}, "not a complete scene bundle"),
    "sequence by another name": (
        {"a/a.mrml": described(fileName="Data/x.seq.MRB"), "a/Data/x.seq.MRB": packed({"../evil.txt": b"x"})},
        "outside the folder",
    ),
    "climbs out": ({"../evil.txt": b"x", "a/a.mrml": b"<MRML/>"}, "outside the folder"),
    "absolute": ({"/tmp/evil.txt": b"x", "a/a.mrml": b"<MRML/>"}, "outside the folder"),
    "windows drive": ({"C:\\evil.txt": b"x", "a/a.mrml": b"<MRML/>"}, "outside the folder"),
    "backslashes": ({"a\\..\\..\\evil.txt": b"x", "a/a.mrml": b"<MRML/>"}, "outside the folder"),
    "bomb": ({"a/a.mrml": b"<MRML/>", "a/Data/zeros.raw": bytes(30_000_000)}, "would unpack to 0.03 GB"),
    "bomb within": (
        {"a/a.mrml": b"<MRML/>", "a/Data/v.nrrd": b"NRRD0004\ntype: float\ndimension: 3\nsizes: 9000 9000 9000\n\n"},
        "announces volumes",
    ),
    "two scenes": ({"a/a.mrml": b"<MRML/>", "a/b.mrml": b"<MRML/>"}, "holds 2 .mrml files"),
    "no scene": ({"a/readme.txt": b"hello"}, "holds 0 .mrml files"),
    "broken description": ({"a/a.mrml": b"<MRML><Volume"}, "description is damaged"),
    "someone else's file": (
        {"a/a.mrml": described(fileName="/etc/passwd")},
        "'/etc/passwd', which is not a file of the bundle",
    ),
    "a file above": ({"a/a.mrml": described(fileName="../../secret.nrrd")}, "not a file of the bundle"),
    "a file above, encoded": (
        {"a/a.mrml": described(fileName="%2e%2e/%2E%2E/secret.nrrd")},
        "not a file of the bundle",
    ),
    "a web address as file": ({"a/a.mrml": described(fileName="http://localhost/x.nrrd")}, "not a file of the bundle"),
    "a web address": ({"a/a.mrml": described(uri="http://localhost/x.nrrd")}, "not a file of the bundle"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_bundles_are_refused_and_leave_no_trace(scene, twin, tmp_path, kind):
    members, message = HOSTILE[kind]
    path = bundle(tmp_path / "hostile.mrb", members)
    before = snapshot(scene)
    with pytest.raises(InvalidInput, match=message):
        load(path, limit_bytes=20_000_000)
    assert snapshot(scene) == before
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.mrb"]
    assert not Path("/tmp/evil.txt").exists()


def test_a_link_in_a_bundle_is_refused(scene, tmp_path):
    link = zipfile.ZipInfo("a/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.mrb", "w") as file:
        file.writestr("a/a.mrml", b"<MRML/>")
        file.writestr(link, b"/etc")
    with pytest.raises(InvalidInput, match="outside the folder"):
        load(tmp_path / "link.mrb")


def test_a_bundle_that_understates_its_sizes_is_refused(scene, tmp_path):
    path = bundle(tmp_path / "liar.mrb", {"a/a.mrml": b"<MRML/>", "a/zeros.raw": bytes(1_000_000)})
    content = path.read_bytes()
    path.write_bytes(content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(InvalidInput, match="not a complete scene bundle"):
        load(path)


@pytest.mark.parametrize("cut", [0, 10, 2000])
def test_a_truncated_bundle_is_refused(scene, twin, tmp_path, cut):
    path = save(twin, tmp_path / "a.mrb")
    path.write_bytes(path.read_bytes()[:cut])
    before = snapshot(scene)
    with pytest.raises(InvalidInput, match="not a complete scene bundle"):
        load(path)
    assert snapshot(scene) == before


@pytest.mark.parametrize("at", range(60, 2000, 97))
def test_a_damaged_bundle_never_ends_in_another_error(scene, twin, tmp_path, at):
    path = save(twin, tmp_path / "a.mrb")
    content = bytearray(path.read_bytes())
    content[at : at + 8] = bytes(255 - byte for byte in content[at : at + 8])
    path.write_bytes(content)
    before = snapshot(scene)
    try:
        load(path)
    except InvalidInput:
        assert snapshot(scene) == before


def test_a_bundle_that_lacks_a_volume_s_file_is_refused(scene, twin, tmp_path):
    path = save(twin, tmp_path / "a.mrb")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if not name.endswith(".nrrd")}
    bundle(tmp_path / "b.mrb", members)
    before = snapshot(scene)
    with pytest.raises(InvalidInput, match="could not be read"):
        load(tmp_path / "b.mrb")
    assert snapshot(scene) == before


def test_overlapping_segments_survive_storage(scene, tmp_path, grid):
    rng = np.random.default_rng(0)
    masks = {name: rng.random(grid.shape) > 0.5 for name in ("a", "b", "c")}
    segmentation_to_node(Segmentation.from_masks(grid, masks), scene, "Overlaps")
    save(scene, tmp_path / "a.mrb")
    new_scene()
    assert load(tmp_path / "a.mrb") == []
    again = node_to_segmentation(scene.GetFirstNodeByName("Overlaps"))
    assert again.grid.same_as(grid, 1e-3)
    for name, mask in masks.items():
        np.testing.assert_array_equal(again.mask(name), mask)


@pytest.mark.parametrize("channels", [2, 4, 5, 6, 9])
def test_any_number_of_channels_survives_storage(scene, tmp_path, grid, channels):
    values = np.random.default_rng(0).normal(size=(*grid.shape, channels)).astype(np.float32)
    twin = Twin.create("A", scene)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(Image(values, grid, name="channels"), "channels")
    save(twin, tmp_path / "a.mrb")
    new_scene()
    [loaded] = load(tmp_path / "a.mrb")
    again = loaded.image(loaded.node("channels"))
    np.testing.assert_array_equal(again.array, values)
    assert again.grid.same_as(grid, 1e-3)
    before = snapshot(loaded.scene)["nodes"]
    loaded.revert_last_run()
    assert {n["class"] for n in before.values()} - {n["class"] for n in snapshot(loaded.scene)["nodes"].values()} >= {
        "vtkMRMLVectorVolumeNode",
        "vtkMRMLVolumeArchetypeStorageNode" if channels < 5 else "vtkMRMLNRRDStorageNode",
    }


def test_channels_and_a_sheared_grid_survive_storage(scene, tmp_path, grid):
    shear = np.eye(4)
    shear[0, 2] = 0.3
    sheared = Grid(grid.shape, shear @ grid.ijk_to_ras)
    assert not sheared.is_orthogonal
    values = np.random.default_rng(0).normal(size=(*grid.shape, 3)).astype(np.float32)
    twin = Twin.create("A", scene)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(Image(values, grid, name="vectors"), "fused")
        run.add_image(Image(values[..., 0], sheared, name="tilted"), "fused")
    save(twin, tmp_path / "a.mrb")
    new_scene()
    [loaded] = load(tmp_path / "a.mrb")
    vectors, tilted = (loaded.image(node) for node in loaded.nodes("fused"))
    np.testing.assert_array_equal(vectors.array, values)
    np.testing.assert_array_equal(tilted.array, values[..., 0])
    assert vectors.grid.same_as(grid, 1e-3)
    assert tilted.grid.same_as(sheared, 1e-3)
