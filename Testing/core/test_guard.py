"""The checks that everything entering passes."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, guard


def image(array, spacing_mm=1.0, modality="MR") -> Image:
    return Image(array, Grid.isotropic(array.shape[:3], spacing_mm), modality, name="The scan")


def test_sound_image_is_returned_as_it_is():
    sound = image(np.arange(24.0).reshape(2, 3, 4))
    assert guard.check_image(sound) is sound


@pytest.mark.parametrize(
    ("array", "spacing_mm", "words"),
    [
        (np.zeros((3, 3, 3)), 1.0, "every voxel has the value 0"),
        (np.arange(9.0).reshape(1, 3, 3), 1.0, "single slice"),
        (np.full((3, 3, 3), np.nan), 1.0, "27 of 27 values are NaN or infinite"),
        (np.arange(27.0).reshape(3, 3, 3) * 1j, 1.0, "complex"),
        (np.arange(27.0).reshape(3, 3, 3), 1000.0, "micrometres"),
        (np.arange(27.0).reshape(3, 3, 3), 0.001, "metres"),
        (np.arange(27.0).reshape(3, 3, 3), 0.02, "largest side"),
        (np.broadcast_to(np.arange(200.0), (2, 2, 200)), 40.0, "largest side"),
    ],
)
def test_what_is_not_plausible_is_named(array, spacing_mm, words):
    with pytest.raises(InvalidInput, match=f"The scan: .*{words}"):
        guard.check_image(image(array, spacing_mm))


def test_sheared_grid():
    matrix = np.eye(4)
    matrix[0, 1] = 0.2
    with pytest.raises(InvalidInput, match="Field: .*right angles"):
        guard.check_grid(Grid((9, 9, 9), matrix), "Field")


def test_not_finite_values_are_counted_in_any_layout():
    array = np.zeros((40, 50, 60), np.float32)
    array[3, 4, 5] = np.inf
    array[30, 4, 5] = np.nan
    assert guard.count_not_finite(array) == guard.count_not_finite(array.T) == guard.count_not_finite(array[::-1]) == 2
    assert guard.count_not_finite(array.astype(bool)) == 0


def test_memory():
    available = guard.available_memory()
    assert available is None or 1e6 < available < 1e15
    guard.check_memory(1000, "A small volume")
    with pytest.raises(InvalidInput, match="The atlas needs 1e\\+12 GB of memory"):
        guard.check_memory(1e21, "The atlas")


def test_memory_that_cannot_be_told_refuses_nothing(monkeypatch):
    monkeypatch.setattr(guard, "available_memory", lambda: None)
    guard.check_memory(1e21, "The atlas")


@pytest.mark.parametrize(
    "hostile",
    [
        "=HYPERLINK('http://x')",
        "+1+1",
        "-1+1|cmd",
        "@SUM(A1)",
        "../../etc/passwd",
        "C:\\Windows\\x",
        "<script>alert(1)</script>",
        "a\nb\r\tc\0d",
        "\u202egpj.exe",
        " \u200b ",
        "",
        None,
        "x" * 1000,
    ],
)
def test_hostile_words_become_harmless(hostile):
    shown = guard.display_name(hostile)
    assert 0 < len(shown) <= 64
    assert shown[0] not in "=+-@."
    assert not set(shown) & set('<>/\\|:*?"`\n\r\t\0\u202e\u200b')


def test_names_in_other_scripts_stay():
    assert guard.display_name("腫瘍 Опухоль ورم Tumeur_é") == "腫瘍 Опухоль ورم Tumeur_é"
