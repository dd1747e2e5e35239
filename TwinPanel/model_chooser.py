"""Choosing a model among those that suit the images: what it is not good for, what it still lacks, its channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .boxes import chosen_of, fill_box


class ModelChooser:
    """A list of models, with an image to be chosen for each channel where a model has several.

    Each offer has a `name`, a `title`, its `channels` (modalities), `images` for them (None where one is missing), what
    there is to say `about` it, what it `lacks`, and how much there is to `download`.

    Parameters
    ----------
    changed : callable
        Called after the user has chosen another model or image.
    fetch : callable
        Called with the offer whose files the user wants, once asked.
    """

    def __init__(self, changed: Callable[[], None], fetch: Callable[[Any], None]):
        self._changed, self._offers = changed, {}
        self.channelBoxes: list = []
        self.widget = qt.QWidget()
        self._form = qt.QFormLayout(self.widget)
        self._form.setContentsMargins(0, 0, 0, 0)
        self.modelBox = qt.QComboBox()
        self.modelBox.toolTip = _("Networks and programs that label the anatomy in such images as the twin has.")
        self.aboutLabel = qt.QLabel()
        self.aboutLabel.wordWrap = True
        self.fetchButton = qt.QPushButton()
        self.fetchButton.toolTip = _(
            "Fetch the model's files from where its publisher keeps them; you are asked first."
        )
        self._form.addRow(_("Model:"), self.modelBox)
        self._form.addRow(self.aboutLabel)
        self._form.addRow(self.fetchButton)
        self.modelBox.connect("activated(int)", lambda _index: self._on_model())
        self._fetch = fetch
        self.fetchButton.connect("clicked()", lambda *_args: self._on_fetch())

    @property
    def offer(self) -> Any | None:
        """The model that is chosen."""
        return self._offers.get(chosen_of(self.modelBox))

    def images(self) -> list[str]:
        """The images for its channels."""
        offer = self.offer
        if offer is None:
            return []
        return [chosen_of(box) for box in self.channelBoxes] or list(offer.images or ())

    def show(
        self, offers: Sequence, images: Sequence[str], model: str, chosen: Sequence[str] = (), trouble: str = ""
    ) -> None:
        """Offer models; of those that do not suit the images, say what they would need.

        Parameters
        ----------
        offers : sequence
        images : sequence of str
            All images of the twin.
        model, chosen : str and sequence of str
            What is chosen, and for which images.
        trouble : str
            Why there are no offers.
        """
        suited = [offer for offer in offers if offer.images is not None]
        self._offers = {offer.name: offer for offer in suited}
        fill_box(self.modelBox, {"": _("none"), **{o.name: o.title for o in suited}}, model)
        offer = self.offer
        self._show_channels(offer, images, chosen)
        about = _others(offers) if offer is None else " ".join(filter(None, (offer.lacks, offer.about)))
        self.aboutLabel.text = trouble or about
        self.aboutLabel.visible = bool(self.aboutLabel.text)
        self.fetchButton.visible = offer is not None and bool(offer.download)
        if offer is not None:
            self.fetchButton.text = _("Download ({size})...").format(size=offer.download)

    def _show_channels(self, offer: Any | None, images: Sequence[str], chosen: Sequence[str]) -> None:
        count = len(offer.channels) if offer is not None and len(offer.channels) > 1 else 0
        while len(self.channelBoxes) > count:
            self._form.removeRow(self.channelBoxes.pop())
        while len(self.channelBoxes) < count:
            box = qt.QComboBox()
            box.toolTip = _("Which image is this channel of the model: see what it says of itself above.")
            box.connect("activated(int)", lambda _index: self._changed())
            label = _("Image {n} ({modality}):").format(
                n=len(self.channelBoxes) + 1, modality=offer.channels[len(self.channelBoxes)]
            )
            self.channelBoxes.append(box)
            self._form.addRow(label, box)
        for number, box in enumerate(self.channelBoxes):
            standing = chosen[number] if len(chosen) == count else offer.images[number]
            fill_box(box, {name: name for name in images}, standing)

    def _on_fetch(self) -> None:
        offer, question = self.offer, _("Download {title} ({size})? {about}")
        words = question.format(title=offer.title, size=offer.download, about=offer.about)
        if slicer.util.confirmOkCancelDisplay(words):
            self._fetch(offer)

    def _on_model(self) -> None:
        while self.channelBoxes:
            self._form.removeRow(self.channelBoxes.pop())
        self._changed()


def _others(offers: Sequence) -> str:
    """What the models that are not offered would need."""
    needs = sorted({_in_words(offer.channels) for offer in offers if offer.images is None})
    if not needs:
        return ""
    count = sum(offer.images is None for offer in offers)
    return _("{n} more models need other images: {needs}.").format(n=count, needs="; ".join(needs))


def _in_words(channels: Sequence[str]) -> str:
    """Modalities with how many of each, such as "4 MR"."""
    counts = {modality: list(channels).count(modality) for modality in channels}
    return " + ".join(modality if count == 1 else f"{count} {modality}" for modality, count in counts.items())
