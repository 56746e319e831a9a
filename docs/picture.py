"""Takes the README's picture of a report: `python docs/picture.py outputs/quickstart/report.html docs/report.png`.

Needs Chromium, found as `chromium`, `chromium-browser` or `google-chrome`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH_PX, HEIGHT_PX = 1180, 1560


def take(report: Path, picture: Path) -> None:
    """Opens the report without a network and saves what a reader sees first."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("no Chromium found")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command = [browser, *flags, f"--user-data-dir={profile}", f"--window-size={WIDTH_PX},{HEIGHT_PX}"]
        command += ["--virtual-time-budget=5000", f"--screenshot={picture.absolute()}", report.absolute().as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
