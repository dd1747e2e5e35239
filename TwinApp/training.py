"""Training from label maps, and labelled scans, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from TwinCore import Image, InvalidInput, Job, MissingInput, MissingPackage, Table
from TwinCore.volume_file import READERS, read_volume
from TwinSegmentLib.generator import Recipe, read_recipe

from .label_table import read_labelled
from .outputs import write_table
from .pathology import painted

LABELS = "_labels"
"""How the name of a scan's label map goes on after the scan's."""

COMPARISON = "comparison.csv"


def train_brain(
    label_maps: Sequence[Path],
    out: Path,
    *,
    held_out: int = 2,
    steps: int = 9000,
    pathology: int = 0,
    scans: Path | None = None,
    modality: str = "MR",
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
    scans : Path, optional
        A folder of labelled scans, of which half of the images are made: see `labelled_scans`.
    modality : str
        Of the scans: "MR" or "CT".
    start : Path, optional
        Weights to refine at the finest spacing, rather than to train from nothing at coarse ones first.
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
    Plan, train_on_label_maps = _training()
    from TwinSegmentLib.networks.weights import load_weights

    job = job or Job()
    first = load_weights(start) if start else None
    planned = Plan.refining if start else Plan.coarse_to_fine
    plan = planned(steps, seed, every=min(250, steps), recipe="brain_tumour" if pathology else "brain")
    recipe = read_recipe(plan.recipe)
    reading, painting, training = job.split(reading=1, pathology=max(pathology, 1), training=100)
    with reading:
        learnt, tested = _label_maps(label_maps, held_out, reading)
        real = labelled_scans(scans, recipe, modality, reading) if scans else []
    with painting:
        if pathology:
            painted_maps = [
                painted(learnt[n % len(learnt)], recipe, seed + n, job=part)
                for n, part in enumerate(painting.split(**{f"map_{n + 1}": 1 for n in range(pathology)}))
            ]
            learnt = learnt + painted_maps
            tested = [painted(one, recipe, seed + pathology + n, "tumour") for n, one in enumerate(tested)]
    with training:
        return train_on_label_maps(learnt, tested, out, plan, scans=real, start=first, job=training)


def compare_training(
    label_maps: Sequence[Path],
    scans: Path,
    out: Path,
    *,
    held_out: int = 1,
    steps: int = 9000,
    modality: str = "MR",
    start: Path | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> Table:
    """What labelled scans are worth: one network from label maps, one from scans, one from both.

    Parameters
    ----------
    label_maps : sequence of Path
        As for `train_brain`; all are learnt from.
    scans : Path
        A folder of labelled scans: see `labelled_scans`.
    out : Path
        For the three trainings and the table.
    held_out : int
        How many of the scans, the last ones, the three are judged on.
    steps : int
        Of each.
    modality : str
    start : Path, optional
        Weights that all three refine.
    seed : int
    job : Job, optional

    Returns
    -------
    Table
        See `TwinSegmentLib.training_comparison.compare_sources`; it is written to the folder as CSV too.

    Raises
    ------
    MissingInput, InvalidInput, MissingPackage
        As `train_brain`.
    """
    Plan, _ = _training()
    from TwinSegmentLib.networks.weights import load_weights
    from TwinSegmentLib.training_comparison import compare_sources

    first = load_weights(start) if start else None
    plan = (Plan.refining if start else Plan.coarse_to_fine)(steps, seed, every=min(250, steps))
    reading, training = (job or Job()).split(reading=1, training=100)
    with reading:
        maps = [read_volume(path) for path in reading.each(_files(label_maps), "reading label maps")]
        pairs = labelled_scans(scans, read_recipe(plan.recipe), modality, reading)
    if not 0 < held_out < len(pairs):
        raise InvalidInput(f"Of {len(pairs)} scans, {held_out} cannot be held out: one or more must be on each side.")
    with training:
        table = compare_sources(maps, pairs[:-held_out], pairs[-held_out:], out, plan, first, training)
    write_table(out / COMPARISON, table)
    return table


def labelled_scans(folder: Path, recipe: Recipe, modality: str, job: Job | None = None) -> list[tuple[Image, Image]]:
    """The scans of a folder, in the order of their names, each with its label map.

    The labels of `head.nii.gz` are `head_labels.nii.gz`: in the recipe's numbers, or by the names of its classes if
    there is a table beside them, `head_labels.csv`, as `digitaltwin segment` writes it.

    Raises
    ------
    MissingInput
        If there is no scan, or one has no labels.
    InvalidInput
        If a file is damaged, or its labels do not fit the recipe.
    """
    files = _volumes(folder)
    scans = [path for path in files if not _stem(path).endswith(LABELS)]
    of_scan = {_stem(path).removesuffix(LABELS): path for path in files if path not in scans}
    if not scans:
        raise MissingInput(f"There is no scan in {folder}, only labels.")
    found = []
    for path in scans:
        labels = of_scan.get(_stem(path))
        if labels is None:
            raise MissingInput(f"{path.name!r} has no labels: {_stem(path)}{LABELS}.nii.gz was looked for beside it.")
        table = labels.with_name(f"{_stem(labels)}.csv")
        named = table.is_file()
        truth = recipe.label_map_of(read_labelled(labels, table, job)) if named else read_volume(labels)
        found.append((read_volume(path, modality), truth))
    return found


def _training():
    """The plan and the training, which need torch."""
    try:
        from TwinSegmentLib.label_map_training import Plan, train_on_label_maps
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name), "Training", "pip install 'digitaltwin[ai]'") from error
    return Plan, train_on_label_maps


def _label_maps(paths: Sequence[Path], held_out: int, job: Job) -> tuple[list[Image], list[Image]]:
    """Those that are learnt from, and those that are not."""
    files = _files(paths)
    if not 0 < held_out < len(files):
        raise InvalidInput(
            f"Of {len(files)} label maps, {held_out} cannot be held out: one or more must be on each side."
        )
    maps = [read_volume(path) for path in job.each(files, "reading label maps")]
    return maps[:-held_out], maps[-held_out:]


def _files(paths: Sequence[Path]) -> list[Path]:
    return [file for path in paths for file in (_volumes(path) if path.is_dir() else [path])]


def _stem(path: Path) -> str:
    """A name without its ending."""
    return next(path.name.removesuffix(end) for end in READERS if path.name.endswith(end))


def _volumes(folder: Path) -> list[Path]:
    volumes = sorted(path for path in folder.iterdir() if path.name.endswith(tuple(READERS)))
    if not volumes:
        raise MissingInput(f"There is no volume in {folder}.")
    return volumes
