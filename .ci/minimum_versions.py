"""The oldest versions that pyproject.toml allows: `pins` prints them, `share FOLDER` links torch to a folder.

The job that installs them takes torch and torchvision from the environment that it is called in: their lower bounds are
several gigabytes, and a pair of old builds would test these builds rather than our code.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def pins() -> list[str]:
    """`name==lower` for each dependency, and for the tools of the tests that are needed to run them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = [line for line in project["optional-dependencies"]["test"] if re.match(r"pytest|hypothesis|psutil", line)]
    bounds = [re.fullmatch(r"([\w.-]+)>=([\w.]+)", line) for line in [*project["dependencies"], *tools]]
    assert all(bounds), "every dependency has one lower bound and nothing else"
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound and not SHARED.fullmatch(bound[1])]


def share(folder: Path) -> None:
    """Links torch, torchvision and the libraries that only they need from this environment into `folder`."""
    folder.mkdir(parents=True)
    for distribution in metadata.distributions():
        if SHARED.fullmatch(re.sub(r"[-_.]+", "-", distribution.metadata["Name"].lower())):
            for name in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
                if not (folder / name).exists():  # many libraries share the folder nvidia
                    (folder / name).symlink_to(Path(str(distribution.locate_file(name))))


if __name__ == "__main__":
    if sys.argv[1] == "pins":
        print("\n".join(pins()))
    else:
        share(Path(sys.argv[2]))
