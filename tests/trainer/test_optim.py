"""Optimizers get what was said, and schedules agree with PyTorch's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from trainer_parts import same, session_of, stop_after, tiny, trained, training_state

from trainer.api import CheckpointError, Hooks
from trainer.checkpoints.files import LAST, load_checkpoint, save_checkpoint
from trainer.config.settings import OptimizerSettings, SchedulerSettings
from trainer.learning.optim import Schedule, build_optimizer, warmup_part
from trainer.task.protocols import Parts

EPOCHS, STEPS = 20, 50


def parts() -> Parts:
    return Parts([nn.Parameter(torch.ones(2))], [nn.Parameter(torch.ones(3))])


def schedule(warmup: float = 0.0, lr: float = 0.1, **settings: Any) -> Schedule:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr)
    return Schedule(SchedulerSettings(**settings), optimizer, EPOCHS, warmup)


def rate(course: Schedule) -> float:
    return float(course.optimizer.param_groups[0]["lr"])


def theirs(cls: Any, n: int, lr: float = 0.1, **arguments: Any) -> list[float]:
    """The first `n` rates of one of PyTorch's schedulers."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr)
    scheduler = cls(optimizer, **arguments)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(n - 1):
        optimizer.step()
        scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


def ours(course: Schedule, progresses: list[float]) -> list[float]:
    rates = []
    for progress in progresses:
        course.before_step(progress)
        rates.append(rate(course))
    return rates


@pytest.mark.parametrize("step_size", [1, 3, 7, 20])
def test_step_is_pytorchs_step_lr(step_size: int) -> None:
    course = schedule(type="step", step_size=step_size, gamma=0.3)
    found = ours(course, [epoch / EPOCHS for epoch in range(EPOCHS)])
    assert found == pytest.approx(theirs(lr_scheduler.StepLR, EPOCHS, step_size=step_size, gamma=0.3), rel=1e-9)


def test_step_keeps_its_rate_within_an_epoch() -> None:
    course = schedule(type="step", step_size=1, gamma=0.5)
    found = ours(course, [(epoch + part / STEPS) / EPOCHS for epoch in range(3) for part in range(STEPS)])
    assert found == [0.1] * STEPS + [0.05] * STEPS + [0.025] * STEPS


def test_cosine_is_pytorchs_cosine_annealing() -> None:
    found = ours(schedule(type="cosine"), [epoch / EPOCHS for epoch in range(EPOCHS + 1)])
    expected = theirs(lr_scheduler.CosineAnnealingLR, EPOCHS + 1, T_max=EPOCHS)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


CYCLES: list[dict[str, Any]] = [
    {},
    {"anneal_strategy": "linear"},
    {"pct_start": 0.05, "div_factor": 1.0, "final_div_factor": 1.0},
    {"pct_start": 0.61, "div_factor": 10.0, "final_div_factor": 7.0, "anneal_strategy": "linear"},
    {"three_phase": True},
    {"three_phase": True, "pct_start": 0.45, "anneal_strategy": "linear"},
    {"base_momentum": 0.6, "max_momentum": 0.99},
    {"cycle_momentum": False},
]


def inertia(optimizer: torch.optim.Optimizer) -> float:
    """The momentum, or what Adam has in its place."""
    group = optimizer.param_groups[0]
    return float(group["betas"][0] if "betas" in group else group["momentum"])


