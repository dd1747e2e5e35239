"""How well the verdict tells registrations that are right from those that are not: `make bench`.

Makes over 200 registrations of known error (Testing/support/verdict_cases.py) from patients that the calibration has
not seen, judges them, and prints the share of failures (over 5 mm, or a pair that cannot be right) that is not called
good, the share of right ones (under 2 mm) that is not either, and the area under the ROC curve, which is drawn. What
lies between 2 and 5 mm is shown but counts in neither.

    python verdict_validation.py                 # validation, 10 to 20 minutes on two cores
    python verdict_validation.py --calibrate     # first fits TwinFusionLib/verdict.json anew, on other patients

Patients' images are looked for in DIGITALTWIN_DATA; MNI152 comes with nilearn.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing/support"))

from verdict_cases import KINDS, cases  # noqa: E402
from verdict_fit import FAILED_MM, RIGHT_MM, fit, operating_point, roc  # noqa: E402
from verdict_subjects import glioma, subjects  # noqa: E402

from TwinCore import Image, LinearTransform, MissingInput, MissingPackage  # noqa: E402
from TwinFusionLib import verdict  # noqa: E402
from TwinFusionLib.linear import register_linear  # noqa: E402
from TwinFusionLib.quality import Quality, assess  # noqa: E402

SEEDS = {"calibration": (1, 4), "validation": (6,)}
MODEL = ROOT / "TwinFusion/TwinFusionLib/verdict.json"


def measured(split: str, folder: Path, seeds: tuple[int, ...], share: float = 1.0) -> list[dict]:
    """Figures and errors of all cases of a split."""
    patients = list(subjects(split, folder, _settle))
    if split == "validation":
        own = glioma(folder, _settle)
        patients += [own] if own else []
    print(f"{split}: {len(patients)} patients", flush=True)
    kinds = {kind: max(round(share * count), 1) for kind, count in KINDS.items()}
    rows, spent = [], 0.0
    for seed in seeds:
        for case in cases(patients, seed, kinds):
            begin = time.process_time()
            quality = assess(
                case.fixed,
                case.moving,
                case.transform,
                repeats=case.found.repeats if case.found else (),
                linear=case.found,
            )
            spent += time.process_time() - begin
            rows.append({"kind": case.kind, "pair": case.pair, "error_mm": case.error_mm, **vars(quality)})
    print(f"{len(rows)} registrations; to assess one took {spent / len(rows):.2f} s of processor time", flush=True)
    return rows


def _settle(fixed: Image, moving: Image) -> np.ndarray:
    """Where the engine comes to rest from the pose that the files' headers give."""
    return register_linear(fixed, [moving], start=LinearTransform.identity()).transform.matrix


def report(rows: list[dict], picture: Path) -> None:
    """Print the table and draw the ROC curve."""
    errors = np.array([row["error_mm"] for row in rows])
    verdicts = [verdict.judge(_quality(row)) for row in rows]
    probability = np.array([v.probability for v in verdicts])
    warned = np.array([v.grade != "good" for v in verdicts])
    failed, right = errors > FAILED_MM, errors < RIGHT_MM
    print("\nkind            <2 mm   good  2-5 mm   good  >5 mm  caught  failed")
    for kind in [*KINDS, "all"]:
        here = np.array([kind in (row["kind"], "all") for row in rows])
        between = here & ~failed & ~right
        print(
            f"{kind:14s} {(here & right).sum():6d} {(here & right & ~warned).sum():6d} {between.sum():7d} "
            f"{(between & ~warned).sum():6d} {(here & failed).sum():6d} {(here & failed & warned).sum():7d} "
            f"{sum(v.grade == 'failed' for v, k in zip(verdicts, here & failed) if k):7d}"
        )
    caught, alarms, area = operating_point(probability, warned, errors)
    print(f"\nfailures caught {caught:.1%}, false alarms {alarms:.1%}, area under the ROC curve {area:.3f}")
    _draw(probability, errors, (alarms, caught), picture)
    print(f"ROC curve: {picture}")
    for row, v in zip(rows, verdicts):
        good = v.grade == "good"
        if good if row["error_mm"] > FAILED_MM else not good and row["error_mm"] < RIGHT_MM:
            what = "missed" if good else "alarm"
            print(f"  {what:6s} {row['kind']:13s} {row['error_mm']:5.1f} mm  {row['pair']}: {v}")


def _quality(row: dict) -> Quality:
    return Quality(**{name: row[name] for name in Quality.__dataclass_fields__})


def _draw(probability, errors, point, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    alarms, caught, area = roc(probability, errors)
    axes.plot(alarms, caught, color="#1f6f8b", label=f"ROC, area {area:.3f}", drawstyle="steps-post")
    axes.plot(
        *point, "o", color="#c8442f", label=f"not called good: {point[1]:.0%} caught, {point[0]:.0%} false alarms"
    )
    axes.axhline(0.95, color="0.7", lw=0.8, ls="--")
    axes.axvline(0.10, color="0.7", lw=0.8, ls="--")
    axes.set(xlabel="share of right registrations (< 2 mm) called doubtful", xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.set(ylabel="share of failures (> 5 mm) caught")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    figure.savefig(path)


def _kept(name: str, keep: Path | None, make) -> list[dict]:
    """Figures as kept in a file, or made and kept."""
    path = keep / f"{name}.json" if keep else None
    if path and path.is_file():
        return json.loads(path.read_text())
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)  # before the work, which takes long
    rows = make()
    if path:
        path.write_text(json.dumps(rows))
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calibrate", action="store_true", help="fit verdict.json on the calibration patients first")
    options.add_argument("--keep", type=Path, help="folder where figures are kept, and read from another time")
    options.add_argument("--share", type=float, default=1.0, help="of the cases, for a quick look")
    options.add_argument("--picture", type=Path, default=Path("verdict_roc.png"))
    args = options.parse_args()
    folder = Path(os.environ.get("DIGITALTWIN_DATA", ROOT / "../shared/data")).resolve()
    if not folder.is_dir():
        print(f"no patients' images in {folder} (DIGITALTWIN_DATA): only bent MNI152 brains are used")

    def rows(split: str) -> list[dict]:
        return _kept(split, args.keep, lambda: measured(split, folder, SEEDS[split], args.share))

    try:
        if args.calibrate:
            seen = rows("calibration")
            today = datetime.date.today().isoformat()
            source = {"pairs": len(seen), "date": today, "seeds": list(SEEDS["calibration"])}
            MODEL.write_text(json.dumps(fit(seen, json.loads(MODEL.read_text()), source), indent=2) + "\n")
            verdict.model.cache_clear()
        report(rows("validation"), args.picture)
    except (MissingInput, MissingPackage) as error:
        print(f"not run: {error}")


if __name__ == "__main__":
    main()
