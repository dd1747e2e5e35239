"""Stands in for the registration engines in tests of what goes where: frames move as told, at once."""

import numpy as np
from phantoms import rigid

from TwinCore import GridTransform
from TwinFusionLib.linear import LinearResult
from TwinFusionLib.registration import Found


def stand_in_register(shifts: dict) -> callable:
    """A `register` that moves the first moving image by `shifts[its name]` in mm, with repeats 1 mm beside it.

    A deformation adds half a millimetre along each axis. What was asked for is kept under `shifts["asked"]`
    and `shifts["starts"]`.
    """
    shifts["asked"], shifts["starts"] = [], {}

    def register(fixed, moving, preset, attention, landmarks, start, seed, job, preparation):
        shifts["asked"].append((fixed.name, [m.name for m in moving], preset, landmarks))
        shifts["starts"][moving[0].name] = start
        job.checkpoint()
        shift = np.array(shifts.get(moving[0].name, (0, 0, 0)), float)
        moves = [rigid(0, (1, 0, 0), shift + [0, 0, d]) for d in (-1, 0, 1)]
        linear = LinearResult(moves[1], tuple(moves), 1.2, 1.0, 0.9, 1.0, 0.0)
        if preset.motion == "deformable":
            bend = GridTransform(np.full((*fixed.grid.shape, 3), 0.5), fixed.grid)
            moves = [move.then(bend) for move in moves]
        return Found(moves[1], tuple(moves), linear)

    return register
