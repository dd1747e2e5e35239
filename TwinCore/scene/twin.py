"""`Twin`: everything that belongs to one patient's twin, in the scene."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import InvalidInput, MissingInput
from ..guard import check_image
from ..image import Image
from ..transform import Transform
from .attributes import CHANNELS, ROLE, RUN, set_meaning
from .boot import boot, mrml
from .hierarchy import TWIN, create_folders, place, twin_folder
from .results import text_of
from .sequences import holds_images, node_to_sequence, sequence_to_node
from .state import reference_ids, remove, set_references, with_companions
from .transforms import node_to_transform
from .volumes import check_volume, describe, image_to_node, node_to_image

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScene, vtkMRMLScriptedModuleNode

    from .run import Run

NAME = "DigitalTwin"
PATIENT = "DigitalTwin.Patient"
MADE = "DigitalTwin.Made"
FRAME_OF = "DigitalTwin.FrameOf"
ROLES = (
    "reference",
    "image",
    "transform",
    "fused",
    "channels",
    "segmentation",
    "uncertainty",
    "field",
    "sequence",
    "table",
    "plot",
    "model",
    "report",
    "run",
)


class Twin:
    """The one reader and writer of a patient's `DigitalTwin` node.

    >>> twin = Twin.create("Patient 1")
    >>> ct = twin.add_image(image, reference=True)
    >>> with twin.run("TwinFusion", {"method": "rigid"}, inputs=[ct]) as run:
    ...     run.add_image(fused, "fused")
    >>> twin.revert_last_run()

    Parameters
    ----------
    node : vtkMRMLScriptedModuleNode
        A node that `create` has made.

    Raises
    ------
    InvalidInput
        If the node is not a twin's, or is in no scene.
    """

    def __init__(self, node: vtkMRMLScriptedModuleNode):
        if not is_twin(node) or node.GetScene() is None:
            raise InvalidInput(
                f"{describe(node)} is not the node of a digital twin in a scene: make one with Twin.create."
            )
        self.mrml_node = node

    @classmethod
    def create(cls, patient: str, scene: vtkMRMLScene | None = None) -> Twin:
        """A new, empty twin of a patient, in the running scene if none is named."""
        if not patient.strip():
            raise InvalidInput("A twin needs the name of its patient, or a pseudonym.")
        scene = scene or boot()
        node = mrml().vtkMRMLScriptedModuleNode()
        node.SetModuleName(NAME)
        node.SetName(NAME)
        node.SetAttribute(PATIENT, patient)
        node.SetAttribute(TWIN, uuid4().hex)
        node = scene.AddNode(node)
        create_folders(scene, patient, node.GetAttribute(TWIN))
        return cls(node)

    @classmethod
    def all(cls, scene: vtkMRMLScene | None = None) -> list[Twin]:
        """The twins of a scene, in the order of their making."""
        scene = scene or boot()
        nodes = (
            scene.GetNthNodeByClass(n, "vtkMRMLScriptedModuleNode")
            for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode"))
        )
        return [cls(node) for node in nodes if is_twin(node)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Twin) and self.mrml_node is other.mrml_node

    def __hash__(self) -> int:
        return hash(self.identifier)

    @property
    def scene(self) -> vtkMRMLScene:
        """The scene that holds the twin; `InvalidInput` once it has been closed."""
        scene = self.mrml_node.GetScene()
        if scene is None:
            raise InvalidInput(
                f"The twin of {self.patient!r} is no longer in the scene: it was deleted, or the scene was closed."
            )
        return scene

    @property
    def patient(self) -> str:
        return self.mrml_node.GetAttribute(PATIENT)

    @property
    def identifier(self) -> str:
        """What marks the twin's folder as its own, also after saving and loading."""
        return self.mrml_node.GetAttribute(TWIN)

    def nodes(self, role: str) -> list[vtkMRMLNode]:
        """Nodes of the twin in a role: results of the newest run first, inputs in the order in which they came."""
        check_role(role)
        nodes = (
            self.mrml_node.GetNthNodeReference(role, n) for n in range(self.mrml_node.GetNumberOfNodeReferences(role))
        )
        return [node for node in nodes if node is not None]

    def node(self, role: str) -> vtkMRMLNode:
        """The first node in a role; `MissingInput` names the role if there is none."""
        nodes = self.nodes(role)
        if not nodes:
            raise MissingInput(f"The twin of {self.patient!r} has no {role} yet.")
        return nodes[0]

    def set_nodes(self, role: str, ids: Iterable[str]) -> None:
        """Let exactly these nodes, by id and in this order, have a role."""
        check_role(role)
        set_references(self.mrml_node, role, ids)

    def adopt(
        self, node: vtkMRMLNode, modality: str, unit: str, time: str | float | None = None, reference: bool = False
    ) -> None:
        """Take a volume of the user's as an input image; nothing of it changes but its DigitalTwin attributes.

        A node that a run has made becomes the user's: reverting the run leaves it.

        Parameters
        ----------
        node : vtkMRMLVolumeNode
        modality : str
            DICOM code: CT, MR, PT, US.
        unit : str
            UCUM.
        time : str or float, optional
            ISO date, or days from the reference scan.
        reference : bool
            Whether it fixes the twin's frame and grid from now on.

        Raises
        ------
        InvalidInput
            If it is not a volume of this scene, or its values or geometry are not plausible; it is left as it was.
        """
        if node is not None and node.GetScene() is not self.scene:
            raise InvalidInput(f"Volume {node.GetName()!r} is not in the twin's scene.")
        check_volume(node, modality, unit)
        set_meaning(node, modality, unit, time)
        self._take(node, reference)

    def add_image(self, image: Image, reference: bool = False) -> vtkMRMLNode:
        """Bring an input image into the scene, under `Images`; `InvalidInput` if it is not plausible."""
        node = image_to_node(check_image(image), self.scene)
        self._take(node, reference)
        self.place(node, "Images")
        return node

    def add_field(self, image: Image, frame_of: vtkMRMLNode | None = None) -> vtkMRMLNode:
        """Bring a map that a model takes (a dose, diffusion tensors) into the scene, under `Images`: role `field`.

        Parameters
        ----------
        image : Image
            Its name is what the model calls it.
        frame_of : vtkMRMLVolumeNode, optional
            Input image in whose frame it lies, and with which it moves; left out, it is the reference's frame.

        Raises
        ------
        InvalidInput
            If its values or its grid are not plausible.
        """
        node = image_to_node(check_image(image), self.scene)
        node.SetAttribute(ROLE, "field")
        if frame_of is not None:
            node.SetNodeReferenceID(FRAME_OF, frame_of.GetID())
        self.set_nodes("field", [*reference_ids(self.mrml_node, "field"), node.GetID()])
        self.place(node, "Images")
        return node

    def move_of(self, node: vtkMRMLNode) -> Transform | None:
        """The newest move of an image, or of that in whose frame a field lies, into the reference's; None if it stays.

        See `node_to_transform`.
        """
        moving = node.GetNodeReference(FRAME_OF) or node
        for transform in self.nodes("transform"):
            if transform.GetNodeReference(transform.GetMovingNodeReferenceRole()) is moving:
                return node_to_transform(transform)
        return None

    def _take(self, node: vtkMRMLNode, reference: bool) -> None:
        """Give a volume the role of an input image, and no other."""
        node.SetAttribute(RUN, None)
        for role in ROLES:
            if node.GetID() in reference_ids(self.mrml_node, role):
                self.set_nodes(role, [i for i in reference_ids(self.mrml_node, role) if i != node.GetID()])
        node.SetAttribute(ROLE, "image")
        self.set_nodes("image", [*reference_ids(self.mrml_node, "image"), node.GetID()])
        if reference:
            self.set_nodes("reference", [node.GetID()])

    def image(self, node: vtkMRMLNode) -> Image:
        """A volume as arrays, in world RAS: see `node_to_image`."""
        return node_to_image(node)

    def images(self) -> list[tuple[vtkMRMLNode, Image]]:
        """The twin's input images, each with its node."""
        return [(node, self.image(node)) for node in self.nodes("image")]

    def add_series(self, images: Sequence[Image], name: str) -> vtkMRMLNode:
        """Bring an input series over time into the scene, under `Images`, with the browser that plays it.

        Raises
        ------
        InvalidInput
            If an image is not plausible, or they are not on one grid with increasing times in days.
        """
        sequence, _browser = sequence_to_node([check_image(image) for image in images], self.scene, name)
        sequence.SetAttribute(ROLE, "sequence")
        self.set_nodes("sequence", [*reference_ids(self.mrml_node, "sequence"), sequence.GetID()])
        self.place(sequence, "Images")
        return sequence

    def series(self) -> list[tuple[vtkMRMLNode, list[Image]]]:
        """The twin's input series over time, each with its node: those of images that no run has made."""
        nodes = [node for node in self.nodes("sequence") if node.GetAttribute(RUN) is None and holds_images(node)]
        return [(node, node_to_sequence(node)) for node in nodes]

    def channels(self) -> tuple[Image, list[dict[str, str]]]:
        """The fused images as one volume with channels, and the name, modality and unit of each channel.

        Raises
        ------
        MissingInput
            If the fusion was not asked for it.
        """
        node = self.node("channels")
        return self.image(node), json.loads(node.GetAttribute(CHANNELS))

    def place(self, node: vtkMRMLNode, folder: str | None) -> None:
        """Put a node into one of the twin's folders in the subject hierarchy."""
        place(self.scene, node, twin_folder(self.scene, self.patient, self.identifier), folder)

    def run(self, module: str, parameters: Mapping[str, Any], inputs: Iterable[vtkMRMLNode] = ()) -> Run:
        """The bracket within which a module writes its results: see `Run`."""
        from .run import Run

        return Run(self, module, parameters, inputs)

    def provenance(self) -> list[dict[str, Any]]:
        """The records of the twin's runs, the newest first."""
        return [json.loads(text_of(node)) for node in self.nodes("run")]

    def revert_last_run(self) -> dict[str, Any]:
        """Undo the newest run as one step: what it made is removed, unless the user has adopted it since.

        May be called again for the run before, and works on a loaded twin as well.

        Returns
        -------
        dict
            The provenance record of the run that was undone.

        Raises
        ------
        MissingInput
            If there is no run to undo.
        """
        node = self.node("run")
        record = json.loads(text_of(node))
        made = [node.GetNthNodeReference(MADE, n) for n in range(node.GetNumberOfNodeReferences(MADE))]
        doomed = with_companions([*(made_node for made_node in made if made_node is not None), node])
        kept = [n for n in doomed if n.GetAttribute(RUN) is None and n.GetAttribute(ROLE) == "image"]
        others = (self.scene.GetNthNode(number) for number in range(self.scene.GetNumberOfNodes()))
        kept += [n for n in others if not any(n is d for d in doomed)]
        needed = {id(n) for n in with_companions(kept)}
        remove(self.scene, [n for n in doomed if id(n) not in needed])
        return record


def is_twin(node) -> bool:
    """Whether a node is the node of a twin."""
    return (
        node is not None
        and node.IsA("vtkMRMLScriptedModuleNode")
        and node.GetModuleName() == NAME
        and bool(node.GetAttribute(TWIN))
    )


def check_role(role: str) -> None:
    """`InvalidInput` unless the role is one of those of the twin."""
    if role not in ROLES:
        raise InvalidInput(f"{role!r} is not a role of the twin; there are: {', '.join(ROLES)}.")
