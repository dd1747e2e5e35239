"""Draws docs/pictures/report.png: the first two screens of a report, side by side, as a browser shows them.

    python docs/make_report_picture.py output/demo/report.html

Needs Chromium on the PATH, and Pillow.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 900, 1580
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def main(report: Path, picture: Path) -> None:
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if browser is None:
        sys.exit("Chromium was not found on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        options = [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{2 * HEIGHT}", f"--screenshot={shot}"]
        subprocess.run([browser, *QUIET, *options, report.resolve().as_uri()], check=True, capture_output=True)
        page = Image.open(shot).convert("RGB")
    both = Image.new("RGB", (2 * WIDTH, HEIGHT), "white")
    for column in range(2):
        both.paste(page.crop((0, column * HEIGHT, WIDTH, (column + 1) * HEIGHT)), (column * WIDTH, 0))
    picture.parent.mkdir(exist_ok=True)
    both.resize((1400, round(1400 * HEIGHT / (2 * WIDTH))), Image.Resampling.LANCZOS).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "pictures/report.png")
