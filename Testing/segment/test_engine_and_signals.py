"""Ctrl-C and the engine of networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

CTRL_C = """
import signal
import numpy as np
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.graph import Network, Step

network = Network(1, (Step("scores", "conv", ("image",), 2, kernel=3),))
weights = {"scores.weight": np.ones((2, 1, 3, 3, 3), np.float32), "scores.bias": np.zeros(2, np.float32)}
images = [np.zeros((1, 16, 24, 8), np.float32)] * 4

def use():
    engine = Engine(network, weights, "OpenVINO")
    engine(images[0])
    next(engine.each(images, at_once=2))
    list(engine.each(images, at_once=2))

use()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_handled_after_engines_have_come_and_gone():
    """OpenVINO moves the stack of signal handlers: in a process of its own, as a wrong one ends it."""
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", CTRL_C], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "handled"), done.stderr
