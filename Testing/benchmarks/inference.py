"""How fast a whole head is segmented beside MONAI's sliding window on torch: `make bench`.

    python inference.py            # UNet, SegResNet and MeshNet on 192 x 224 x 192 voxels
    python inference.py MeshNet    # one of them

Every network has random weights and takes the same volume: the T1 of `brain_t1` where DIGITALTWIN_DATA has it, or noise
in an ellipsoid of a head's size. "same windows" uses MONAI's own window positions and weights the scores alike; the
others are what a model does: windows over the head alone, of the size that covers it with the fewest voxels. MONAI is
timed with torch's usual and with channels-last memory, and compared at the better one.

Scores inside the head are compared with MONAI's, as a share of their range. Where a network normalises over its window
and has random weights, its scores change with the windows, so that fitted ones say nothing about a trained network.
The limit is the rate at which torch multiplies large matrices of float32; a network's operations are those of its
convolutions. Methods take turns; the clock's figures are medians. The processor's time, a core, is less moved by other
work; torch counts its waiting for other work as well.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from registration_tools import THREADS, print_table

from TwinCore import bounding_box
from TwinCore.volume_file import read_volume
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.model import AT_ONCE
from TwinSegmentLib.networks.module_network import ModuleNetwork
from TwinSegmentLib.networks.windows import fitted_windows, window_starts, windowed

SHAPE, WINDOW, OVERLAP, CLASSES = (192, 224, 192), (96, 96, 96), 0.25, 5
HEAD_RADII = (68, 88, 66)
REPEATS = 3
T1 = Path(os.environ.get("DIGITALTWIN_DATA", "../shared/data")) / "brain_t1/t1_crop.nii.gz"


def main(asked: list[str]) -> None:
    try:
        import torch
        from monai.networks.nets import SegResNet, UNet
    except ImportError as error:
        print(f"Left out: {error.name} is not installed (pip install 'digitaltwin[ai]').")
        return
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    image, inside = head()
    print(f"## Whole head of {' x '.join(map(str, SHAPE))} voxels, windows of {WINDOW[0]}, overlap {OVERLAP}\n")
    widths = (16, 32, 64, 128, 256)
    networks = {
        "UNet": lambda: UNet(3, 1, CLASSES, widths, (2, 2, 2, 2), num_res_units=2),
        "UNet, batch norm": lambda: UNet(3, 1, CLASSES, widths, (2, 2, 2, 2), num_res_units=2, norm="batch"),
        "SegResNet": lambda: SegResNet(3, 16, 1, CLASSES),
        "MeshNet": lambda: mesh(torch),
    }
    lines = []
    for name in asked or networks:
        lines += compared(name, networks[name]().eval(), image, inside)
    header = ["network", "method", "s by the clock", f"s of the processor / {THREADS}", "times as fast", "by processor"]
    print_table([*header, "of the limit", "labels as MONAI's", "scores apart"], lines)


def compared(name: str, module: Any, image: np.ndarray, inside: np.ndarray) -> list[list[str]]:
    """Rows of the table for a network."""
    import copy

    import torch

    from TwinSegmentLib.networks.torch_module import least_multiple

    network = ModuleNetwork(module, 1, CLASSES, least_multiple(module, 1, WINDOW[0] // 3))
    each = partial(Engine(network, {}).each, at_once=AT_ONCE)
    # Windows of another size are another engine, so that neither is made anew in its turn.
    size, starts = fitted_windows(inside, WINDOW, OVERLAP, network.window_freedom, network.multiple)
    fitted_each = partial(Engine(network, {}).each, at_once=AT_ONCE if len(starts) > 1 else 1)
    last = copy.deepcopy(module).to(memory_format=torch.channels_last_3d)
    methods = {
        "MONAI, torch": partial(in_torch, module, image, torch.contiguous_format),
        "MONAI, torch, channels last": partial(in_torch, last, image, torch.channels_last_3d),
        "same windows": partial(windowed, each, image, CLASSES, WINDOW, window_starts(SHAPE, WINDOW, OVERLAP)),
        f"{len(starts)} windows of {' x '.join(map(str, size))}": partial(
            windowed, fitted_each, image, CLASSES, size, starts
        ),
    }
    count = len(window_starts(SHAPE, WINDOW, OVERLAP))
    work = dict.fromkeys(methods, count * operations(module, WINDOW))
    work[list(methods)[-1]] = len(starts) * operations(module, size)
    answers, clock, processor = timed(methods)
    limit = operations_a_second()
    peer, rows = answers["MONAI, torch"], []
    best, best_processor = (min(one[m] for m in list(methods)[:2]) for one in (clock, processor))
    span = np.ptp(peer[inside])
    for method, scores in answers.items():
        agree = (scores.argmax(-1) == peer.argmax(-1))[inside].mean()
        apart = np.abs(scores - peer)[inside].max() / span
        faster = [f"{best / clock[method]:.1f}", f"{best_processor / processor[method]:.1f}"]
        seconds = [f"{clock[method]:.2f}", f"{processor[method]:.2f}"]
        share = f"{work[method] / clock[method] / limit:.0%}"
        rows.append([name, method, *seconds, *faster, share, f"{agree:.3%}", f"{apart:.1e}"])
    return rows


def in_torch(module: Any, image: np.ndarray, memory_format: Any) -> np.ndarray:
    """Scores (k, j, i, classes) by MONAI's sliding window."""
    import torch
    from monai.inferers import sliding_window_inference

    def predict(window: torch.Tensor) -> torch.Tensor:
        return module(window.contiguous(memory_format=memory_format))

    with torch.inference_mode():
        scores = sliding_window_inference(
            torch.from_numpy(image[None]), WINDOW, 1, predict, overlap=OVERLAP, mode="gaussian"
        )
    return scores[0].numpy().transpose(1, 2, 3, 0)


