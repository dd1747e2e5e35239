"""`Run`: the bracket within which a module writes its results, all or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from .. import provenance
from ..errors import InvalidInput
from ..image import Image, stacked
from ..job import Job
from ..results import Quantity, Table
from ..segmentation import Segmentation
from ..surface import Surface
from ..transform import Transform
from .attributes import CHANNELS, ROLE, RUN
from .equal import hash_of
from .hierarchy import FOLDER_OF_MODULE
from .results import model_to_node, plot_to_node, table_to_node, text_to_node
from .segmentations import segmentation_to_node
from .sequences import segmentations_to_node, sequence_to_node
from .state import SceneState, reference_ids
from .transforms import chain, transform_to_node
from .twin import MADE, Twin, check_role
from .volumes import describe, image_to_node

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScene


class Run:
    """One run of a module on a twin: what it adds is there if and only if it ends well.

    On any exception inside the bracket (cancellation and Ctrl-C too) the nodes made in it are removed, and the twin's
    roles, the DigitalTwin attributes and the subject hierarchy are put back. When it ends well, a provenance record is
    added.

    >>> with twin.run("TwinSegment", {"threshold": 0.41}, inputs=[pet]) as run:
    ...     run.add_segmentation(tumour, "Tumour")
    ...     run.record({"volume_ml": Quantity(31.2, "mL")})

    Parameters
    ----------
    twin : Twin
    module : str
        TwinFusion, TwinSegment or TwinSimulate: names the folder in which results are put.
    parameters : mapping
        What was chosen, of values that JSON holds. Those named `seed` or `*_seed` are listed as seeds too.
    inputs : iterable of nodes
        What is read; their content is hashed now.
    """

    def __init__(self, twin: Twin, module: str, parameters: Mapping[str, Any], inputs: Iterable[vtkMRMLNode] = ()):
        self.twin, self.module = twin, module
        self.id = uuid4().hex[:12]
        self.results: dict[str, Quantity | str] = {}
        self.warnings: list[str] = []
        self.part_seconds: dict[str, float] = {}
        self.provenance: dict[str, Any] | None = None
        self.outputs: Any = None  # what the step computed, for a report; not kept in the scene
        self._parameters = provenance.as_json(parameters, "Parameter")
        self._inputs: list[dict[str, str]] = []
        self._outputs: list = []
        self._before: SceneState | None = None
        self._started, self._clock = datetime.now(timezone.utc), time.perf_counter()
        self.add_inputs(inputs)

    def add_inputs(self, nodes: Iterable[vtkMRMLNode]) -> None:
        """Note nodes as inputs of the run, with the hash of what they hold now."""
        self._inputs += [describe_for_record(node) for node in nodes]

    def add_job(self, job: Job) -> None:
        """Take over a job's warnings and the times of its parts."""
        for text in job.warnings:
            self.warn(text)
        self.part_seconds.update(job.seconds)

    def __enter__(self) -> Run:
        self._before = SceneState(self.twin.scene)
        return self

    def __exit__(self, kind, *_) -> None:
        before = self._opened()
        try:
            if kind is None:
                self._finish(before.made())
        except BaseException:
            before.restore()
            raise
        finally:
            self._before = None
        if kind is not None:
            before.restore()

    def _opened(self) -> SceneState:
        if self._before is None:
            raise RuntimeError("Nodes are added to a run within its bracket: with twin.run(...) as run: ...")
        return self._before

    @property
    def _scene(self) -> vtkMRMLScene:
        self._opened()
        return self.twin.scene

    def add_image(self, image: Image, role: str, folder: str | None = None, name: str = "") -> vtkMRMLNode:
        """A volume: role `fused`, `uncertainty`, `field`, or `image` and `reference` for images that are made."""
        check_role(role)
        return self._add(image_to_node(image, self._scene, name), role, folder)

    def add_channels(self, images: Sequence[Image], name: str = "Channels") -> vtkMRMLNode:
        """Images on one grid as one volume with a channel each, role `channels`, as networks take them."""
        meanings = [{"name": image.name, "modality": image.modality, "unit": image.unit} for image in images]
        node = self._add(image_to_node(stacked(images, name), self._scene), "channels")
        node.SetAttribute(CHANNELS, json.dumps(meanings))
        return node

    def add_segmentation(
        self, segmentation: Segmentation, name: str = "Segmentation", surfaces: Mapping[str, Surface] | None = None
    ) -> vtkMRMLNode:
        """The anatomy, role `segmentation`, with the surfaces of its segments for the 3D view."""
        return self._add(segmentation_to_node(segmentation, self._scene, name, surfaces), "segmentation")

    def add_transform(
        self,
        transform: Transform,
        moving: vtkMRMLNode | None = None,
        fixed: vtkMRMLNode | None = None,
        name: str = "Transform",
    ) -> vtkMRMLNode:
        """A move image -> reference, role `transform`, that knows its moving and fixed volume.

        The volumes themselves are left where they are. Of a composite, which is several nodes, the one that moves as
        the whole says has the role.
        """
        node = transform_to_node(transform, self._scene, name)
        for part in chain(node):
            part.SetAttribute(ROLE, "transform")
            for role, volume in (
                (part.GetMovingNodeReferenceRole(), moving),
                (part.GetFixedNodeReferenceRole(), fixed),
            ):
                if volume is not None:
                    part.SetNodeReferenceID(role, volume.GetID())
            if part is not node:
                self._outputs.append(part)
                self.twin.place(part, FOLDER_OF_MODULE.get(self.module))
        return self._add(node, "transform")

    def add_table(self, table: Table, name: str = "") -> vtkMRMLNode:
        """Numbers with their units, role `table`."""
        return self._add(table_to_node(table, self._scene, name), "table")

    def add_plot(
        self, title: str, table_node: vtkMRMLNode, x: str, ys: Sequence[str], x_title: str = "", y_title: str = ""
    ) -> vtkMRMLNode:
        """A chart of columns of a table node, role `plot`."""
        return self._add(plot_to_node(title, table_node, x, ys, self._scene, x_title, y_title), "plot")

    def add_sequence(self, images: Sequence[Image], name: str = "Sequence") -> vtkMRMLNode:
        """Images over time in days, role `sequence`, with the browser that plays them."""
        sequence, _browser = sequence_to_node(images, self._scene, name)
        return self._add(sequence, "sequence")

    def add_segmentations(
        self,
        segmentations: Mapping[float, Segmentation],
        name: str = "Segmentations",
        surfaces: Mapping[float, Mapping[str, Surface]] | None = None,
        beside: vtkMRMLNode | None = None,
    ) -> vtkMRMLNode:
        """Segmentations by time in days, role `sequence`, played by a browser of their own or by that of `beside`."""
        sequence, _browser = segmentations_to_node(segmentations, self._scene, name, surfaces, beside)
        return self._add(sequence, "sequence")

    def add_model(self, points: np.ndarray, triangles: np.ndarray, name: str = "Model") -> vtkMRMLNode:
        """A triangulated surface in RAS mm, role `model`."""
        return self._add(model_to_node(points, triangles, self._scene, name), "model")

    def add_report(self, content: str | Mapping[str, Any], name: str = "Report") -> vtkMRMLNode:
        """A text, or a mapping to be kept as JSON; role `report`."""
        text = content if isinstance(content, str) else provenance.to_text(provenance.as_json(content, "Report"))
        return self._add(text_to_node(text, self._scene, name), "report")

    def record(self, results: Mapping[str, Quantity | str]) -> None:
        """Numbers with their unit, and words, that belong in the provenance record."""
        provenance.as_json(results, "Result")
        self.results.update(results)

    def warn(self, text: str) -> None:
        """Something that the user should know about the result; kept once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _add(self, node, role: str, folder: str | None = None):
        """Say of a new node what it is, let it lead its role, and put it into the module's folder."""
        node.SetAttribute(ROLE, role)
        earlier = [i for i in reference_ids(self.twin.mrml_node, role) if i in self._opened().ids]
        leading = set(reference_ids(self.twin.mrml_node, role))
        of_this_run = [n.GetID() for n in self._outputs if n.GetID() in leading]
        self._outputs.append(node)
        self.twin.set_nodes(role, [*of_this_run, node.GetID(), *earlier])
        self.twin.place(node, folder or FOLDER_OF_MODULE.get(self.module))
        return node

    def _finish(self, made: list) -> None:
        """Mark what was made, and add the record."""
        for node in made:
            node.SetAttribute(RUN, self.id)
            if node.IsA("vtkMRMLSequenceNode"):  # whose items' attributes are copied to the node that shows them
                for number in range(node.GetNumberOfDataNodes()):
                    node.GetNthDataNode(number).SetAttribute(RUN, self.id)
            if not node.GetHideFromEditors() and not any(node is output for output in self._outputs):
                self.twin.place(node, FOLDER_OF_MODULE.get(self.module))  # a sequence's volume, a chart's lines
        outputs = [describe_for_record(node) for node in self._outputs]
        self.provenance = provenance.record(
            run=self.id,
            module=self.module,
            parameters=self._parameters,
            inputs=self._inputs,
            outputs=outputs,
            results=self.results,
            warnings=self.warnings,
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            part_seconds=self.part_seconds,
        )
        node = self._add(text_to_node(provenance.to_text(self.provenance), self._scene, f"{self.module} run"), "run")
        node.SetAttribute(RUN, self.id)
        for other in made:
            node.AddNodeReferenceID(MADE, other.GetID())


def describe_for_record(node) -> dict[str, str]:
    """A node's name, class, role and content hash, as the record lists it; `InvalidInput` if it is in no scene."""
    if node is None or node.GetScene() is None:
        raise InvalidInput(f"{describe(node)} is not in the scene, so it cannot be an input of a run.")
    return {
        "name": node.GetName(),
        "class": node.GetClassName(),
        "role": node.GetAttribute(ROLE) or "",
        "sha256": hash_of(node),
    }
