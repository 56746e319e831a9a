"""`load_study`, and the example notebook as a reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from orchestrator_parts import ROOT

import orchestrator
from orchestrator import load_study
from trainer.api import ConfigError


@pytest.mark.core
def test_a_study_is_frames_and_figures(finished: Path) -> None:
    study = load_study(finished)
    assert repr(study) == f"<study tiny: 6 trials, {len(study.evaluations)} evaluations>"
    assert list(study.trials["trial_id"]) == [1, 2, 3, 4, 5, 6]
    assert set(study.evaluations["slot"]) == {"slot 1"}
    assert study.evaluations["run"].notna().sum() == 4
    assert list(study.decisions["sequence"]) == sorted(study.decisions["sequence"])
    for name in study.figures:
        assert study.figure(name).layout.template.layout.font.size == 13, "the report's style"


def test_a_wrong_name_says_the_right_ones(finished: Path) -> None:
    with pytest.raises(KeyError, match="no figure 'histroy'; there are history, "):
        load_study(finished).figure("histroy")
    with pytest.raises(ConfigError, match="is not a study"):
        load_study(finished.parent)
    with pytest.raises(AttributeError, match="has no attribute 'load_studies'"):
        _ = orchestrator.load_studies  # type: ignore[attr-defined]


def test_the_package_stays_cheap_to_import() -> None:
    code = "import sys, orchestrator; sys.exit(bool({'pandas', 'plotly', 'optuna', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_the_example_notebook_runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "quickstart").symlink_to(finished)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{':'.join(sys.path)}")
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs, so that changes can be read"
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})]
    assert shown.count("application/vnd.plotly.v1+json") == 3
    assert shown.count("text/html") >= 3
