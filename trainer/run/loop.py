"""The training loop. It knows no task, never exits the process, and has one way out for a metric.

until the epoch asked for, all epochs, or max_iter:
    for each group of accumulate_grad_batches batches:
        forward and backward of each          autocast; the loss divided by the group's weight; out of memory: in parts
        optimizer_step                        unscale, clip, step, clear
        heartbeat, should_stop?               yes: checkpoint in mid-epoch, outcome `interrupted`
    the epoch's losses read                   NonFiniteLoss names the first bad step
    evaluation, where one is due              → schedule, early stopping, best
    checkpoint                                last.pth, best.pth, checkpoint_epoch_N.pth, from a copy, beside the loop
    report(evaluation)                        once the files are whole
    should_stop or should_rest?               yes: outcome `interrupted`
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import torch

from trainer.data.loaders import size_at
from trainer.errors import NonFiniteLoss, OutOfMemory, WriteError
from trainer.learning.precision import optimizer_step
from trainer.outcome import Ending, Evaluation, Heartbeat, Hooks, Outcome
from trainer.run.memory import fitting, recall
from trainer.run.run import Run
from trainer.run.writer import RunWriter
from trainer.task.batches import Batch, to_device
from trainer.task.checks import given_loss, given_scores, refuse, weight_of
from trainer.task.protocols import Scores


def train_until(run: Run, until_epoch: int, hooks: Hooks, writer: RunWriter) -> Outcome:
    """Trains to the end of `until_epoch` (1-based), or as far as the run goes. Returns at once where that is done,
    else once the last checkpoint's file is whole."""
    try:
        ending = _train_epochs(run, until_epoch, hooks, writer)
        _report(run, hooks, writer)
    except BaseException as error:
        with suppress(WriteError):  # of two errors, the one that ended the run is raised
            _report(run, hooks, writer)
        if not isinstance(error, torch.OutOfMemoryError):
            raise
        raise OutOfMemory(
            f"out of memory with batches of {run.config.training.batch_size} ({str(error).splitlines()[0]}); "
            "try a smaller training.batch_size with a larger training.accumulate_grad_batches"
        ) from error
    return Outcome(
        ending=ending,
        epoch=run.progress.epoch,
        step=run.progress.step,
        seconds=run.progress.seconds,
        evaluations=tuple(run.history),
        checkpoint=writer.last_checkpoint,
        device=str(run.device),
        precision=str(run.precision),
        reason=run.progress.stop_reason,
        warnings=tuple(run.warnings),
    )


def _train_epochs(run: Run, until_epoch: int, hooks: Hooks, writer: RunWriter) -> Ending:
    while not (ending := _ending(run, until_epoch)):
        if not _train_epoch(run, hooks, writer):
            return "interrupted"
        _close_epoch(run, until_epoch, hooks, writer)
        if (hooks.should_stop() or hooks.should_rest()) and not _ending(run, until_epoch):
            return "interrupted"
    return ending


def _save(run: Run, hooks: Hooks, writer: RunWriter, best: bool = False) -> None:
    """Starts to write the next checkpoint, once the previous one is whole and its evaluation reported."""
    _report(run, hooks, writer)
    started = time.monotonic()
    writer.save(run, best=best)
    run.waited += time.monotonic() - started


def _report(run: Run, hooks: Hooks, writer: RunWriter) -> None:
    """Waits until the checkpoint is written, then reports its evaluation, so that no reported one is ever lost."""
    evaluations, run.unreported = run.unreported, []
    started = time.monotonic()
    writer.wait()
    run.waited += time.monotonic() - started
    for evaluation in evaluations:
        hooks.report(replace(evaluation, checkpoint_seconds=round(run.waited, 4)))
        run.waited = 0.0


def _ending(run: Run, until_epoch: int) -> Ending | None:
    training = run.config.training
    if run.progress.stop_reason:
        return "early"
    if run.progress.epoch >= training.epochs or _iterations_spent(run):
        return "finished"
    return "reached" if run.progress.epoch >= until_epoch else None


def _iterations_spent(run: Run) -> bool:
    limit = run.config.training.max_iter
    return limit is not None and run.progress.step >= limit


