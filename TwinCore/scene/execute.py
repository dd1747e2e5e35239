"""Driving a module's `Step` on a twin: read and write on the caller's thread, compute here or on a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..background import Observer, PolledRun, run_async, run_blocking
from ..job import Job
from ..step import Step
from .attributes import reading
from .run import Run
from .twin import Twin


def execute(twin: Twin, step: Step, job: Job | None = None) -> Run:
    """Read, compute and write, here and now.

    Returns
    -------
    Run
        The run that was written, with its `results`, `warnings` and `provenance`.

    Raises
    ------
    TwinError
        Whatever the step raises, `JobCancelled` among them; the scene is then as it was before.
    """
    pending = _Pending(twin, step)
    return pending.write(run_blocking(pending.compute, job))


async def execute_async(twin: Twin, step: Step, observer: Observer | None = None) -> Run:
    """As `execute`, with the computation on a worker thread while the event loop goes on.

    Cancelling the awaiting task cancels the computation; nothing is written then.
    """
    pending = _Pending(twin, step)
    return pending.write(await run_async(pending.compute, observer))


def execute_polled(twin: Twin, step: Step, observer: Observer | None = None) -> PolledExecution:
    """As `execute`, with the computation on a worker thread, watched by a timer.

    >>> execution = execute_polled(twin, step, show_progress)
    >>> timer.connect("timeout()", execution.poll)
    """
    return PolledExecution(_Pending(twin, step), observer)


class PolledExecution:
    """A step under way: call `poll` from a timer until it says True, then `result`."""

    def __init__(self, pending: _Pending, observer: Observer | None):
        self._pending = pending
        self._polled = PolledRun(pending.compute, observer)
        self._outcome: Callable[[], Run] | None = None
        self._writing = False  # a timer may fire again while nodes are being added

    def poll(self) -> bool:
        """Deliver progress; once the computation has ended, write its answer into the scene and say True."""
        if self._outcome is None and not self._writing and self._polled.poll():
            self._writing = True
            try:
                run = self._pending.write(self._polled.result())
            except BaseException as error:  # kept for whoever asks for the result
                self._outcome = _raiser(error)
            else:
                self._outcome = lambda: run
        return self._outcome is not None

    def cancel(self) -> None:
        """Ask the computation to stop at its next checkpoint; nothing is written then."""
        self._polled.cancel()

    def result(self) -> Run:
        """The run that was written, or the error raised; to be called once `poll` has said True."""
        if self._outcome is None:
            raise RuntimeError("The step has not ended: poll until it says True.")
        return self._outcome()


class _Pending:
    """A step between its reading and its writing."""

    def __init__(self, twin: Twin, step: Step):
        self._twin, self._step = twin, step
        self._run = twin.run(step.name, step.parameters())
        self._job = Job()
        with reading() as nodes:
            self._inputs = step.read(twin)
        self._run.add_inputs(nodes)

    def compute(self, job: Job) -> Any:
        self._job = job
        inputs, self._inputs = self._inputs, None  # freed as soon as the step lets go of them
        return self._step.compute(inputs, job)

    def write(self, outputs: Any) -> Run:
        """Write inside the bracket, unless the job was cancelled at its very end."""
        with self._run as run:
            self._job.checkpoint()
            self._step.write(run, outputs)
            self._job.checkpoint()
            run.add_job(self._job)
            run.outputs = outputs
        return self._run


def _raiser(error: BaseException) -> Callable[[], Run]:
    def outcome() -> Run:
        raise error

    return outcome
