"""What a job shows on a terminal, and what it leaves in a log."""

import io
import signal

import pytest
from rich.console import Console

from TwinApp.terminal import in_lines, job_on_terminal
from TwinCore import JobCancelled, Progress


@pytest.fixture
def log():
    return Console(file=io.StringIO(), width=40)


def test_a_log_gets_a_line_now_and_then(log):
    show = in_lines(log)
    for second in range(100):
        show(Progress(second / 100, ("training",), f"step {second} of 100 [last]", float(second)))
    lines = log.file.getvalue().splitlines()
    assert lines == [f" {s}% after {s} s: training: step {s} of 100 [last]" for s in (30, 60, 90)]


def test_a_short_job_leaves_a_log_alone(log):
    show = in_lines(log)
    for second in range(10):
        show(Progress(second / 10, (), "", float(second)))
    assert log.file.getvalue() == ""


def test_a_job_in_a_log_draws_no_bar(capfd, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with job_on_terminal() as job:
        job.report(0.5, "half")
    assert capfd.readouterr().err == ""


def test_a_terminal_shows_where_a_job_is(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with job_on_terminal() as job:
        job.report(0.5, "step [1] of 2")
    shown = capfd.readouterr().err
    assert "50 %" in shown
    assert "step [1] of 2" in shown


def test_ctrl_c_cancels_at_the_next_checkpoint():
    before = signal.getsignal(signal.SIGINT)
    with job_on_terminal() as job:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(JobCancelled):
            job.checkpoint()
    assert signal.getsignal(signal.SIGINT) is before
