"""Steps that wait, and twins as far as a panel needs them, for the tests of the panels."""

from __future__ import annotations

import threading
import time

from TwinCore import Quantity, Segmentation
from TwinCore.scene import Twin, segmentation_to_node


class Holding:
    """A step of any module that computes until it is let go or cancelled."""

    def __init__(self, name: str, error: Exception | None = None):
        self.name, self.error = name, error
        self.computing, self.go_on = threading.Event(), threading.Event()

    def parameters(self):
        return {}

    def read(self, twin):
        return None

    def compute(self, inputs, job):
        (part,) = job.split(waiting=1)
        with part:
            part.report(0.25)
            self.computing.set()
            while not self.go_on.is_set():
                part.checkpoint()
                time.sleep(0.002)
        if self.error is not None:
            raise self.error

    def write(self, run, outputs):
        run.add_report("found", "Findings")
        run.record({"verdict": "check", "verdict_reasons": "blurred", "volume_ml": Quantity(12.34, "mL")})


def ready(panel, phantom, until, scene) -> Twin:
    """A twin with all that a module needs, and the panel's choices made."""
    twin = phantom.phantom_twin(scene)
    ct, pet, tumour = phantom.phantom_images()
    if panel.moduleName != "TwinFusion":
        with twin.run("TwinFusion", {}) as run:
            run.add_image(ct, "fused", name="CT fused")
            run.add_image(pet, "fused", name="PET fused")
    if panel.moduleName == "TwinSegment":
        panel.parameters.outlines = segmentation_to_node(phantom.phantom_outlines(), scene, "Outlines")
        panel.parameters.outlinesImage = panel.parameters.body = twin.node("reference")
    if panel.moduleName == "TwinSimulate":
        masks = {"tumour": tumour, "soft tissue": (ct.array > -300) & ~tumour}
        with twin.run("TwinSegment", {}) as run:
            run.add_segmentation(Segmentation.from_masks(ct.grid, masks), "Anatomy")
    until(lambda: panel.selector.twin is not None)
    return twin