def head() -> tuple[np.ndarray, np.ndarray]:
    """A volume (1, k, j, i) with a head in it, dark elsewhere, and the head."""
    from scipy.ndimage import gaussian_filter

    if T1.exists():
        array = read_volume(T1, modality="MR").array.astype(np.float32)
        low, high = bounding_box(array > 0.1 * np.percentile(array, 99.5))
        first = np.clip((low + high - SHAPE) // 2, 0, np.array(array.shape) - SHAPE)
        array = array[tuple(slice(a, a + n) for a, n in zip(first, SHAPE))]
        inside = array > 0.05 * np.percentile(array, 99.5)
        return (array / np.percentile(array, 99.5))[None], inside
    middle = (np.array(SHAPE) - 1) / 2
    at = (np.indices(SHAPE) - middle[:, None, None, None]) / np.array(HEAD_RADII)[:, None, None, None]
    inside = (at**2).sum(0) < 1
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32), 1.5)
    return ((0.5 + 2 * noise) * inside)[None].astype(np.float32), inside


def mesh(torch):
    """A MeshNet of 30 channels in torch."""
    layers, channels = [], 1
    for dilation in (1, 2, 4, 8, 16, 8, 4, 2, 1):
        layers += [torch.nn.Conv3d(channels, 30, 3, padding=dilation, dilation=dilation), torch.nn.ELU()]
        channels = 30
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(channels, CLASSES, 1))


def operations(module: Any, size: Sequence[int]) -> float:
    """Multiplications and additions of a network's convolutions over a window."""
    import torch

    counted = []

    def count(layer, inputs, output) -> None:
        # Every input voxel of a transposed convolution meets all weights, and every output voxel of another one.
        voxels = inputs[0] if isinstance(layer, torch.nn.ConvTranspose3d) else output
        counted.append(2.0 * voxels[0, 0].numel() * layer.weight.numel())

    convolutions = [
        layer for layer in module.modules() if isinstance(layer, (torch.nn.Conv3d, torch.nn.ConvTranspose3d))
    ]
    hooks = [layer.register_forward_hook(count) for layer in convolutions]
    with torch.inference_mode():
        module(torch.zeros(1, 1, *size))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def operations_a_second(size: int = 2048, repeats: int = 20) -> float:
    """Of a product of two large matrices, the median of several."""
    import torch

    one = torch.rand(size, size)
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(one, one)
        spent.append(time.perf_counter() - start)
    return 2.0 * size**3 / statistics.median(spent)


def timed(
    methods: dict[str, Callable[[], np.ndarray]],
) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, float]]:
    """What each method gives, and the medians of its seconds by the clock and of the processor, each in its turn."""
    answers = {name: run() for name, run in methods.items()}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(REPEATS):
        for name, run in methods.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            spent[name].append((time.perf_counter() - clock, (time.process_time() - processor) / THREADS))
    clocks, processors = ({name: statistics.median(s[n] for s in all_) for name, all_ in spent.items()} for n in (0, 1))
    return answers, clocks, processors


if __name__ == "__main__":
    main(sys.argv[1:])
