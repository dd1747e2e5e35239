"""The commands of `digitaltwin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from TwinCore import InvalidInput, __version__
from TwinFusionLib.presets import ANYWHERE, BY_MODALITY, BY_PRESET

from .dce_command import dce
from .dose_command import accumulate, dose
from .onset_command import onset
from .series_command import segment_series
from .terminal import job_on_terminal, tell
from .training_command import compare_training, train
from .ventricle_command import ventricle

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One patient's images to a prediction. Research use only.",
)
OUT = typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Show the help where no command is given."""
    if version:
        print(f"digitaltwin {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    case: Annotated[Path, typer.Argument(help="Case file (TOML), see docs/case_file.md.")],
    out: Annotated[Path | None, OUT] = None,
) -> None:
    """Run a case: fuse its images, segment, simulate, and write twin.mrb, results.json, report.html."""
    _run_case(case, out or Path("output") / case.stem)


@app.command()
def fuse(
    images: Annotated[
        list[Path],
        typer.Argument(help="A case file; or the fixed image and those to be moved: volumes, DICOM folders."),
    ],
    out: Annotated[Path | None, OUT] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="CT, MR, US or PT:unit of each image that is not DICOM, in their order; repeat it."),
    ] = None,
    patient: Annotated[str, typer.Option(help="Name to show: a pseudonym.")] = "unnamed",
    preset: Annotated[str, typer.Option(help="Registration preset, see docs/fusion.md.")] = BY_MODALITY,
    motion: Annotated[str, typer.Option(help="rigid, affine or deformable, in place of the preset's.")] = BY_PRESET,
    start: Annotated[
        str, typer.Option(help="anywhere: all poses are tried; frames: begin where the images' frames lay them.")
    ] = ANYWHERE,
    spacing: Annotated[float, typer.Option(help="Voxel edge of the fused images, in mm; 0: the fixed image's.")] = 0.0,
    stack: Annotated[bool, typer.Option(help="Write the fused images as one volume with channels, too.")] = True,
    seed: Annotated[int, typer.Option(help="Of the registration's random samples.")] = 0,
) -> None:
    """Bring images into one frame: write twin.mrb, fused volumes, transforms, results.json and fusion.html."""
    from .case_file import Fusion
    from .fusing import fuse as fuse_loaded
    from .loading import load_case, load_files
    from .named_images import case_of_images

    chosen = Fusion(preset=preset, motion=motion, start=start, spacing_mm=spacing, stack=stack, seed=seed)
    is_case = [path.suffix for path in images] == [".toml"]
    if is_case and (modality or patient != "unnamed" or chosen != Fusion(stack=True)):
        raise InvalidInput("With a case file there are no options but --out: write them into the case file.")
    with job_on_terminal() as job:
        reading, fusing = job.split(reading=1, fusion=9)
        with reading:
            if is_case:
                loaded = load_case(images[0], reading)
            else:
                loaded = load_files(*case_of_images(images, modality or (), chosen, patient, reading), reading)
        out = out or Path("output") / images[0].name.split(".")[0]
        with fusing:
            results = fuse_loaded(loaded, out, fusing)
    tell(results, job.warnings)
    print(f"The verdicts are in {out / 'fusion.html'}")


@app.command()
def check(case: Annotated[Path, typer.Argument(help="Case file (TOML).")]) -> None:
    """Read a case and all that it names, and say what is wrong with it; compute nothing."""
    from .fusion_step import fusion_step
    from .loading import load_case

    with job_on_terminal() as job:
        loaded = load_case(case, job)
    fusion_step(loaded)
    print(f"{case.name}: {len(loaded.images)} images, {len(loaded.outlines)} sets of outlines; all is well.")


