"""Takes the README's picture of a report: `python docs/picture.py outputs/captioning_space/report.html report.png`.

The report in the picture is that of `python -m orchestrator run trials/captioning_space.yaml --promote 1`.
Needs Chromium, found as `chromium`, `chromium-browser` or `google-chrome`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH_PX, COLUMN_PX, COLUMNS = 1180, 1580, 2
SCALE = 0.7


def take(report: Path, picture: Path) -> None:
    """Opens the report without a network and saves its beginning, in columns side by side."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("no Chromium found")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.png"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command = [browser, *flags, f"--user-data-dir={folder}/profile"]
        command += [f"--window-size={WIDTH_PX},{COLUMN_PX * COLUMNS}", "--virtual-time-budget=5000"]
        subprocess.run([*command, f"--screenshot={whole}", report.absolute().as_uri()], check=True, capture_output=True)
        with Image.open(whole) as page:
            columns = page.convert("RGB")
    sheet = Image.new("RGB", (WIDTH_PX * COLUMNS, COLUMN_PX))
    for place in range(COLUMNS):
        top = place * COLUMN_PX
        sheet.paste(columns.crop((0, top, WIDTH_PX, top + COLUMN_PX)), (place * WIDTH_PX, 0))
    size = round(sheet.width * SCALE), round(sheet.height * SCALE)
    sheet.resize(size, Image.Resampling.LANCZOS).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
