"""The use of slot time: training, evaluation, waiting for checkpoints, loading trials, lost work; the rest is idle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from reports.formatting import finite
from reports.record import Evaluation, StudyRecord

# In the order in which they happen; `lost` is work without an evaluation, which was retried or failed.
KINDS = ("opening", "training", "evaluation", "checkpoint", "lost")
_SHORTEST_SECONDS = 1e-3
_work_of = attrgetter("slot", "trial_id", "rung", "run")


class Interval(NamedTuple):
    """A period in which a slot did one kind of work for one trial, from `begin` to `end` in seconds of the study.

    `epoch` is the epoch that the work led to. Plots also draw the kinds `idle` and `block`, all work for one trial.
    A named tuple because there may be hundreds of thousands of them.
    """

    slot: str
    kind: str
    trial_id: int
    rung: int
    run: str
    begin: float
    end: float
    epoch: int = 0
    reason: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def slot_intervals(record: StudyRecord) -> list[Interval]:
    """The intervals of all slots, by slot and time; empty if the record holds no times. They do not overlap in a slot.

    An evaluation that a restarted study reported again from a checkpoint is placed at the time of that report.
    """
    ends: list[tuple[str, float, Evaluation | Interval]] = []
    for point in record.evaluations:
        when = finite(point.ended_at)
        if point.slot and when is not None:
            ends.append((point.slot, when, point))
    for wasted in record.wasted:
        begin, end = finite(wasted.begin), finite(wasted.end)
        if begin is not None and end is not None:
            lost = Interval(wasted.slot, "lost", wasted.trial_id, 0, wasted.run, begin, end, reason=wasted.kind)
            ends.append((wasted.slot, end, lost))
    free_from: dict[str, float] = {}
    intervals: list[Interval] = []
    for slot, end, work in sorted(ends, key=lambda item: (_slot_key(item[0]), item[1])):
        earliest = free_from.get(slot, 0.0)
        if isinstance(work, Interval):
            parts = [work._replace(begin=max(work.begin, earliest))]
        else:
            parts = list(_parts(work, earliest, end))[::-1]
        intervals += [part for part in parts if part.seconds > _SHORTEST_SECONDS]
        free_from[slot] = max(earliest, end)
    return intervals


def _parts(point: Evaluation, earliest: float, end: float) -> Iterator[Interval]:
    """The intervals that led to an evaluation, the last first; none begins before `earliest`."""
    whole = max(0.0, finite(point.seconds) or 0.0)
    evaluating = min(whole, max(0.0, finite(point.evaluation_seconds) or 0.0))
    parts = (
        ("checkpoint", max(0.0, finite(point.checkpoint_seconds) or 0.0)),
        ("evaluation", evaluating),
        ("training", whole - evaluating),
        ("opening", max(0.0, finite(point.opening_seconds) or 0.0)),
    )
    for kind, seconds in parts:
        begin = max(earliest, end - seconds)
        yield Interval(point.slot, kind, point.trial_id, point.rung, point.run, begin, end, point.epoch)
        end = begin


def work_blocks(intervals: Sequence[Interval]) -> list[Interval]:
    """Consecutive intervals of one trial on one rung in a slot, joined into one of the kind `block` each."""
    blocks: list[Interval] = []
    for part in intervals:
        last = blocks[-1] if blocks else None
        if last and _work_of(last) == _work_of(part) and part.begin - last.end <= 1.0 + 0.05 * part.seconds:
            blocks[-1] = last._replace(end=part.end)
        elif part.kind != "lost":
            blocks.append(part._replace(kind="block"))
    return blocks


def time_span(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The begin of the first and the end of the last of at least one interval."""
    return min(part.begin for part in intervals), max(part.end for part in intervals)


def time_shares(intervals: Sequence[Interval]) -> dict[str, dict[str, float]]:
    """Slot → kind → its share of the time from the first interval of any slot to the last; `idle` is the rest."""
    begin, end = time_span(intervals)
    seconds: dict[str, dict[str, float]] = {}
    for part in intervals:
        seconds.setdefault(part.slot, dict.fromkeys(KINDS, 0.0))[part.kind] += part.seconds
    whole = end - begin or 1.0
    return {
        slot: {
            **{kind: spent / whole for kind, spent in by_kind.items()},
            "idle": max(0.0, 1 - sum(by_kind.values()) / whole),
        }
        for slot, by_kind in seconds.items()
    }


def _slot_key(slot: str) -> tuple[str, int, str]:
    """A key that sorts `slot 10` after `slot 9`."""
    name = slot.rstrip("0123456789")
    return (name, int(slot[len(name) :][:9] or 0), slot)
