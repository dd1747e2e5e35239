"""What a model is asked: which model, under which preset, in which tissues and images, with which numbers."""

from __future__ import annotations

import json
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from TwinCore.scene import Twin

from .boxes import chosen_of, fill_box
from .choice_form import ChoiceForm
from .nodes import from_text, segment_names
from .parameter_form import ParameterForm
from .twin_selector import could_be_input

IMAGE = "image."
"""Begins the parameter node's reference to the image that a model takes under a name."""
NOT_USED = "not used"


class ModelQuestion:
    """The part of a panel that chooses a model and all that it takes, from the declarations of a registry.

    The widgets of its .ui file are `systemBox`, `modelBox`, `presetBox`, `segmentsPlace` and `parametersButton`. The
    parameter node has `model` and `preset`, and as JSON `segments` and `values`; images are references of it.

    Parameters
    ----------
    panel : TwinWidget
    registry : module
        With `MODELS`, `presets_of` and `declared`.
    asked : callable
        Called after a number has been changed.
    moving : callable
        Called while one is being dragged.
    """

    def __init__(self, panel, registry, asked: Callable[[], None], moving: Callable[[], None]):
        self._panel, self._registry, self._asked = panel, registry, asked
        self.segments = ChoiceForm(lambda: self._keep("segments", self.segments.chosen()))
        self.images = ChoiceForm(self._on_images)
        self.values = ParameterForm(self._on_values, moving)

    def place(self) -> None:
        """Put the forms where the .ui file has room for them."""
        ui = self._panel.ui
        for form in (self.segments, self.images):
            ui.segmentsPlace.layout().addWidget(form.widget)
        ui.parametersButton.layout().addWidget(self.values.widget)
        for box in (ui.systemBox, ui.modelBox, ui.presetBox):
            box.connect("activated(int)", lambda _index, box=box: self._on_model(box))

    @property
    def entry(self):
        """What the registry says of the model."""
        return self._registry.MODELS[self._panel.parameters.model]

    @property
    def declared(self):
        """What the model says of itself under the preset."""
        return self._registry.declared(self._panel.parameters.model, self._panel.parameters.preset)

    def show(self, twin: Twin | None) -> None:
        """Offer models, and what the twin has of all that the chosen one takes."""
        c, ui, registry = self._panel.parameters, self._panel.ui, self._registry
        if c.model not in registry.MODELS:  # of another release
            c.model = next(iter(registry.MODELS))
        if c.preset not in registry.presets_of(c.model):
            c.preset = next(iter(registry.presets_of(c.model)))
        systems = {other.system: other.system for other in registry.MODELS.values()}
        models = {name: other.title for name, other in registry.MODELS.items() if other.system == self.entry.system}
        fill_box(ui.systemBox, systems, self.entry.system)
        fill_box(ui.modelBox, models, c.model)
        fill_box(ui.presetBox, registry.presets_of(c.model), c.preset)
        segments = {} if twin is None else {name: name for name in segment_names(twin)}
        self._offer(self.segments, "segment", segments, from_text(c.segments, {}))
        volumes = {} if twin is None else self._volumes(twin)
        self._offer(self.images, "image", volumes, self._image_ids(volumes))
        self.values.show(self._asked_for, from_text(c.values, {}))

    def lacking(self, twin: Twin) -> str:
        """What the model still needs, in words; "" for nothing."""
        absent = ", ".join(name for name in self._open(self.segments, "segment"))
        if absent:
            words = _("The twin lacks these segments: {names}. It has: {there}. Choose which are meant.")
            return words.format(names=absent, there=", ".join(segment_names(twin)))
        for requirement in self._open(self.images, "image").values():
            name = requirement.name.replace("_", " ")
            return _("Choose the {name}: {meaning}.").format(name=name, meaning=requirement.meaning)
        return ""

    def answers(self) -> dict:
        """Model, segments, images as nodes, and values; "" and None for what the model is to do without."""
        c = self._panel.parameters
        images = {name: slicer.mrmlScene.GetNodeByID(i) if i else None for name, i in self.images.chosen().items()}
        values = from_text(c.values, {})
        return {"model": c.model, "segments": self.segments.chosen(), "images": images, "values": values}

    @property
    def _asked_for(self) -> list:
        """The parameters that a user may set."""
        return [p for p in self.declared.parameters if p.asked]

    def _required(self, kind: str) -> dict:
        return {r.name: r for r in self.declared.requires if r.kind == kind}

    def _offer(self, form: ChoiceForm, kind: str, there: dict, chosen: dict) -> None:
        takes = self._required(kind)
        optional = {name for name, r in takes.items() if r.optional}
        form.show({name: r.meaning for name, r in takes.items()}, there, chosen, optional)

    def _open(self, form: ChoiceForm, kind: str) -> dict:
        takes = self._required(kind)
        return {name: takes[name] for name, value in form.chosen().items() if not value and not takes[name].optional}

    def _volumes(self, twin: Twin) -> dict[str, str]:
        """Names of the volumes that could be such images, by their ids: inputs, and fields of a name that is asked."""
        inputs = filter(could_be_input, slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
        fields = [node for node in twin.nodes("field") if node.GetName() in self._required("image")]
        return {node.GetID(): node.GetName() for node in (*fields, *inputs)}

    def _image_ids(self, volumes: dict[str, str]) -> dict[str, str]:
        """What was chosen, or else the volume of the image's own name, unless none was wanted."""
        node, own = self._panel.parameters.parameterNode, {name: i for i, name in reversed(list(volumes.items()))}
        chosen = {name: node.GetNodeReferenceID(IMAGE + name) for name in self._required("image")}
        return {name: i or ("" if node.GetParameter(IMAGE + name) else own.get(name, "")) for name, i in chosen.items()}

    def _on_images(self) -> None:
        node = self._panel.parameters.parameterNode
        for name, identifier in self.images.chosen().items():
            node.SetParameter(IMAGE + name, "" if identifier else NOT_USED)
            node.SetNodeReferenceID(IMAGE + name, identifier or None)

    def _on_values(self) -> None:
        """Keep what differs from the preset alone, so that another preset has its own values."""
        shown = self.values.values()
        self._keep("values", {p.name: shown[p.name] for p in self._asked_for if shown[p.name] != p.default})
        self._asked()

    def _on_model(self, box) -> None:
        c, value, registry = self._panel.parameters, chosen_of(box), self._registry
        if box is self._panel.ui.systemBox:
            value = next(name for name, entry in registry.MODELS.items() if entry.system == value)
        if box is self._panel.ui.presetBox:
            c.preset = value
        else:
            c.model = value
        c.values = c.segments = "{}"

    def _keep(self, name: str, value) -> None:
        setattr(self._panel.parameters, name, json.dumps(value))
