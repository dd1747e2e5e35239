"""Running a computation away from the user interface: one worker, three ways to wait for it.

`run_blocking` is for scripts, `run_async` for an asyncio loop (the web page), `PolledRun` for a timer (Qt). The
computation gets plain arrays and a `Job`; progress reports reach the observer on the caller's thread in all three.

numba's default threading layer must not be entered by two threads at once, so only one computation runs at a time
in the process: a second one waits for its turn.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from .job import Job, Progress

Answer = TypeVar("Answer")
Observer = Callable[[Progress], None]

_KERNELS = threading.RLock()


def run_blocking(compute: Callable[[Job], Answer], job: Job | None = None) -> Answer:
    """Compute here and now, on the caller's thread."""
    with _KERNELS:
        return compute(job or Job())


class PolledRun:
    """A computation on a worker thread, watched by calling `poll` from a timer on the caller's thread.

    >>> run = PolledRun(lambda job: 6 * 7)
    >>> run.wait()
    42

    Parameters
    ----------
    compute : callable
        Called with a `Job` on the worker thread.
    observer : callable, optional
        Called with each `Progress`, from within `poll`, on the thread that polls.
    """

    def __init__(self, compute: Callable[[Job], Any], observer: Observer | None = None):
        self._reports: queue.SimpleQueue[Progress] = queue.SimpleQueue()
        self._observer = observer
        self.job = Job(self._reports.put)
        self.future = start(compute, self.job)

    def poll(self) -> bool:
        """Deliver what was reported since the last call; True once the computation has ended."""
        done = self.future.done()
        while not self._reports.empty():
            report = self._reports.get()
            if self._observer is not None:
                self._observer(report)
        return done

    def cancel(self) -> None:
        """Ask the computation to stop at its next checkpoint."""
        self.job.cancel()

    def result(self) -> Any:
        """The answer, or the error, of a computation that has ended."""
        return self.future.result(timeout=0)

    def wait(self, poll_seconds: float = 0.02) -> Any:
        """Poll until the end; the answer, or the error raised."""
        while not self.poll():
            threading.Event().wait(poll_seconds)
        return self.result()


async def run_async(compute: Callable[[Job], Answer], observer: Observer | None = None) -> Answer:
    """Compute on a worker thread while the loop goes on; cancelling the awaiting task cancels the job.

    Reports arrive through the loop, in order, on its thread; the last of them before the answer.
    """
    loop = asyncio.get_running_loop()
    job = Job(lambda report: loop.call_soon_threadsafe(observer, report) if observer else None)
    future = start(compute, job)
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        job.cancel()
        raise


def start(compute: Callable[[Job], Answer], job: Job) -> Future[Answer]:
    """Start the computation on a worker thread, one at a time in the process."""
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            with _KERNELS:
                job.checkpoint()
                answer = compute(job)
        except BaseException as error:  # handed over whole: the caller's thread raises it
            future.set_exception(error)
        else:
            future.set_result(answer)

    threading.Thread(target=work, name="DigitalTwin", daemon=True).start()
    return future
