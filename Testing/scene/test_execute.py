"""Driving a step: three ways, one outcome, and MRML on the caller's thread only."""

import asyncio
import threading
import time

import pytest

from TwinCore import Job, JobCancelled, MissingInput, Quantity
from TwinCore.scene import execute, execute_async, execute_polled, snapshot


class Doubling:
    """A step that doubles the reference; it notes the thread of each of its three parts."""

    name = "TwinFusion"

    def __init__(self, fail_in: str = "", hold: bool = False):
        self.fail_in, self.hold = fail_in, hold
        self.threads = {}
        self.computing = threading.Event()

    def parameters(self):
        return {"factor": 2}

    def read(self, twin):
        self.threads["read"] = threading.get_ident()
        return twin.image(twin.node("reference"))

    def compute(self, inputs, job):
        self.threads["compute"] = threading.get_ident()
        self.computing.set()
        (part,) = job.split(Doubling=1)
        with part:
            part.report(0.5, "half")
            job.warn("doubled")
            while self.hold:
                job.checkpoint()
                time.sleep(0.002)
            if self.fail_in == "compute":
                raise ZeroDivisionError
        return inputs.with_array(inputs.array * 2)

    def write(self, run, outputs):
        self.threads["write"] = threading.get_ident()
        run.add_image(outputs, "fused")
        run.record({"factor": Quantity(2, "1")})
        if self.fail_in == "write":
            raise ZeroDivisionError


def blocking(twin, step):
    return execute(twin, step)


def in_a_loop(twin, step):
    return asyncio.run(execute_async(twin, step))


def polled(twin, step):
    execution = execute_polled(twin, step)
    while not execution.poll():
        time.sleep(0.002)
    return execution.result()


drivers = pytest.mark.parametrize("driver", [blocking, in_a_loop, polled])


@drivers
def test_read_and_write_are_on_the_callers_thread(twin, driver):
    step = Doubling()
    run = driver(twin, step)
    here = threading.get_ident()
    assert (step.threads["read"], step.threads["write"]) == (here, here)
    assert (step.threads["compute"] == here) == (driver is blocking)
    assert twin.node("fused").GetAttribute("DigitalTwin.Run") == run.id


@drivers
def test_the_record_holds_inputs_warnings_and_times(twin, driver):
    record = driver(twin, Doubling()).provenance
    assert [entry["name"] for entry in record["inputs"]] == ["SUV"]
    assert record["warnings"] == ["doubled"]
    assert list(record["part_seconds"]) == ["Doubling"]
    assert record["parameters"] == {"factor": 2}
    assert record["results"] == {"factor": {"value": 2, "unit": "1"}}
    assert twin.provenance() == [record]


@drivers
@pytest.mark.parametrize("part", ["compute", "write"])
def test_failure_leaves_the_scene_as_before(scene, twin, driver, part):
    before = snapshot(scene)
    with pytest.raises(ZeroDivisionError):
        driver(twin, Doubling(fail_in=part))
    assert snapshot(scene) == before


@drivers
def test_what_is_missing_is_named_before_anything_is_computed(scene, twin, driver):
    twin.set_nodes("reference", [])
    step = Doubling()
    with pytest.raises(MissingInput, match="no reference"):
        driver(twin, step)
    assert "compute" not in step.threads


def test_a_cancelled_job_writes_nothing(scene, twin):
    before = snapshot(scene)
    job = Job(lambda report: job.cancel())
    with pytest.raises(JobCancelled):
        execute(twin, Doubling(), job)
    assert snapshot(scene) == before


def test_polled_cancel_writes_nothing(scene, twin):
    before = snapshot(scene)
    step = Doubling(hold=True)
    execution = execute_polled(twin, step)
    assert step.computing.wait(10)
    assert not execution.poll()
    execution.cancel()
    while not execution.poll():
        time.sleep(0.002)
    with pytest.raises(JobCancelled):
        execution.result()
    assert snapshot(scene) == before


def test_a_cancel_between_the_end_and_the_writing_counts(scene, twin):
    before = snapshot(scene)
    execution = execute_polled(twin, Doubling())
    while not execution._polled.future.done():
        time.sleep(0.002)
    execution.cancel()
    assert execution.poll()
    with pytest.raises(JobCancelled):
        execution.result()
    assert snapshot(scene) == before


def test_cancelling_the_task_cancels_the_computation(scene, twin):
    before = snapshot(scene)
    step = Doubling(hold=True)

    async def cancel_it():
        task = asyncio.create_task(execute_async(twin, step))
        while not step.computing.is_set():
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_it())
    assert snapshot(scene) == before


def test_progress_reaches_the_observer_on_the_callers_thread(twin):
    seen = []
    execution = execute_polled(twin, Doubling(), lambda report: seen.append((report.message, threading.get_ident())))
    while not execution.poll():
        time.sleep(0.002)
    assert ("half", threading.get_ident()) in seen


def test_polling_again_writes_once(twin):
    execution = execute_polled(twin, Doubling())
    while not execution.poll():
        time.sleep(0.002)
    assert execution.poll()
    assert len(twin.nodes("fused")) == 1
