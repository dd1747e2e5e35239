"""Progress, cancellation and the three ways to wait for a computation."""

from __future__ import annotations

import asyncio
import threading

import pytest

from TwinCore import Job, JobCancelled
from TwinCore.background import PolledRun, run_async, run_blocking


def nested(job: Job) -> str:
    first, second = job.split(Fusion=1, Tumour_growth=3)
    with first:
        first.report(0.5, "half")
    with second:
        inner, _ = second.split(mesh=1, solve=1)
        with inner:
            for _ in inner.each(iter(range(4)), "step"):
                pass
    job.warn("coarse")
    job.warn("coarse")
    return "done"


def test_parts_add_up_to_one_number():
    reports = []
    job = Job(reports.append)
    assert nested(job) == "done"
    fractions = [r.fraction for r in reports]
    assert fractions == sorted(fractions)
    assert fractions[:3] == [0.0, 0.125, 0.25]
    assert fractions[-1] == 1.0
    assert ("Tumour growth", "mesh") in {r.path for r in reports}
    inside = [r.fraction for r in reports if r.path == ("Tumour growth", "mesh")]
    assert (min(inside), max(inside)) == (0.25, 0.625)
    assert job.warnings == ("coarse",)
    assert list(job.seconds) == ["Fusion", "Tumour growth / mesh", "Tumour growth"]
    assert all(s >= 0 for s in job.seconds.values())


def test_remaining_time_is_told_once_there_is_something_to_tell_from():
    reports = []
    job = Job(reports.append)
    job.report(0.0)
    job.report(0.5)
    assert reports[0].remaining_seconds is None
    assert reports[1].remaining_seconds == pytest.approx(reports[1].seconds)
    job.report(7.0)
    assert reports[2].fraction == 1.0


def test_an_empty_loop_is_done_at_once():
    reports = []
    assert list(Job(reports.append).each([])) == []
    assert [r.fraction for r in reports] == [1.0]


def test_a_cancelled_job_stops_at_the_next_item_and_is_not_timed():
    job, seen = Job(), []
    (part,) = job.split(loop=1)

    def work() -> None:
        with part:
            for n in part.each(range(10)):
                seen.append(n)
                if n == 3:
                    job.cancel()

    with pytest.raises(JobCancelled):
        work()
    assert seen == [0, 1, 2, 3]
    assert job.is_cancelled
    assert part.is_cancelled
    assert job.seconds == {}


def test_an_error_leaves_a_part_as_it_was_raised():
    (part,) = Job().split(loop=1)
    with pytest.raises(ZeroDivisionError), part:
        1 / 0  # noqa: B018


def endless(started: threading.Event):
    def compute(job: Job) -> None:
        started.set()
        while True:
            job.report(0.5)
            threading.Event().wait(0.001)

    return compute


def test_blocking_runs_on_the_callers_thread():
    assert run_blocking(lambda job: threading.current_thread()) is threading.current_thread()
    job = Job()
    assert run_blocking(nested, job) == "done"
    assert job.warnings == ("coarse",)
    assert run_blocking(lambda job: run_blocking(lambda inner: 5)) == 5
    with pytest.raises(ZeroDivisionError):
        run_blocking(lambda job: 1 / 0)


def test_polled_run_delivers_all_reports_on_the_polling_thread():
    reports = []
    run = PolledRun(nested, lambda report: reports.append((threading.current_thread(), report)))
    assert run.wait(0.001) == "done"
    assert {thread for thread, _ in reports} == {threading.current_thread()}
    assert reports[-1][1].fraction == 1.0
    assert run.result() == "done"
    assert run.job.warnings == ("coarse",)


def test_polled_run_cancels_and_hands_over_errors():
    started = threading.Event()
    run = PolledRun(endless(started))
    assert started.wait(10)
    assert not run.poll()
    run.cancel()
    with pytest.raises(JobCancelled):
        run.wait(0.001)
    with pytest.raises(ZeroDivisionError):
        PolledRun(lambda job: 1 / 0).wait(0.001)


def test_async_delivers_all_reports_on_the_loops_thread_before_the_answer():
    reports = []

    async def main() -> str:
        answer = await run_async(nested, lambda report: reports.append((threading.current_thread(), report)))
        assert reports[-1][1].fraction == 1.0
        return answer

    assert asyncio.run(main()) == "done"
    assert {thread for thread, _ in reports} == {threading.current_thread()}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_async(lambda job: 1 / 0))


def test_cancelling_the_task_cancels_the_job():
    started, ended = threading.Event(), threading.Event()

    def compute(job: Job) -> None:
        try:
            endless(started)(job)
        finally:
            ended.set()

    async def main() -> None:
        task = asyncio.create_task(run_async(compute))
        while not started.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended.wait(10)


def test_one_computation_at_a_time():
    running, most = [], []

    def compute(job: Job) -> None:
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.005)
        running.pop()

    runs = [PolledRun(compute) for _ in range(6)]
    for run in runs:
        run.wait(0.001)
    assert most == [1] * 6


def test_a_run_that_waits_for_its_turn_can_be_cancelled():
    started = threading.Event()
    first = PolledRun(endless(started))
    assert started.wait(10)
    computed = []
    second = PolledRun(computed.append)
    second.cancel()
    first.cancel()
    with pytest.raises(JobCancelled):
        second.wait(0.001)
    assert computed == []
