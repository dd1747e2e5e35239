"""How fast a whole head is segmented beside MONAI's sliding window on torch: `make bench`.

    python inference.py            # UNet, SegResNet and MeshNet on 192 x 224 x 192 voxels

Every network has random weights and takes the same volume: noise in an ellipsoid of a head's size. "same windows" uses
MONAI's own window positions and weights the scores alike; "fitted" cuts the volume to the head first, and skips windows
without any of it. Scores are compared with MONAI's where their windows are the same, labels inside the head in both.
Networks without normalisation over the window give the same labels wherever windows lie; UNet's instance norm does not.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from registration_tools import THREADS, print_table

from TwinCore import bounding_box
from TwinSegmentLib.networks.windows import windowed

SHAPE, WINDOW, OVERLAP, CLASSES = (192, 224, 192), (96, 96, 96), 0.25, 5
HEAD_RADII = (68, 88, 66)
REPEATS = 3


def main() -> None:
    try:
        import torch
        from monai.inferers import sliding_window_inference
        from monai.networks.nets import SegResNet, UNet
    except ImportError as error:
        print(f"Left out: {error.name} is not installed (pip install 'digitaltwin[ai]').")
        return
    from TwinSegmentLib.networks.torch_module import compiled_module

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    image, inside = head()
    print(f"## Whole head of {' x '.join(map(str, SHAPE))} voxels, windows of {WINDOW[0]}, overlap {OVERLAP}\n")
    lines = []
    for name, module in {
        "UNet": UNet(3, 1, CLASSES, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2),
        "UNet, batch norm": UNet(3, 1, CLASSES, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch"),
        "SegResNet": SegResNet(3, 16, 1, CLASSES),
        "MeshNet": mesh(torch),
    }.items():
        module.eval()
        run = compiled_module(module, 1, WINDOW, THREADS)

        def in_torch(module=module) -> np.ndarray:
            with torch.inference_mode():
                scores = sliding_window_inference(
                    torch.from_numpy(image[None]), WINDOW, 1, module, overlap=OVERLAP, mode="gaussian"
                )
            return scores[0].numpy().transpose(1, 2, 3, 0)

        def same(run=run) -> np.ndarray:
            return windowed(run, image, CLASSES, WINDOW, OVERLAP)

        def fitted(run=run) -> np.ndarray:
            return on_head(run, image, inside)

        peer, peer_s = timed(in_torch)
        ours, ours_s = timed(same)
        cut, cut_s = timed(fitted)
        apart = np.abs(ours - peer)[inside].max() / np.abs(peer[inside]).max()
        for label, scores, seconds in (
            ("MONAI, torch", peer, peer_s),
            ("DigitalTwin, same windows", ours, ours_s),
            ("DigitalTwin, fitted", cut, cut_s),
        ):
            agree = (scores.argmax(-1) == peer.argmax(-1))[inside].mean()
            figures = [f"{seconds:.2f}", f"{peer_s / seconds:.1f}", f"{agree:.3%}"]
            lines.append([name, label, *figures, f"{apart:.1e}" if scores is ours else "-"])
    print_table(["network", "method", "s by the clock", "times as fast", "labels as MONAI's", "scores apart"], lines)


def head() -> tuple[np.ndarray, np.ndarray]:
    """A volume (1, k, j, i) of smooth noise inside an ellipsoid, and the ellipsoid."""
    from scipy.ndimage import gaussian_filter

    middle = (np.array(SHAPE) - 1) / 2
    at = (np.indices(SHAPE) - middle[:, None, None, None]) / np.array(HEAD_RADII)[:, None, None, None]
    inside = (at**2).sum(0) < 1
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32), 1.5)
    return ((0.5 + 2 * noise) * inside)[None].astype(np.float32), inside


def on_head(run: Callable, image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Scores on the whole volume of windows on the head's box alone."""
    low, high = bounding_box(inside, 4)
    size = np.maximum(high - low, WINDOW)
    low = np.clip(low, 0, np.array(SHAPE) - size)
    box = tuple(slice(a, a + n) for a, n in zip(low, size))
    scores = np.zeros((*SHAPE, CLASSES), np.float32)
    scores[..., 0] = 1.0
    part = np.ascontiguousarray(image[(slice(None), *box)])
    scores[box] = windowed(run, part, CLASSES, WINDOW, OVERLAP, inside[box])
    return scores


def mesh(torch):
    """A MeshNet of 30 channels in torch."""
    layers, channels = [], 1
    for dilation in (1, 2, 4, 8, 16, 8, 4, 2, 1):
        layers += [torch.nn.Conv3d(channels, 30, 3, padding=dilation, dilation=dilation), torch.nn.ELU()]
        channels = 30
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(channels, CLASSES, 1))


def timed(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What a function gives, and the median of the seconds that it takes."""
    seconds, answer = [], run()
    for _ in range(REPEATS):
        begin = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - begin)
    return answer, statistics.median(seconds)


if __name__ == "__main__":
    main()
