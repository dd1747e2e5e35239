"""The record of a run: content hashes, seeds, and what JSON holds."""

import hashlib
import json

import numpy as np
import pytest

from TwinCore import InvalidInput, Quantity
from TwinCore.provenance import as_json, content_hash, seeds, software, to_text


def test_the_hash_follows_values_shape_type_and_order_but_not_memory_layout():
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    same = content_hash(array)
    assert content_hash(np.asfortranarray(array)) == same
    assert content_hash(array.astype(">i2")) == same
    others = [array.T, array.reshape(4, 3), array.astype(np.int32), array + 1, array.ravel()]
    assert len({same, *map(content_hash, others)}) == 6
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_a_known_hash():
    # sha256 of b"i2(2,)" followed by the bytes 01 00 02 00
    assert content_hash(np.array([1, 2], np.int16)) == hashlib.sha256(b"i2(2,)\x01\x00\x02\x00").hexdigest()


def test_values_become_json():
    value = {"q": Quantity(np.float32(2), "mL"), "a": np.eye(2, dtype=int), "t": (1, None, True), "n": float("inf")}
    held = as_json(value, "Parameter")
    assert held == {"q": {"value": 2.0, "unit": "mL"}, "a": [[1, 0], [0, 1]], "t": [1, None, True], "n": "inf"}
    assert json.loads(to_text(held)) == held


def test_what_json_cannot_hold_is_named():
    with pytest.raises(InvalidInput, match="Parameter.model is a set"):
        as_json({"model": {1, 2}}, "Parameter")


def test_seeds_are_found_by_their_name():
    assert seeds({"seed": 1, "sampler_seed": 2, "seeds": 3, "factor": 4}) == {"seed": 1, "sampler_seed": 2}


def test_versions_of_the_libraries_that_make_the_numbers():
    versions = software()
    assert versions["numpy"] == np.__version__
    assert {"DigitalTwin", "Python", "scipy", "SimpleITK"} <= set(versions)
