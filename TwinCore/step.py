"""`Step`: one module's whole work on a twin, which every face (panel, console, command, web) drives alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .job import Job

if TYPE_CHECKING:
    from .scene import Run, Twin


class Step(Protocol):
    """Read the scene, compute on arrays, write the scene.

    `read` and `write` run on the caller's thread, as MRML demands; `compute` may run on a worker, so it sees only
    what `read` returned. `TwinCore.scene.execute` (blocking), `execute_async` and `execute_polled` drive it inside one
    run bracket.
    """

    name: str
    """The module's name: TwinFusion, TwinSegment or TwinSimulate."""

    def parameters(self) -> Mapping[str, Any]:
        """What the user chose, for the provenance record; values that JSON can hold."""

    def read(self, twin: Twin) -> Any:
        """Take what is needed from the twin, as arrays; raises `MissingInput` or `InvalidInput` if it cannot be."""

    def compute(self, inputs: Any, job: Job) -> Any:
        """The work itself: arrays in, arrays out."""

    def write(self, run: Run, outputs: Any) -> None:
        """Put the answer into the scene through the run bracket."""