def _train_epoch(run: Run, hooks: Hooks, writer: RunWriter) -> bool:
    """Trains what is left of the epoch; False where it was interrupted and its checkpoint written."""
    progress, training = run.progress, run.config.training
    done, steps = _enter_epoch(run, hooks, writer), run.steps_per_epoch
    # Read once: with a small model every look-up between two steps is measurable.
    span, last_step = run.config.schedule_epochs, training.max_iter
    read_every, save_every = run.config.logging.every_n_steps, run.config.checkpoint.every_n_steps
    recent: list[torch.Tensor] = []  # summed losses of the last steps, still on the device
    moves, started = run.schedule.moves, time.monotonic()
    run.schedule.before_step((progress.epoch + done / steps) / span)
    for group in _grouped(iter(run.loaders.train), training.accumulate_grad_batches):
        if moves:
            run.schedule.before_step((progress.epoch + done / steps) / span)
        recent.append(_train_group(run, group, training.grad_clip, hooks))
        done += 1
        progress.step += 1
        progress.batches += len(group)
        if run.average is not None:
            run.average.update(progress.step)
        if progress.step % read_every == 0:
            _read_losses(run, recent)
            hooks.stepped(progress.step, writer.stepped(run))
        hooks.heartbeat(Heartbeat(progress.epoch + 1, done, steps))
        if run.unreported and not writer.busy:
            _report(run, hooks, writer)
        if done == steps or progress.step == last_step:
            break
        stop = hooks.should_stop()
        if stop or (save_every is not None and progress.step % save_every == 0):
            _read_losses(run, recent)
            progress.seconds += time.monotonic() - started
            _save(run, hooks, writer)
            started = time.monotonic()
        if stop:
            return False
    _read_losses(run, recent)
    progress.seconds += time.monotonic() - started
    return True


def _enter_epoch(run: Run, hooks: Hooks, writer: RunWriter) -> int:
    """Prepares the running epoch, from its beginning or where it was interrupted; returns the steps already done."""
    progress = run.progress
    run.model.train()
    run.loaders.resize(size_at(run.config, progress.epoch + 1))
    recall(run, hooks)
    run.loaders.batches.epoch, run.loaders.batches.start = progress.epoch + 1, progress.batches
    done = progress.batches // run.config.training.accumulate_grad_batches
    if run.history and run.history[-1].epoch > progress.epoch:  # where max_iter had cut this epoch short
        progress.seconds_at_evaluation -= run.history.pop().seconds
        writer.rewrite(run.history)
    return done


def _grouped(batches: Iterator[Batch], size: int) -> Iterator[tuple[Batch, ...]]:
    """Batches in groups of `size`; the last may be shorter, and is weighted by its own samples."""
    if size == 1:
        return zip(batches, strict=False)  # tuples of one, without a step of Python between
    return iter(lambda: tuple(itertools.islice(batches, size)), ())


def _train_group(run: Run, group: tuple[Batch, ...], grad_clip: float, hooks: Hooks) -> torch.Tensor:
    """One optimizer step; returns the summed loss, still on the device.

    Only the gradients can be computed with less memory: that of the optimizer's own step depends on the model alone.
    """
    weight = weight_of(run.config.task, group)
    run.progress.weight += weight
    share = run.share_of(weight)  # the gradient of the sum: cheaper than dividing the loss
    loss = fitting(run, "training", hooks, lambda: _gradients(run, group, share))
    optimizer_step(run.optimizer, run.scaler, run.parameters, grad_clip)
    return loss


def _gradients(run: Run, group: tuple[Batch, ...], share: torch.Tensor) -> torch.Tensor:
    """Forward and backward of a group, in micro-batches where memory is short; returns the summed loss."""
    losses = []
    for place, batch in enumerate(_in_parts(run, group, run.progress.micro_batch)):
        on_device = to_device(batch, run.device) if run.moves_batches else batch
        with run.autocast, run.batch_statistics(batch, place):
            loss = run.task.loss(run.model, on_device)
        if not run.progress.batches:  # once an epoch: what a task returns is of one kind
            given_loss(run.config.task, loss)
        scaled: torch.Tensor = run.scaler.scale(loss) if run.scaled else loss
        scaled.backward(share)  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _in_parts(run: Run, batches: Iterable[Batch], largest: int) -> Iterable[Batch]:
    """Batches as they are, or in parts of at most `largest` samples."""
    return (part for batch in batches for part in run.task.split(batch, largest)) if largest else batches


