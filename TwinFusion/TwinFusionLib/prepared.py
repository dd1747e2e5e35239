"""Images as they are compared: harmonised as a preset says, each of them once however often it is registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from TwinCore import Image, InvalidInput, Job

from .attention import Attention
from .harmonise import Harmonised, harmonise
from .presets import Preset

ALWAYS = ("CT",)
"""Modalities that are harmonised under every preset: it is quick, and a wrong unit must be told."""


class Preparation:
    """What was harmonised so far; keep one for all registrations of the same images.

    >>> preparation = Preparation()                                       # doctest: +SKIP
    >>> [register(t1, [image], preset, preparation=preparation) for image in (t2, flair)]         # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._done: dict[Image, Harmonised] = {}

    def compared(
        self, images: Sequence[Image], preset: Preset, attention: Attention, job: Job | None = None
    ) -> tuple[list[Image], Attention]:
        """The images in the form in which they are compared, and where they are looked at: where the scanner saw.

        Parameters
        ----------
        images : sequence of Image
            They are not altered.
        preset : Preset
            Which modalities are harmonised beside CT.
        attention : Attention
        job : Job, optional
            Takes the warnings: values that are no Hounsfield units, and images that had to be left as they were.

        Raises
        ------
        InvalidInput
            If the masks leave nothing of what the scanner saw of an image.
        """
        job = job or Job()
        made = [self.of(image, job, preset.prepare) for image in images]
        attention = replace(attention, seen={one.image: one.mask for one in made if one.mask is not None})
        for one in made:
            attention.check(one.image)
        return [one.image for one in made], attention

    def of(self, image: Image, job: Job, prepare: Sequence[str] = ()) -> Harmonised:
        """One image, harmonised if it is a CT or of a modality to prepare; what is wrong with it is warned of."""
        if image.modality not in (*ALWAYS, *prepare):
            return Harmonised(image)
        if image not in self._done:
            try:
                self._done[image] = harmonise(image, job)
            except InvalidInput as error:
                self._done[image] = Harmonised(image, warnings=(f"{error} It was compared as it is.",))
        for warning in self._done[image].warnings:
            job.warn(warning)
        return self._done[image]

    def notes(self, images: Sequence[Image]) -> tuple[str, ...]:
        """What was found in images and done to them."""
        return tuple(note for image in images if image in self._done for note in self._done[image].notes)