@pytest.mark.parametrize("total", [1, 2, 3, 10, 97, 1000])
@pytest.mark.parametrize("cycle", CYCLES, ids=str)
def test_one_cycle_is_pytorchs_at_every_step(cycle: dict[str, Any], total: int) -> None:
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "adamw": (torch.optim.AdamW, {"betas": (0.8, 0.99)}), "sgd": (torch.optim.SGD, {"momentum": 0.5}),
    }  # fmt: skip
    for kind, (cls, given) in kinds.items():
        ours, reference = (cls([nn.Parameter(torch.ones(1))], lr=0.1, **given) for _ in range(2))
        other = lr_scheduler.OneCycleLR(reference, max_lr=0.1, total_steps=total, **cycle)
        course = Schedule(SchedulerSettings(type="one_cycle", **cycle), ours, 1, 0.0, total)
        for step in range(total):
            course.before_step(step / total)
            assert rate(course) == pytest.approx(reference.param_groups[0]["lr"], rel=1e-9), (kind, step)
            assert inertia(ours) == pytest.approx(inertia(reference), rel=1e-9), (kind, step)
            reference.step()
            if step < total - 1:
                other.step()


@pytest.mark.parametrize("spans", [(1, 12), (3, 4), (12, 1)])
def test_one_cycle_is_the_same_over_any_number_of_epochs(spans: tuple[int, int]) -> None:
    epochs, steps = spans
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    course = Schedule(SchedulerSettings(type="one_cycle"), optimizer, epochs, 0.0, steps)
    found = ours(course, [(epoch + done / steps) / epochs for epoch in range(epochs) for done in range(steps)])
    expected = theirs(lr_scheduler.OneCycleLR, 12, max_lr=0.1, total_steps=12, cycle_momentum=False)
    assert found == pytest.approx(expected)


def test_a_run_begun_without_cycling_momentum_goes_on_without() -> None:
    course = schedule(type="one_cycle")
    assert course.cycles
    course.load_state_dict({"rates": [0.1], "best": math.inf, "stale": 0})
    course.before_step(0.3)
    assert inertia(course.optimizer) == 0.0
    assert not course.state_dict()["cycles"], "and so does what continues from its next checkpoint"


def test_an_earlier_versions_checkpoint_continues_as_it_was_begun(tmp_path: Path) -> None:
    cycle = {"training__scheduler__type": "one_cycle", "training__scheduler__warmup_steps": 0, "training__epochs": 2}
    trained(tiny(tmp_path, **cycle), until=1)
    state = load_checkpoint(tmp_path / LAST)
    for key in ("cycle_momentum", "base_momentum", "max_momentum", "three_phase"):
        del state["config"]["training"]["scheduler"][key]
    del state["config"]["training"]["optimizer"]["decay_norm_and_bias"], state["schedule"]["cycles"]
    for group in state["optimizer"]["param_groups"]:
        group["betas"] = (0.9, 0.999)
    save_checkpoint(state, tmp_path / "earlier.pth")
    resumed = {"checkpoint__resume": str(tmp_path / "earlier.pth"), "checkpoint__dir": str(tmp_path / "on")}
    with session_of(tiny(tmp_path, **cycle, **resumed)) as session:
        session.train(2, Hooks())
        assert session.run.optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    with pytest.raises(CheckpointError, match=r"training\.scheduler\.cycle_momentum: false in the check.*, true now"):
        trained(tiny(tmp_path, **cycle, **resumed, training__scheduler__cycle_momentum=True))


def test_a_cycle_that_is_interrupted_ends_as_a_straight_one(tmp_path: Path) -> None:
    cycle = {"training__scheduler__type": "one_cycle", "training__scheduler__warmup_steps": 0, "training__epochs": 2}
    for kind in ("adam", "sgd"):
        config = tiny(tmp_path / kind / "straight", **cycle, training__optimizer__type=kind)
        trained(config)
        halves = tiny(tmp_path / kind / "halves", **cycle, training__optimizer__type=kind)
        assert trained(halves, hooks=Hooks(should_stop=stop_after(5))).ending == "interrupted"
        trained(halves, resume=True)
        assert same(*(training_state(tmp_path / kind / name) for name in ("straight", "halves")))


