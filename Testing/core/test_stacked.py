"""Images on one grid as one image with channels."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput
from TwinCore.image import stacked

GRID = Grid.isotropic((3, 4, 5), 2.0)
CT = Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), GRID, "CT", name="CT")


def test_channels_come_in_order_as_float32():
    both = stacked([CT, CT.with_array(CT.array * 2.0, name="PET")], "both")
    assert both.array.dtype == np.float32
    assert both.array.shape == (3, 4, 5, 2)
    np.testing.assert_array_equal(both.array[..., 1], 2 * CT.array)
    assert (both.name, both.grid) == ("both", GRID)


@pytest.mark.parametrize(
    "images",
    [
        [],
        [CT, Image(np.zeros((3, 4, 5)), Grid.isotropic((3, 4, 5), 2.5), name="PET")],
        [CT, Image(np.zeros((3, 4, 5, 2)), GRID, name="PET")],
    ],
)
def test_what_cannot_be_stacked_is_named(images):
    with pytest.raises(InvalidInput, match="'PET'" if images else "no images"):
        stacked(images)
