"""Training from label maps on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from TwinCore import InvalidInput, Job, MissingInput, MissingPackage
from TwinCore.volume_file import READERS, read_volume
from TwinSegmentLib.generator import read_recipe

from .pathology import painted


def train_brain(
    label_maps: Sequence[Path],
    out: Path,
    *,
    held_out: int = 2,
    steps: int = 9000,
    pathology: int = 0,
    start: Path | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> Path:
    """Train the brain network on label maps.

    Parameters
    ----------
    label_maps : sequence of Path
        Volumes, or folders whose volumes are all taken, in the order of their names.
    out : Path
        For the state, the curve and the weights.
    held_out : int
        How many, the last ones, are validated on and not learnt from.
    steps : int
    pathology : int
        How many label maps with painted tumours, lesions and ablation zones are learnt from besides; the network then
        has classes for them, and the held-out maps are painted too.
    start : Path, optional
        Weights to begin with.
    seed : int
    job : Job, optional

    Returns
    -------
    Path
        The weights.

    Raises
    ------
    MissingInput, InvalidInput, MissingPackage
        If there are too few label maps, one does not fit the recipe, or torch is not installed.
    """
    try:
        from TwinSegmentLib.label_map_training import Plan, train_on_label_maps
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name), "Training", "pip install 'digitaltwin[ai]'") from error
    from TwinSegmentLib.networks.weights import load_weights

    job = job or Job()
    paths = [file for path in label_maps for file in (_volumes(path) if path.is_dir() else [path])]
    if not 0 < held_out < len(paths):
        raise InvalidInput(
            f"Of {len(paths)} label maps, {held_out} cannot be held out: one or more must be on each side."
        )
    reading, painting, training = job.split(reading=1, pathology=max(pathology, 1), training=100)
    with reading:
        maps = [read_volume(path) for path in reading.each(paths, "reading label maps")]
    learnt, tested = maps[:-held_out], maps[-held_out:]
    plan = Plan.coarse_to_fine(steps, seed, every=min(250, steps), recipe="brain_tumour" if pathology else "brain")
    with painting:
        if pathology:
            recipe = read_recipe(plan.recipe)
            painted_maps = [
                painted(learnt[n % len(learnt)], recipe, seed + n, job=part)
                for n, part in enumerate(painting.split(**{f"map_{n + 1}": 1 for n in range(pathology)}))
            ]
            learnt = learnt + painted_maps
            tested = [painted(one, recipe, seed + pathology + n, "tumour") for n, one in enumerate(tested)]
    with training:
        first = load_weights(start) if start else None
        return train_on_label_maps(learnt, tested, out, plan, start=first, job=training)


def _volumes(folder: Path) -> list[Path]:
    volumes = sorted(path for path in folder.iterdir() if path.name.endswith(tuple(READERS)))
    if not volumes:
        raise MissingInput(f"There is no volume in {folder}.")
    return volumes