LOSSES = [3.0, 2.0, 2.0, 2.0, 2.0, 1.9, 1.95, 1.95, 1.95, 1.95, 1.95, 1.95, 1.8, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9]


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
@pytest.mark.parametrize("min_lr", [0.0, 0.02, 0.5])
def test_plateau_is_pytorchs_reduce_on_plateau(patience: int, min_lr: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    other = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0.0, threshold_mode="abs", min_lr=min_lr
    )
    course = schedule(type="reduce_on_plateau", factor=0.5, patience=patience, min_lr=min_lr)
    for epoch, loss in enumerate(LOSSES):
        course.after_evaluation(loss)
        other.step(loss)
        course.before_step(epoch / EPOCHS)
        assert rate(course) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "step", "constant", "reduce_on_plateau"])
def test_warm_up_rises_from_zero_in_a_straight_line(kind: str) -> None:
    course = schedule(warmup=0.2, type=kind)
    assert ours(course, [0.0, 0.05, 0.1, 0.2]) == pytest.approx([0.0, 0.025, 0.05, 0.1])


def test_cosine_after_warm_up_ends_at_zero() -> None:
    course = schedule(warmup=0.2, type="cosine")
    assert ours(course, [0.6, 1.0, 1.5]) == pytest.approx([0.05, 0.0, 0.0], abs=1e-12)


