"""The lower end of each panel: Apply that turns into Cancel, progress, what came of the run, and the way back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from TwinCore import Job, JobCancelled, Progress, TwinError
from TwinCore.background import PolledRun
from TwinCore.scene import Twin, execute_polled
from TwinCore.step import Step
from TwinCore.units import in_words

from .verdict_light import VerdictLight
from .wording import digits, name_in_words, sentence

log = logging.getLogger(__name__)

POLL_MS = 100
PATIENCE_MS = 500
"""How long a cancelled run may still be at what cannot be interrupted before nobody waits for it."""
STEPS = 1000


class JobBar:
    """Runs a step on a twin while the rest of Slicer stays usable.

    Parameters
    ----------
    start : callable
        Called on Apply; returns the step to run on the twin, or raises a `TwinError` to be shown.
    ended : callable
        Called when a run has begun, has ended or was reverted, for the panel to look at the scene again.
    next_module : str
        The module that takes up what this one has made; "" for none.
    go_on : callable, optional
        Called with that module's name and the twin when the user wants to go there.
    """

    def __init__(
        self,
        start: Callable[[], Step],
        ended: Callable[[], None],
        next_module: str = "",
        go_on: Callable[[str, Twin], None] | None = None,
    ):
        self._start, self._ended = start, ended
        self._twin: Twin | None = None
        self._execution = None
        self._then: Callable[[Any], None] | None = None
        self._cancelled_ms: int | None = None
        self._message = ""
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.reasonLabel = _wrapped_label()
        self.planLabel = _wrapped_label()
        self.applyButton = qt.QPushButton(_("Apply"))
        self.progressBar = qt.QProgressBar()
        self.progressBar.setRange(0, STEPS)
        self.progressBar.toolTip = _("Where the run is, and how long it should still take.")
        self.verdict = VerdictLight()
        self.summaryLabel = _wrapped_label()
        self.summaryLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        self.revertButton = qt.QPushButton(_("Revert last run"))
        self.revertButton.toolTip = _(
            "Remove what the twin's newest run has put into the scene, as one step (Ctrl+Shift+Z)."
        )
        self.continueButton = qt.QPushButton(_("Continue in {module}").format(module=next_module))
        self.continueButton.toolTip = _("Open the module that takes up what this one has made, on the same twin.")
        self._next_module = next_module
        for part in (self.reasonLabel, self.planLabel, self.applyButton, self.progressBar, self.verdict.widget):
            column.addWidget(part)
        for part in (self.summaryLabel, self.revertButton, self.continueButton):
            column.addWidget(part)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self.applyButton.connect("clicked()", self._on_apply_or_cancel)
        self.revertButton.connect("clicked()", self._on_revert)
        self.continueButton.connect("clicked()", lambda *_args: go_on(self._next_module, self._twin))
        self.show(None, "")

    @property
    def running(self) -> bool:
        return self._execution is not None

    def show(self, twin: Twin | None, lacking: str, record: Mapping[str, Any] | None = None, plan: str = "") -> None:
        """Show what can be done now.

        Parameters
        ----------
        twin : Twin or None
            What Apply would work on.
        lacking : str
            What it still lacks; "" for nothing.
        record : mapping, optional
            Of the module's newest run.
        plan : str
            What Apply will do, and what that takes.
        """
        if twin != self._twin:
            self._message = ""
        self._twin = twin
        self.reasonLabel.text = "" if self.running else lacking
        self.reasonLabel.visible = bool(self.reasonLabel.text)
        self.planLabel.text = "" if self.running or lacking else plan
        self.planLabel.visible = bool(self.planLabel.text)
        self.applyButton.text = _("Cancel") if self.running else _("Apply")
        keys = _("Stop the run; the scene stays as it was (Esc).") if self.running else _("Ctrl+Return")
        self.applyButton.toolTip = keys if self.running else f"{lacking or plan} ({keys})"
        self.applyButton.enabled = self.running or not lacking
        self.progressBar.visible = self.running
        last = twin.provenance()[0]["module"] if twin is not None and twin.nodes("run") else ""
        self.revertButton.enabled = bool(last) and not self.running
        self.revertButton.text = _("Revert last run ({module})").format(module=last) if last else _("Revert last run")
        self.continueButton.visible = bool(self._next_module) and record is not None and not self.running
        results = {} if record is None or self.running else record["results"]
        self.verdict.show(results.get("verdict", ""), results.get("verdict_reasons", ""))
        self.summaryLabel.text = self._message or ("" if record is None or self.running else summary(record))
        self.summaryLabel.visible = bool(self.summaryLabel.text)

    def say(self, text: str) -> None:
        """Lines below the button, until the next run."""
        self._message = self.summaryLabel.text = text
        self.summaryLabel.visible = bool(text)

    def abandon(self) -> None:
        """Cancel a run without waiting for it: nothing will be written, because nobody polls it any more."""
        self._timer.stop()
        if self._execution is not None:
            self._execution.cancel()
            self._execution = None

    def run(self, start: Callable[[], Step]) -> None:
        """Begin a step on the twin, watched and cancelled as that of Apply is."""
        self._begin(lambda: execute_polled(self._twin, start(), self._on_progress), None)

    def aside(self, compute: Callable[[Job], Any], then: Callable[[Any], None]) -> None:
        """Compute something that leaves the scene alone, such as a download; `then` gets the answer."""
        self._begin(lambda: PolledRun(compute, self._on_progress), then)

    def _on_apply_or_cancel(self, *_args) -> None:
        if self._execution is not None:
            self._execution.cancel()
            self._cancelled_ms = 0
            self.applyButton.enabled = False
            self.applyButton.text = _("Cancelling...")
            return
        self.run(self._start)

    def _begin(self, start: Callable[[], Any], then: Callable[[Any], None] | None) -> None:
        if self.running:
            return
        try:
            self._execution = start()
        except Exception as error:
            self.say(told(error))
            return
        self._then, self._cancelled_ms = then, None
        self._message = ""
        self.progressBar.value = 0
        self.progressBar.format = _("Starting")
        self._ended()
        self._timer.start()

    def _on_progress(self, progress: Progress) -> None:
        self.progressBar.value = round(STEPS * progress.fraction)
        self.progressBar.format = progress_text(progress)

    def _poll(self) -> None:
        execution = self._execution
        if execution is None:
            return
        if not execution.poll():
            self._lose_patience()
            return
        self._timer.stop()
        self._execution = None
        self._ended()
        try:
            answer = execution.result()
            if self._then is not None:
                self._then(answer)
        except Exception as error:
            self.say(told(error))

    def _lose_patience(self) -> None:
        """End a cancelled run that goes on regardless: nothing of it arrives, for nobody polls it any more."""
        if self._cancelled_ms is None:
            return
        self._cancelled_ms += POLL_MS
        if self._cancelled_ms > PATIENCE_MS:
            self.abandon()
            self._ended()
            self.say(told(JobCancelled()))

    def _on_revert(self, *_args) -> None:
        try:
            record = self._twin.revert_last_run()
        except TwinError as error:
            self.say(str(error))
            return
        self._ended()
        self.say(_("Reverted: what {module} had added is removed.").format(module=record["module"]))


def told(error: Exception) -> str:
    """An error in the user's words; one that nobody has foreseen goes to the log with its details."""
    if isinstance(error, JobCancelled):
        return _("Cancelled. The scene is as it was before.")
    if isinstance(error, TwinError):
        return str(error)
    log.error("A run failed unexpectedly.", exc_info=error)
    words = _("The run failed and has changed nothing ({kind}). Slicer's log has the details: please report them.")
    return words.format(kind=type(error).__name__)


