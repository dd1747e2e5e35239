"""A model's answer while a value is being dragged: on a coarse grid at once, and exactly once the value is let go."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from TwinCore import JobCancelled, TwinError
from TwinCore.background import PolledRun

from .boxes import chosen_of, fill_box
from .display import overlay
from .field_display import show_field
from .job_bar import told
from .temporary import TemporaryVolume
from .wording import digits

POLL_MS = 15


class LivePreview:
    """The part of a panel that answers at once, on the widgets of its .ui file.

    These are the group `liveButton`, and in it `liveBox`, `treatmentBox`, `daySlider`, `dayLabel` and `liveLabel`. What
    answers has `at` and `exactly`, both called with values, day, treatment and a job, and giving a `density`, its
    `volume_ml` and the grid's `spacing_mm`. One question is computed at a time, as a job: of those that come meanwhile
    the newest is next.

    Parameters
    ----------
    ui : namespace of widgets
    subject : callable
        What is asked: a key that changes with it, and a call that reads it from the scene and gives another, which
        makes what answers and knows nothing of the scene.
    values : callable
        The parameters as they stand in the panel.
    """

    def __init__(self, ui, subject: Callable[[], tuple[Hashable, Callable]], values: Callable[[], Mapping]):
        self._ui, self._subject, self._values = ui, subject, values
        self._volume = TemporaryVolume("Preview")
        self._answers: dict[Hashable, Any] = {}
        self._treatments: Mapping[str, Any] = {}
        self._run: PolledRun | None = None
        self._next: tuple | None = None
        self._exact: tuple | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        ui.liveBox.connect("toggled(bool)", lambda on: self.ask() if on else self.stop())
        ui.treatmentBox.connect("activated(int)", lambda _index: self.ask())
        ui.daySlider.connect("valueChanged(int)", lambda _day: self.ask(settled=not ui.daySlider.sliderDown))
        ui.daySlider.connect("sliderReleased()", lambda: self.ask())
        self.stop()

    def show(self, possible: bool, treatments: Mapping[str, Any], last_day: int) -> None:
        """Offer treatments and days; where there is nothing to ask, or a run goes on, the preview ends."""
        ui, self._treatments = self._ui, treatments
        ui.liveBox.enabled = possible
        fill_box(ui.treatmentBox, {name: name for name in treatments}, chosen_of(ui.treatmentBox))
        blocked = ui.daySlider.blockSignals(True)
        fresh = ui.daySlider.maximum != last_day
        ui.daySlider.maximum = last_day
        if fresh:
            ui.daySlider.value = last_day
        ui.daySlider.blockSignals(blocked)
        ui.dayLabel.text = _("Day {day}").format(day=ui.daySlider.value)
        if not possible:
            self.stop()

    def ask(self, settled: bool = True) -> None:
        """Answer for what stands in the panel now; exactly too, once it is settled."""
        ui = self._ui
        ui.dayLabel.text = _("Day {day}").format(day=ui.daySlider.value)
        if not ui.liveBox.checked or not self._treatments:
            return
        treatment = self._treatments.get(chosen_of(ui.treatmentBox)) or next(iter(self._treatments.values()))
        self._next = (dict(self._values()), float(ui.daySlider.value), treatment, settled)
        self._exact = None
        if self._run is not None and self._run.exact:
            self._run.cancel()
        self._go_on()

    def stop(self) -> None:
        """End the preview: nothing of it stays in the scene, and nothing that is still computed arrives."""
        self._timer.stop()
        if self._run is not None:
            self._run.cancel()
        self._run = self._next = self._exact = None
        self._answers.clear()
        if self._volume.node is not None:
            self._volume.remove()
            overlay(None)
        self._ui.liveBox.checked = False
        self._say("")

    def _go_on(self) -> None:
        """Begin what is next: a new question, or the exact answer to the last."""
        if self._run is not None:
            return
        question, exact = (self._next, False) if self._next is not None else (self._exact, True)
        self._next = self._exact = None
        if question is None:
            self._timer.stop()
            return
        try:
            key, read = self._subject()
            make = None if key in self._answers else read()
        except TwinError as error:
            self.stop()
            self._say(str(error))
            return
        if make is not None:
            self._answers.clear()
            self._say(_("Preparing the preview..."))
        self._run = _Asked(self._answers, key, make, question, exact)
        self._timer.start()

    def _poll(self) -> None:
        run = self._run
        if run is None or not run.poll():
            return
        self._run = None
        try:
            answer = run.result()
        except JobCancelled:
            pass
        except Exception as error:
            self._say(told(error))
        else:
            self._show(run.question, answer, run.exact)
            if not run.exact and run.question[3]:
                self._exact = run.question
        self._go_on()

    def _show(self, question: tuple, answer: Any, exact: bool) -> None:
        _values, day, treatment, _settled = question
        show_field(self._volume.show(answer.density))
        words = _("Day {day}, {treatment}: about {volume} mL, on a coarse grid of {spacing} mm.")
        if exact:
            words = _(
                "Day {day}, {treatment}: {volume} mL by one run, on a grid of {spacing} mm. Apply gives intervals."
            )
        self._say(
            words.format(
                day=f"{day:g}",
                treatment=treatment.name,
                volume=digits(answer.volume_ml),
                spacing=f"{answer.spacing_mm:.2g}",
            )
        )

    def _say(self, words: str) -> None:
        self._ui.liveLabel.text = words
        self._ui.liveLabel.visible = bool(words)


class _Asked(PolledRun):
    """A question under way; what answers is made where it is not there yet."""

    def __init__(self, answers: dict, key: Hashable, make: Callable[[], Any] | None, question: tuple, exact: bool):
        self.question, self.exact = question, exact

        def compute(job):
            if make is not None:
                answers[key] = make()
            answer = answers[key].exactly if exact else answers[key].at
            return answer(*question[:3], job)

        super().__init__(compute)
