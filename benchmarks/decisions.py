"""What a decision costs: policy, sampler and record keeping, as the study grows.

    python benchmarks/decisions.py [--trials 1000] [--sampler random]

One slot, made-up learning curves, a real SQLite study in a temporary folder, the ledger that `run` uses and the
files that it keeps. Prints milliseconds of processor time per decision (an evaluation judged and recorded, a trial
opened or taken up) for every tenth of the study, median and mean.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

import numpy as np

from orchestrator.engine.ledger import Ledger
from orchestrator.engine.search_stage import SearchStage
from orchestrator.output.study_files import StudyFiles, prepare_folder, write_plan
from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.policies.policy import Climb
from orchestrator.policies.supply import Ask
from orchestrator.storage.opening import open_search
from orchestrator.storage.store import open_store
from orchestrator.study.trial import TrialState
from trainer.api import Evaluation, Outcome

_SPACE = {
    "training.optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "training.optimizer.weight_decay": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
    "training.batch_size": {"type": "int", "low": 4, "high": 64, "log": True},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
    "model.embed_size": {"type": "int", "low": 32, "high": 256, "step": 32},
    "model.decoder_dim": {"type": "int", "low": 32, "high": 256, "step": 32},
    "training.grad_clip": {"type": "float", "low": 0.1, "high": 10.0, "log": True},
}


def curve(trial: TrialState, epoch: int) -> float:
    """A made-up BLEU that rises with epochs, best near a rate of 1e-3."""
    rate = math.log10(trial.overrides["training.optimizer.lr"])
    generator = np.random.default_rng([trial.number, epoch])
    return float(40.0 * (1 - math.exp(-epoch / 4)) * math.exp(-((rate + 3) ** 2)) + generator.normal(0, 0.5))


def decisions(trials: int, sampler: str, folder: Path) -> list[float]:
    """Milliseconds of each decision of a whole study."""
    file = folder / "space.json"
    file.write_text(json.dumps({"search_space": _SPACE}), encoding="utf-8")
    plan, _ = make_plan(Request(file, output_dir=folder, n_trials=trials, sampler=sampler, ladder="1x50,3x100,9x200"))
    prepare_folder(plan)
    study = open_search(open_store(plan.storage_url), plan)
    stage = SearchStage(plan, study.load())
    write_plan(plan)
    ledger = Ledger(stage, study, StudyFiles(plan, stage.state))
    took: list[float] = []
    while True:
        began = time.process_time()
        step = stage.policy.next(stage.state, ())
        if step is None:
            return took
        if isinstance(step, Ask):
            ledger.opens(step.index)
        elif isinstance(step, Climb):
            ledger.climbs(step)
        else:
            trial = stage.state.trials[step.number]
            stage.config(trial)
            for epoch in range(trial.epochs + 1, step.until_epoch + 1):
                metrics = {"val_loss": 1.0, "bleu": curve(trial, epoch)}
                ledger.evaluated(trial, Evaluation(epoch, epoch, trial.rung, 1.0, metrics["bleu"], metrics), "", 0.0)
            ledger.ends(trial, Outcome("reached", epoch, epoch, 1.0, (), "", "cpu", "fp32", "", ()))
        took.append((time.process_time() - began) * 1000.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="random")
    said = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        took = decisions(said.trials, said.sampler, Path(name))
    part = max(1, len(took) // 10)
    print(f"{said.trials} trials, {len(took)} decisions, sampler {said.sampler}: ms of processor time per decision")
    for begin in range(0, part * 10, part):
        here = took[begin : begin + part]
        print(
            f"decisions {begin + 1:5d} to {begin + len(here):5d}: median {median(here):6.2f}, mean {fmean(here):6.2f}"
        )


if __name__ == "__main__":
    main()