def summary(record: Mapping[str, Any]) -> str:
    """A run's results and warnings in words, from its provenance record."""
    seconds = record["seconds"]
    lines = [_("Done in {n} s.").format(n=round(seconds)) if seconds >= 1 else _("Done in less than a second.")]
    for name, result in record["results"].items():
        if isinstance(result, Mapping):
            line = f"{_in_words(name)}: {_number(result['value'])} {in_words(result['unit'])}".rstrip()
            if "interval_90" in result:
                low, high = (_number(bound) for bound in result["interval_90"])
                line += _(" (90 %: {low} to {high})").format(low=low, high=high)
            lines.append(line)
    reasons = record["results"].get("verdict_reasons")  # beside the light already
    warnings = [warning for warning in record["warnings"] if not reasons or reasons not in warning]
    lines += [_("Note: {warning}").format(warning=warning) for warning in warnings]
    return "\n".join(lines)


def _in_words(name: str) -> str:
    """The name of a result without the unit at its end, which follows the number anyway."""
    head, comma, tail = name.partition(", ")
    words = head.replace("_", " ").removesuffix(" ml").removesuffix(" mm").removesuffix(" days")
    return name_in_words(words) + comma + tail


def _number(value: float | str) -> str:
    """Three digits; a record has the name of a number that is not finite."""
    return value if isinstance(value, str) else digits(value)


def progress_text(progress: Progress) -> str:
    """Where the run is, and how long it still takes."""
    where = sentence(": ".join(progress.path)) or _("Working")
    seconds = progress.remaining_seconds
    if seconds is None:
        return f"{where} (%p %)"
    left = _("{n} s left").format(n=round(seconds)) if seconds < 90 else _("{n} min left").format(n=round(seconds / 60))
    return f"{where} (%p %), {left}"


def _wrapped_label():
    label = qt.QLabel()
    label.wordWrap = True
    return label