def _read_losses(run: Run, recent: list[torch.Tensor]) -> None:
    """Reads the losses since the last time: the only place in an epoch that waits for the device."""
    if not recent:
        return
    values = torch.stack(recent).tolist()
    recent.clear()
    run.progress.losses += values
    for index, value in enumerate(values, start=1):
        if not math.isfinite(value):
            step = run.progress.step - len(values) + index
            raise NonFiniteLoss("the training loss", value, run.progress.epoch + 1, step)


def _close_epoch(run: Run, until_epoch: int, hooks: Hooks, writer: RunWriter) -> None:
    """Evaluates where due, writes the checkpoint, reports.

    An epoch that `max_iter` cut short stays open in the checkpoint: with a larger one it is trained to its end.
    """
    progress, training = run.progress, run.config.training
    train_loss = run.mean_loss()
    epoch = progress.epoch + 1
    whole = progress.batches == len(run.loaders.batches)
    if whole:
        progress.epoch = epoch
        progress.batches, progress.weight, progress.losses = 0, 0.0, []
    on_interval = whole and epoch % training.eval_interval == 0
    last = epoch == training.epochs or _iterations_spent(run)
    if not (on_interval or last or epoch >= until_epoch):
        _save(run, hooks, writer)
        return
    started = time.monotonic()
    scores = evaluate(run, hooks)
    took = time.monotonic() - started
    progress.seconds += took
    evaluation = _record(run, epoch, train_loss, scores, took)
    unbeaten = math.isnan(progress.best) or run.metric.better(evaluation.value, progress.best)
    improved = (on_interval or last) and unbeaten
    if on_interval:
        _judge(run, evaluation, train_loss, improved)
    writer.evaluated(evaluation, scores, improved)
    _save(run, hooks, writer, best=improved)
    run.unreported.append(evaluation)


def evaluate(run: Run, hooks: Hooks = Hooks()) -> Scores:
    """Scores on the validation rows; draws nothing from the run's random generators."""
    return fitting(run, "evaluation", hooks, lambda: _scores(run))


def _scores(run: Run) -> Scores:
    model = run.for_evaluation()
    batches = _in_parts(run, run.loaders.val, run.progress.val_micro_batch)
    with torch.inference_mode(), run.precision.autocast():
        scores = run.task.evaluate(model, (to_device(batch, run.device) for batch in batches))
    return given_scores(run.config.task, scores)


def _record(run: Run, epoch: int, train_loss: float, scores: Scores, took: float) -> Evaluation:
    progress = run.progress
    metrics = {"train_loss": train_loss, **scores.metrics, "lr": run.rate()}
    if run.device.type == "cuda":
        metrics["peak_memory_mb"] = torch.cuda.max_memory_allocated(run.device) / 1e6
    primary = "val_loss" if run.metric.name == "loss" else run.metric.name
    for name in ("val_loss", primary):
        if name not in metrics:
            refuse(run.config.task, "evaluate", f"no {name}, only {', '.join(scores.metrics)}")
        if not math.isfinite(metrics[name]):
            advice = () if name == "val_loss" else (f"val_loss is {metrics['val_loss']:g}: see how evaluate finds it",)
            raise NonFiniteLoss(f"the validation {name}", metrics[name], epoch, progress.step, *advice)
    seconds = progress.seconds - progress.seconds_at_evaluation
    progress.seconds_at_evaluation = progress.seconds
    value, seconds, took = metrics[primary], round(seconds, 4), round(took, 4)
    evaluation = Evaluation(epoch, progress.step, progress.rung, seconds, value, metrics, took)
    run.history.append(evaluation)
    return evaluation


def _judge(run: Run, evaluation: Evaluation, train_loss: float, improved: bool) -> None:
    """Passes an evaluation to schedule and early stopping, and notes whether it is the best.

    Only evaluations on the interval count here: one that an end forced must leave no trace, so that stopping
    and resuming equals training straight through.
    """
    val_loss = evaluation.metrics["val_loss"]
    run.schedule.after_evaluation(val_loss)
    if not run.config.training.overfit:
        run.progress.stop_reason = run.stopping.update(train_loss, val_loss)
    if improved:
        run.progress.best, run.progress.best_epoch = evaluation.value, evaluation.epoch