def test_warm_up_then_cosine_is_pytorchs_sequence_of_both() -> None:
    total, warm = EPOCHS * STEPS, 100
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    rising = lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=warm)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warm)
    both = lr_scheduler.SequentialLR(optimizer, [rising, falling], milestones=[warm])
    expected = []
    for _ in range(total):
        expected.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        both.step()
    course = schedule(warmup=warmup_part(SchedulerSettings(warmup_steps=warm), STEPS, EPOCHS), type="cosine")
    assert ours(course, [step / total for step in range(total)]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


EPOCH_STEPS, RUN_EPOCHS = 8, 4  # of the tiny run
TOTAL = EPOCH_STEPS * RUN_EPOCHS


@pytest.mark.parametrize(
    ("settings", "cls", "arguments", "every"),
    [
        ({"type": "constant"}, lr_scheduler.ConstantLR, {"factor": 1.0}, 1),
        ({"type": "step", "step_size": 2}, lr_scheduler.StepLR, {"step_size": 2}, EPOCH_STEPS),
        ({"type": "cosine"}, lr_scheduler.CosineAnnealingLR, {"T_max": TOTAL}, 1),
        (
            {"type": "one_cycle", "anneal_strategy": "linear"},
            lr_scheduler.OneCycleLR,
            {"max_lr": 5e-3, "total_steps": TOTAL, "anneal_strategy": "linear", "cycle_momentum": False},
            1,
        ),
    ],
)
def test_a_run_follows_the_curve(
    settings: dict[str, Any], cls: Any, arguments: dict[str, Any], every: int, tmp_path: Path
) -> None:
    """The rates of the optimizer steps of a whole run are those of PyTorch's scheduler, stepped so often."""
    dotted = {f"training__scheduler__{name}": value for name, value in settings.items()}
    seen: list[float] = []
    with session_of(tiny(tmp_path, **{"training__scheduler__warmup_steps": 0, **dotted})) as session:
        groups = session.run.optimizer.param_groups
        session.train(RUN_EPOCHS, Hooks(heartbeat=lambda _beat: seen.append(groups[0]["lr"])))
    expected = theirs(cls, TOTAL // every, lr=5e-3, **arguments)
    assert seen == pytest.approx([rate for rate in expected for _ in range(every)], rel=1e-6, abs=1e-12)


def test_a_run_on_a_plateau_follows_the_rule(tmp_path: Path) -> None:
    kind = {"training__scheduler__type": "reduce_on_plateau", "training__scheduler__patience": 0}
    config = tiny(
        tmp_path, **kind, training__scheduler__warmup_steps=0, training__optimizer__lr=0.3, training__epochs=6
    )
    outcome = trained(config)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    other = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=0.0, threshold_mode="abs", min_lr=1e-7
    )
    for evaluation in outcome.evaluations:
        assert evaluation.metrics["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        other.step(evaluation.metrics["val_loss"])
    assert outcome.evaluations[-1].metrics["lr"] < 0.3, "the losses rose at least once"


def test_warm_up_in_steps_is_a_share_of_the_span() -> None:
    assert warmup_part(SchedulerSettings(warmup_steps=100), STEPS, EPOCHS) == pytest.approx(0.1)
    assert warmup_part(SchedulerSettings(warmup_steps=10**9), STEPS, EPOCHS) < 1.0
    assert warmup_part(SchedulerSettings(warmup_steps=100, warmup_fraction=0.3), STEPS, EPOCHS) == 0.3


def test_a_new_rung_forgets_losses_but_keeps_the_rate() -> None:
    course = schedule(type="reduce_on_plateau", patience=0)
    course.after_evaluation(1.0)
    course.after_evaluation(2.0)
    course.new_rung()
    assert (course.best, course.stale) == (math.inf, 0)
    course.after_evaluation(5.0)
    course.before_step(0.5)
    assert rate(course) == pytest.approx(0.05)
    other = schedule(type="reduce_on_plateau", patience=0)
    other.load_state_dict(course.state_dict())
    other.before_step(0.5)
    assert rate(other) == rate(course)


@pytest.mark.parametrize(
    ("settings", "cls", "expected"),
    [
        ({"type": "adam", "betas": [0.8, 0.9], "eps": 1e-6}, torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-6}),
        ({"type": "adamw"}, torch.optim.AdamW, {"weight_decay": 0.01, "betas": (0.9, 0.999)}),
        (
            {"type": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
            torch.optim.SGD,
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        ),
        (
            {"type": "rmsprop", "alpha": 0.5, "centered": True},
            torch.optim.RMSprop,
            {"alpha": 0.5, "centered": True, "momentum": 0},
        ),
    ],
)
def test_what_is_not_said_is_pytorchs_default(settings: dict[str, Any], cls: type, expected: dict[str, Any]) -> None:
    optimizer = build_optimizer(OptimizerSettings(**settings), parts())
    assert type(optimizer) is cls
    assert {name: optimizer.defaults[name] for name in expected} == expected


def test_biases_and_norms_may_be_spared_weight_decay() -> None:
    def groups(**settings: Any) -> list[tuple[float, float, int]]:
        weights = Parts([nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))], [nn.Parameter(torch.ones(4))])
        optimizer = build_optimizer(OptimizerSettings(type="adamw", lr=1e-2, **settings), weights)
        return [(g["lr"], g["weight_decay"], sum(p.numel() for p in g["params"])) for g in optimizer.param_groups]

    assert groups() == [(1e-2, 0.01, 9), (1e-2, 0.01, 4)]
    spared = groups(decay_norm_and_bias=False, weight_decay=0.1, encoder_lr=1e-3)
    assert spared == [(1e-2, 0.1, 6), (1e-2, 0.0, 3), (1e-3, 0.0, 4)]


def test_a_run_that_spares_biases_continues(tmp_path: Path) -> None:
    config = tiny(tmp_path, training__optimizer__decay_norm_and_bias=False, training__epochs=2)
    trained(config, until=1)
    assert trained(config, resume=True).ending == "finished"


def test_the_pretrained_part_has_a_rate_of_its_own() -> None:
    optimizer = build_optimizer(OptimizerSettings(lr=1e-2, encoder_lr=1e-3), parts())
    assert [(group["lr"], group["params"][0].numel()) for group in optimizer.param_groups] == [(1e-2, 2), (1e-3, 3)]
    course = Schedule(SchedulerSettings(type="cosine"), optimizer, EPOCHS, 0.0)
    course.before_step(0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([5e-3, 5e-4])
    assert len(build_optimizer(OptimizerSettings(), Parts(parts().main)).param_groups) == 1
