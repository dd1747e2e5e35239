"""The header of a NIfTI file, read strictly.

Source: the NIfTI-1 and NIfTI-2 field tables of the NIfTI Data Format Working Group (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import struct

import numpy as np

from .errors import InvalidInput
from .volume_header import VolumeHeader, check_matrix, check_spacing, checked_shape, numbers

# Field: (format, offset) in the two versions of NIfTI.
_NIFTI_1 = {
    "dim": ("8h", 40),
    "datatype": ("h", 70),
    "pixdim": ("8f", 76),
    "vox_offset": ("f", 108),
    "scaling": ("2f", 112),
    "units": ("B", 123),
    "qform_code": ("h", 252),
    "sform_code": ("h", 254),
    "quaternion": ("6f", 256),
    "sform": ("12f", 280),
}
_NIFTI_2 = {
    "dim": ("8q", 16),
    "datatype": ("h", 12),
    "pixdim": ("8d", 104),
    "vox_offset": ("q", 168),
    "scaling": ("2d", 176),
    "units": ("i", 500),
    "qform_code": ("i", 344),
    "sform_code": ("i", 348),
    "quaternion": ("6d", 352),
    "sform": ("12d", 400),
}
_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_NIFTI_REFUSED = {
    32: "complex numbers",
    128: "colour (RGB)",
    1536: "128-bit floating point",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "colour (RGBA)",
    1: "single bits",
}
_NIFTI_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def nifti_header(start: bytes, name: str) -> VolumeHeader:
    """The header of a NIfTI-1 or NIfTI-2 file from its first 544 bytes, decompressed."""
    if len(start) < 348:
        raise InvalidInput(
            f"{name}: the file ends within its header, after {len(start)} bytes. A NIfTI header has 348; the file is "
            "truncated."
        )
    sizes = {order: struct.unpack(order + "i", start[:4])[0] for order in "<>"}
    found = [(order, size) for order, size in sizes.items() if size in (348, 540)]
    if not found:
        raise InvalidInput(f"{name}: it is not a NIfTI file: it does not start with the header size 348 or 540.")
    order, size = found[0]
    magic, right = (start[344:348], b"n+1\0") if size == 348 else (start[4:12], b"n+2\0\r\n\x1a\n")
    if magic != right:
        pair = (
            " It is one of a pair of .hdr and .img files: save it as one .nii file."
            if magic[:2] in (b"ni", b"\0\0")
            else ""
        )
        raise InvalidInput(f"{name}: the NIfTI magic is {magic!r}, not {right!r}.{pair}")
    if len(start) < size:
        raise InvalidInput(
            f"{name}: the file ends within its header, after {len(start)} of {size} bytes: it is truncated."
        )
    table = _NIFTI_1 if size == 348 else _NIFTI_2
    field = {key: struct.unpack_from(order + form, start, at) for key, (form, at) in table.items()}
    shape = _nifti_shape(field["dim"], name)
    code = field["datatype"][0]
    if code not in _NIFTI_TYPES:
        raise InvalidInput(
            f"{name}: the data type code {code} ({_NIFTI_REFUSED.get(code, 'unknown')}) cannot be read. Grey values as "
            "integers or floating point can."
        )
    offset = field["vox_offset"][0]
    if not np.isfinite(offset) or offset < size or offset != int(offset):
        raise InvalidInput(
            f"{name}: the data offset is {offset:g}; it must be a whole number of bytes, {size + 4} or more."
        )
    slope, intercept = field["scaling"]
    if not np.isfinite([slope, intercept]).all():
        raise InvalidInput(f"{name}: the scaling is {slope} x + {intercept}; both numbers must be finite.")
    slope, intercept = (slope, intercept) if slope else (1.0, 0.0)
    return VolumeHeader(
        shape, np.dtype(order + _NIFTI_TYPES[code]), int(offset), _nifti_affine(field, name), slope, intercept
    )


def _nifti_shape(dim: tuple[int, ...], name: str) -> tuple[int, ...]:
    rank = dim[0]
    if not 1 <= rank <= 7:
        raise InvalidInput(f"{name}: dim[0], the number of dimensions, is {rank}; it must be 3, or 4 for a series.")
    sizes = list(dim[1 : rank + 1])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) not in (3, 4):
        raise InvalidInput(
            f"{name}: it has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}); a volume has 3, a series of "
            "volumes 4."
        )
    return checked_shape(sizes, name)


def _nifti_affine(field: dict, name: str) -> np.ndarray:
    """The sform where there is one, else the qform; refused where both claim the same frame and disagree."""
    scale = _NIFTI_UNIT_MM.get(field["units"][0] & 7)
    if scale is None:
        raise InvalidInput(
            f"{name}: the code of its length unit is {field['units'][0] & 7}; it must be 2 (millimetres)."
        )
    pixdim = np.array(field["pixdim"][1:4])
    check_spacing(pixdim, name, "pixdim")
    sform_code, qform_code = field["sform_code"][0], field["qform_code"][0]
    if sform_code <= 0 and qform_code <= 0:
        raise InvalidInput(
            f"{name}: it has neither a qform nor an sform, so where the image lies in the patient is not known. Save "
            "it with one of them."
        )
    quaternion = np.array(field["quaternion"])
    sform = np.vstack([np.array(field["sform"]).reshape(3, 4), [0, 0, 0, 1]])
    if qform_code > 0:
        if not np.isfinite(quaternion).all():
            raise InvalidInput(
                f"{name}: the qform holds NaN or infinite numbers. Position and orientation must be finite."
            )
        qform = _quaternion_affine(quaternion, pixdim, field["pixdim"][0])
    if sform_code <= 0:
        return _scaled(qform, scale)
    check_matrix(sform, name, "sform")
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    if not np.allclose(spacing, pixdim, rtol=0.01):
        raise InvalidInput(
            f"{name}: the sform says a spacing of {numbers(spacing)} mm and pixdim says {numbers(pixdim)} mm. They "
            "must agree."
        )
    if sform_code == qform_code:
        box = np.array([[i, j, k, 1] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * [*field["dim"][1:4], 1]
        apart = np.abs(box @ (sform - qform).T).max()
        if apart > 0.5 * spacing.max():
            raise InvalidInput(
                f"{name}: qform and sform claim the same frame and disagree by up to {apart:.3g} mm. Remove the wrong "
                "one."
            )
    return _scaled(sform, scale)


def _quaternion_affine(numbers: np.ndarray, pixdim: np.ndarray, handedness: float) -> np.ndarray:
    b, c, d = numbers[:3]
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * (pixdim * [1, 1, -1 if handedness < 0 else 1])
    affine[:3, 3] = numbers[3:]
    return affine


def _scaled(affine: np.ndarray, factor: float) -> np.ndarray:
    return np.diag([factor, factor, factor, 1.0]) @ affine
