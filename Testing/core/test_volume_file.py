"""Reading volumes: agreement with SimpleITK on sound files, and a named refusal of every kind of damaged one."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinCore.itk import grid_of, to_sitk
from TwinCore.volume_file import read_volume

RNG = np.random.default_rng(20)
ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
# Where things are in a NIfTI-1 header.
DIM, DATATYPE, PIXDIM, OFFSET, UNITS, QFORM, SFORM, QUATERNION, SROW, MAGIC = (
    40,
    70,
    76,
    108,
    123,
    252,
    254,
    256,
    280,
    344,
)


def oblique_image(dtype="int16") -> Image:
    """A small image on an oblique, left-handed, anisotropic grid."""
    rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [0.9, 1.7, 3.2]
    matrix[:3, 3] = [-31.5, 12.25, 480.0]
    return Image(RNG.integers(0, 200, (5, 6, 7)).astype(dtype), Grid((5, 6, 7), matrix), "MR")


@pytest.fixture
def nifti(tmp_path) -> Path:
    """An uncompressed, sound NIfTI file of 5 x 6 x 7 floats, to be damaged."""
    path = tmp_path / "scan.nii"
    sitk.WriteImage(to_sitk(oblique_image("float32")), str(path))
    return path


def patch(path: Path, at: int, form: str, *values) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + form, content, at, *values)
    path.write_bytes(content)
    return path


def refused(path: Path, *words: str, modality: str = "MR", **options) -> None:
    """The file is refused, and the message names it and the problem."""
    with pytest.raises(InvalidInput) as caught:
        read_volume(path, modality, **options)
    text = str(caught.value)
    assert path.name in text
    assert str(path.parent) not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_sound_files_agree_with_simpleitk(tmp_path, ending, dtype):
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(to_sitk(oblique_image(dtype)), str(path), ending in (".nrrd", ".mha", ".mhd"))
    theirs = sitk.ReadImage(str(path))
    ours = read_volume(path, "MR", time="2020-01-02")
    np.testing.assert_allclose(ours.grid.ijk_to_ras, grid_of(theirs).ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))
    assert (ours.modality, ours.unit, ours.time, ours.array.dtype) == ("MR", "1", "2020-01-02", np.dtype(dtype))


def test_scaling_and_big_endian(tmp_path, nifti):
    plain = read_volume(nifti, "MR").array
    patch(nifti, 112, "2f", 0.5, -3.0)
    np.testing.assert_allclose(read_volume(nifti, "MR").array, plain * 0.5 - 3.0)
    np.testing.assert_allclose(read_volume(nifti, "MR").array, sitk.GetArrayFromImage(sitk.ReadImage(str(nifti))))
    header = tmp_path / "big.nhdr"
    plain.astype(">f4").tofile(tmp_path / "big.raw")
    header.write_text(
        "NRRD0004\ntype: float\ndimension: 3\nspace: RAS\nsizes: 7 6 5\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n"
        "space origin: (1,2,3)\nencoding: raw\nendian: big\ndata file: big.raw\n"
    )
    image = read_volume(header, "MR")
    np.testing.assert_array_equal(image.array, plain)
    np.testing.assert_array_equal(image.grid.origin, [1, 2, 3])


def test_nifti_2(tmp_path):
    shape, voxels = (4, 3, 2), np.arange(24, dtype="<i2")
    header = bytearray(544)
    struct.pack_into("<i", header, 0, 540)
    header[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into("<h", header, 12, 4)
    struct.pack_into("<8q", header, 16, 3, *shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 1.0, 2.0, 3.0, 0, 0, 0, 0)
    struct.pack_into("<q", header, 168, 544)
    struct.pack_into("<2i", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, 1, 0, 0, -5, 0, 2, 0, 6, 0, 0, 3, 7)
    struct.pack_into("<i", header, 500, 2)
    path = tmp_path / "two.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + voxels.tobytes()))
    image = read_volume(path, "MR")
    np.testing.assert_array_equal(image.array.ravel(), voxels)
    np.testing.assert_array_equal(image.grid.to_ras([1, 1, 1]), [-4, 8, 10])


def test_one_frame_of_a_series(tmp_path):
    frames = RNG.normal(size=(3, 4, 5, 6)).astype(np.float32)
    path = tmp_path / "cine.nii.gz"
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(f) for f in frames]), str(path))
    np.testing.assert_array_equal(read_volume(path, "MR", frame=2).array, frames[2])
    refused(path, "3 volumes", "frame 0 to 2")
    refused(path, "no frame 3", frame=3)


def test_unit_is_asked_for_where_it_matters(nifti):
    with pytest.raises(InvalidInput, match="scan.nii.*g/mL.*Bq/mL"):
        read_volume(nifti, "PT")
    assert read_volume(nifti, "PT", unit="g/mL").unit == "g/mL"
    with pytest.raises(InvalidInput, match="'XR' is not one of"):
        read_volume(nifti, "XR")
    with pytest.raises(MissingInput, match="no file 'absent.nii'"):
        read_volume(nifti.with_name("absent.nii"), "MR")


def test_ct_with_an_offset_is_refused(tmp_path):
    values = np.where(RNG.random((8, 8, 8)) < 0.5, 0, RNG.normal(1040, 20, (8, 8, 8))).astype(np.int16)
    path = tmp_path / "ct.nii"
    sitk.WriteImage(to_sitk(Image(values, Grid.isotropic((8, 8, 8)))), str(path))
    refused(path, "Hounsfield units + 1000", modality="CT")
    sitk.WriteImage(to_sitk(Image(values - np.int16(1000), Grid.isotropic((8, 8, 8)))), str(path))
    assert read_volume(path, "CT").unit == "[hnsf'U]"


def test_files_that_are_no_image(tmp_path):
    for content, word in (
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"),
        (b"PK\x03\x04....", "ZIP"),
        (bytes(400), "not compressed"),
    ):
        path = tmp_path / "brain.nii.gz"
        path.write_bytes(content)
        refused(path, word)
    other = tmp_path / "brain.jpg"
    other.write_bytes(b"\xff\xd8")
    refused(other, "ending")


DAMAGES = {
    "wrong magic": ((MAGIC, "4s", b"xyz\0"), ("magic",)),
    "half of a pair": ((MAGIC, "4s", b"ni1\0"), ("magic", ".hdr and .img")),
    "dim[0] = 9": ((DIM, "h", 9), ("dim[0]", "9")),
    "negative dimension": ((DIM + 2, "h", -7), ("dimensions", "-7")),
    "zero dimension": ((DIM + 2, "h", 0), ("dimensions",)),
    "huge dimensions": ((DIM, "4h", 3, 1200, 1200, 1200), ("cannot hold",)),
    "larger than the file": ((DIM + 2, "h", 8), ("cannot hold",)),
    "smaller than the file": ((DIM + 2, "h", 3), ("more data",)),
    "single slice": ((DIM, "4h", 3, 210, 1, 1), ("single slice",)),
    "unknown data type": ((DATATYPE, "h", 99), ("data type", "99")),
    "colour": ((DATATYPE, "h", 128), ("RGB",)),
    "data offset past the end": ((OFFSET, "f", 1e6), ("data offset",)),
    "data offset in the header": ((OFFSET, "f", 12.0), ("data offset",)),
    "data offset NaN": ((OFFSET, "f", np.nan), ("data offset",)),
    "scaling NaN": ((112, "f", np.nan), ("scaling",)),
    "NaN sform": ((SROW, "f", np.nan), ("sform", "NaN")),
    "singular sform": ((SROW, "12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 3, 0), ("sform", "singular")),
    "no sform and no qform": ((QFORM, "2h", 0, 0), ("neither a qform nor an sform",)),
    "zero spacing": ((PIXDIM + 4, "f", 0.0), ("spacing", "above 0")),
    "negative spacing": ((PIXDIM + 4, "f", -1.0), ("spacing", "above 0")),
    "NaN spacing": ((PIXDIM + 4, "f", np.nan), ("spacing", "finite")),
    "spacing against the sform": ((PIXDIM + 4, "f", 2.0), ("sform", "must agree")),
    "spacing marked as micrometres": ((UNITS, "B", 3), ("micrometres",)),
    "spacing marked as metres": ((UNITS, "B", 1), ("millimetres",)),
    "length unit unknown": ((UNITS, "B", 7), ("length unit",)),
    "NaN value": ((352 + 40, "f", np.nan), ("1 of 210", "NaN")),
    "infinite value": ((352 + 40, "f", np.inf), ("infinite",)),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_nifti_is_refused(nifti, kind):
    (at, form, *values), words = DAMAGES[kind]
    refused(patch(nifti, at, form, *values), *words)


def test_sheared_and_contradictory_geometry(nifti):
    content = nifti.read_bytes()
    lengths = struct.unpack_from("<3f", content, PIXDIM + 4)
    sheared = np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], float)
    sheared[:, :3] *= np.array(lengths) / np.linalg.norm(sheared[:, :3], axis=0)
    patch(nifti, QFORM, "2h", 0, 1)
    refused(patch(nifti, SROW, "12f", *sheared.ravel()), "right angles")
    nifti.write_bytes(content)
    patch(nifti, QFORM, "2h", 1, 1)
    refused(patch(nifti, QUATERNION + 12, "f", 900.0), "disagree")


def test_spacing_in_micrometres_and_metres(tmp_path):
    for spacing, word in ((900.0, "micrometres"), (0.001, "metres")):
        path = tmp_path / "scan.mha"
        sitk.WriteImage(to_sitk(Image(np.arange(60.0).reshape(3, 4, 5), Grid.isotropic((3, 4, 5), spacing))), str(path))
        refused(path, word, "millimetres")


@pytest.mark.parametrize("ending", ENDINGS)
def test_truncated_anywhere(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(to_sitk(oblique_image()), str(path), ending in (".nrrd", ".mha"))
    data = max(tmp_path.iterdir(), key=lambda p: p.stat().st_size) if ending in (".nhdr", ".mhd") else path
    content = data.read_bytes()
    for share in (0.0, 0.3, 0.7, 0.99):
        data.write_bytes(content[: int(share * len(content))])
        with pytest.raises(
            InvalidInput, match="truncated|cannot hold|empty|not .* file|damaged|does not say|dimensions"
        ):
            read_volume(path, "MR")


def test_one_flipped_byte_in_a_compressed_stream(tmp_path):
    for ending in (".nii.gz", ".nrrd", ".mha"):
        path = tmp_path / f"scan{ending}"
        sitk.WriteImage(
            to_sitk(Image(RNG.normal(size=(20, 20, 20)).astype(np.float32), Grid.isotropic((20, 20, 20)))),
            str(path),
            True,
        )
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
        refused(path, "damaged")


def test_decompression_bomb(tmp_path, nifti):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(nifti.read_bytes() + bytes(50_000_000)))
    refused(path, "more data")
    header = nifti.read_bytes()[:352]
    path.write_bytes(gzip.compress(header))
    refused(patch_gz(path, DIM, "4h", 3, 1200, 1200, 1200), "cannot hold")


def patch_gz(path: Path, at: int, form: str, *values) -> Path:
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<" + form, content, at, *values)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def test_gzip_of_several_members(tmp_path, nifti):
    content = nifti.read_bytes()
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(content[:600]) + gzip.compress(content[600:]))
    np.testing.assert_array_equal(read_volume(path, "MR").array, read_volume(nifti, "MR").array)


@pytest.mark.parametrize("outside", ["../secret.raw", "/etc/hostname", "sub/../../secret.raw", "..\\secret.raw"])
def test_detached_data_stay_in_the_folder(tmp_path, outside):
    folder = tmp_path / "case"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(bytes(range(60)))
    for ending, line in ((".mhd", "ElementDataFile = "), (".nhdr", "data file: ")):
        refused(detached(folder / f"scan{ending}", line + outside), "outside its folder")
        refused(detached(folder / f"scan{ending}", line + "absent.raw"), "is not there")
        refused(detached(folder / f"scan{ending}", line + "LIST"), "several files")
        (folder / "sub" / "fine.raw").write_bytes(bytes(range(60)))
        assert read_volume(detached(folder / f"scan{ending}", line + "sub/fine.raw"), "MR").array.max() == 59


def detached(path: Path, data_line: str) -> Path:
    meta = (
        "NDims = 3\nDimSize = 5 4 3\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\nOffset = 0 0 0\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    )
    nrrd = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: LPS\nsizes: 5 4 3\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "space origin: (0,0,0)\nencoding: raw\n"
    )
    path.write_text((meta if path.suffix == ".mhd" else nrrd) + data_line + "\n")
    return path


@pytest.mark.parametrize(
    "drop",
    ["ElementSpacing", "Offset", "TransformMatrix", "ElementType", "DimSize", "space", "type", "sizes", "encoding"],
)
def test_text_headers_with_a_line_missing(tmp_path, drop):
    (tmp_path / "v.raw").write_bytes(bytes(range(60)))
    for ending, line in ((".mhd", "ElementDataFile = v.raw"), (".nhdr", "data file: v.raw")):
        path = detached(tmp_path / f"scan{ending}", line)
        kept = [row for row in path.read_text().splitlines() if row.split(":")[0].split("=")[0].strip() != drop]
        if len(kept) < len(path.read_text().splitlines()):
            path.write_text("\n".join(kept) + "\n")
            refused(path, "does not say", drop)


@pytest.mark.parametrize(
    ("ending", "old", "new", "word"),
    [
        (".mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 0 1", "above 0"),
        (".mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 nan 1", "finite"),
        (".mhd", "ElementSpacing = 1 1 1", "ElementSpacing = 1 1", "3 numbers"),
        (".mhd", "0 1 0 0 0 1", "0 1 0 0 1 0", "singular"),
        (".mhd", "DimSize = 5 4 3", "DimSize = 5 -4 3", "dimensions"),
        (".mhd", "MET_UCHAR", "MET_STRING", "element type"),
        (".mhd", "NDims = 3", "NDims = 4", "4 dimensions"),
        (".mhd", "NDims = 3", "NDims = 3\nElementNumberOfChannels = 3", "components"),
        (".mhd", "NDims = 3", "NDims = 3\nBinaryData = False", "BinaryData"),
        (".nhdr", "NRRD0004", "NRRD0099", "not an NRRD file"),
        (".nhdr", "encoding: raw", "encoding: ascii", "encoding"),
        (".nhdr", "space: LPS", "space: scanner-xyz", "space"),
        (".nhdr", "(0,0,1)", "none", "9 numbers"),
        (".nhdr", "type: uint8", "type: int16", "endian"),
        (".nhdr", "type: uint8", "type: block", "element type"),
        (".nhdr", "dimension: 3", "dimension: 4", "4 dimensions"),
        (".nhdr", "encoding: raw", "encoding: raw\nbyte skip: -1", "byte skip"),
    ],
)
def test_text_headers_with_a_wrong_line(tmp_path, ending, old, new, word):
    (tmp_path / "v.raw").write_bytes(bytes(range(60)))
    path = detached(tmp_path / f"scan{ending}", "ElementDataFile = v.raw" if ending == ".mhd" else "data file: v.raw")
    path.write_text(path.read_text().replace(old, new))
    refused(path, word)


def test_constant_image(tmp_path):
    path = tmp_path / "flat.nrrd"
    sitk.WriteImage(to_sitk(Image(np.full((4, 4, 4), 7, np.uint8), Grid.isotropic((4, 4, 4)))), str(path))
    refused(path, "every voxel has the value 7")
    assert read_volume(path, "").array.max() == 7


@pytest.mark.parametrize("folder", ["brain_tumor", "lung_elastix", "sts_001_raw", "sts_petctmr", "rt"])
def test_real_files_agree_with_simpleitk(data, folder):
    paths = sorted(p for p in data(folder).rglob("*") if p.name.endswith((".nii.gz", ".nrrd", ".mha")))
    assert paths
    for path in paths:
        theirs, ours = sitk.ReadImage(str(path)), read_volume(path)
        assert ours.grid.same_as(grid_of(theirs))
        np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to five bytes changed, taken out or put in."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(min(len(changed), 420)))
        changed[at : at + int(rng.integers(0, 4))] = rng.integers(0, 256, int(rng.integers(0, 4)), np.uint8).tobytes()
    return bytes(changed)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_no_random_damage_escapes_as_another_error(tmp_path, ending):
    path, rng = tmp_path / f"scan{ending}", np.random.default_rng(5)
    sitk.WriteImage(to_sitk(oblique_image()), str(path))
    content, refusals = path.read_bytes(), 0
    for _ in range(150):
        path.write_bytes(damaged(content, rng))
        try:
            read_volume(path, "MR")
        except (InvalidInput, MissingInput):
            refusals += 1
    assert refusals > 50