@app.command()
def demo(
    out: Annotated[Path, OUT] = Path("output/demo"),
    seed: Annotated[int, typer.Option(help="Which virtual patient to make.")] = 0,
) -> None:
    """Make a virtual patient whose truth is known, run it, and report each error."""
    from .virtual_patient import make_virtual_patient

    folder = out.parent / f"{out.name}_patient"
    with job_on_terminal() as job:
        case = make_virtual_patient(folder, seed, job)
    print(f"The virtual patient's images and case file are in {folder}.")
    _run_case(case, out)


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(help="One image a channel of the model: volumes, DICOM folders.")],
    model: Annotated[str, typer.Option(help="Of those that `digitaltwin models` lists.")],
    out: Annotated[Path | None, OUT] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="CT, MR or PT:unit of each image that is not DICOM, in their order.")
    ] = None,
    patient: Annotated[str, typer.Option(help="Name to show: a pseudonym.")] = "unnamed",
    looks: Annotated[int, typer.Option(help="How often the model looks, at changed brightness: 1 to 5.")] = 1,
    close: Annotated[float, typer.Option(help="Close gaps that a ball of this radius, in mm, does not fit into.")] = 0,
    keep_largest: Annotated[bool, typer.Option(help="Keep the largest part of each segment only.")] = False,
    fill_holes: Annotated[bool, typer.Option(help="Fill what a segment encloses and no other one holds.")] = False,
) -> None:
    """Label the anatomy of an image by a model: write labels, their uncertainty, volumes and twin.mrb."""
    from TwinSegmentLib.tidy import Tidy

    from .segmenting import segment_images

    tidy = Tidy(close, keep_largest, fill_holes)
    out = out or Path("output") / images[0].name.split(".")[0]
    with job_on_terminal() as job:
        results = segment_images(
            images, out, model, modalities=modality or (), patient=patient, looks=looks, tidy=tidy, job=job
        )
    tell(results, job.warnings)
    print(f"The labels are {out / 'anatomy.nii.gz'}; a picture is {out / 'anatomy.png'}")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="twin.mrb, or a label map with its table beside it (.csv).")],
    kinds: Annotated[
        list[str], typer.Option("--as", help="seg, rtstruct (DICOM), stl, obj, vtk or vtp (surfaces); repeat it.")
    ],
    out: Annotated[Path | None, OUT] = None,
    table: Annotated[Path | None, typer.Option(help="Names, colours and codes of the labels (.csv).")] = None,
    images: Annotated[
        Path | None, typer.Option(help="DICOM folder of the images that the segments lie on: same patient and study.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="Series Instance UID, where that folder holds several.")] = None,
    patient: Annotated[str, typer.Option(help="Name in DICOM files without such images; the twin's if none.")] = "",
    segment: Annotated[list[str] | None, typer.Option(help="Only this segment; repeat it.")] = None,
) -> None:
    """Write segments for other programs: DICOM SEG and RTSTRUCT, and smooth surfaces."""
    from .exporting import export as export_segments

    out = out or Path("output") / f"{source.name.split('.')[0]}_export"
    with job_on_terminal() as job:
        written = export_segments(
            source,
            out,
            kinds,
            table=table,
            images=images,
            series_uid=series,
            patient=patient,
            segments=segment or (),
            job=job,
        )
    for warning in job.warnings:
        print(f"Note: {warning}")
    print(f"{len(written['files'])} files are in {out}; {out / 'export.json'} says what they hold.")


@app.command()
def models() -> None:
    """List the models: what each segments, in which images, how large it is and whether it is on this machine."""
    from TwinSegmentLib.models.catalogue import read_catalogue
    from TwinSegmentLib.models.installed import state_in_words

    for entry in read_catalogue().values():
        about = f"{entry.title} [{entry.licence}; {state_in_words(entry)}] {entry.limits}"
        print(f"{entry.name:28} {' + '.join(entry.modalities):8} {about}")


@app.command()
def fetch(model: Annotated[str, typer.Argument(help="Of those that `digitaltwin models` lists.")]) -> None:
    """Download a model's files, once, after saying how large they are and where they come from."""
    from TwinSegmentLib.models.catalogue import find_model
    from TwinSegmentLib.models.fetch import fetch as fetch_files
    from TwinSegmentLib.models.fetch import size_in_words
    from TwinSegmentLib.models.installed import check_ready

    entry = find_model(model)
    missing = entry.missing_files()
    if not missing:
        check_ready(entry)
        print(f"{entry.name} is ready.")
        return
    print(f"{size_in_words(missing)} from {entry.source} ({entry.licence}) to {entry.folder}")
    if any(file.algorithm != "sha256" for file in missing):
        print("Its checksum is the SHA-1 that its publisher gives, which shows damage, but is no proof of its origin.")
    with job_on_terminal() as job:
        fetch_files(entry, job)


app.command()(dose)
app.command()(accumulate)
app.command()(ventricle)
app.command("segment-series")(segment_series)
app.command()(onset)
app.command()(train)
app.command("compare-training")(compare_training)
app.command()(dce)


@app.command()
def learn(
    images: Annotated[list[Path], typer.Argument(help="Volumes or DICOM folders, one a channel of the model.")],
    labels: Annotated[Path, typer.Option(help="Corrected label map, with its table beside it (.csv).")],
    model: Annotated[str, typer.Option(help="Of those that `digitaltwin models` lists: the one that learns.")],
    name: Annotated[str, typer.Option(help="Of the new model, which is added to your own catalogue.")],
    table: Annotated[Path | None, typer.Option(help="Names of the labels (.csv).")] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="CT, MR or PT:unit of each image that is not DICOM, in their order.")
    ] = None,
) -> None:
    """Let the last layers of a model learn from one patient's corrected labels; the model itself stays as it is."""
    from .learning import learn_from_labels

    with job_on_terminal() as job:
        weights = learn_from_labels(images, labels, model, name, table=table, modalities=modality or (), job=job)
    print(f"Model {name!r} is ready: {weights}")


def _run_case(case: Path, out: Path) -> None:
    from .pipeline import run_case

    with job_on_terminal() as job:
        results = run_case(case, out, job)
    tell(results, job.warnings)
    print(f"The report is {out / 'report.html'}")
