"""torch.compile: the same losses, the same names in the checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from trainer_parts import tiny, trained

from trainer.checkpoints.files import load_checkpoint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # PyTorch's compiler looks at what it warns of
@pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_compiled_run_is_the_same_run(tmp_path: Path) -> None:
    small = {"training__epochs": 1, "model__dropout": 0.0, "model__backbone": "resnet10_thin"}
    plain = trained(tiny(tmp_path / "plain", **small))
    compiled = trained(tiny(tmp_path / "compiled", training__compile=True, **small))
    expected = plain.evaluations[0].metrics["train_loss"]
    assert compiled.evaluations[0].metrics["train_loss"] == pytest.approx(expected, rel=1e-3)
    names = [list(load_checkpoint(tmp_path / run / "last.pth")["model"]) for run in ("plain", "compiled")]
    assert names[0] == names[1]
