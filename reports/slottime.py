"""What the slots' time went into: training, evaluating, waiting for checkpoints, opening trials, retries; else idle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from reports.record import Evaluation, StudyRecord
from reports.words import finite

# In the order in which they follow each other; `lost` came to no evaluation and was tried again, or failed.
KINDS = ("opening", "training", "evaluation", "checkpoint", "lost")
_SHORTEST_SECONDS = 1e-3


class Stretch(NamedTuple):
    """Time of a slot that went into one thing: `begin` to `end` in seconds of the study, `epoch` the one it led to.

    There may be hundreds of thousands, so a cheap kind.
    """

    slot: str
    kind: str
    trial_id: int
    rung: int
    run: str
    begin: float
    end: float
    epoch: int = 0
    why: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True)
class Work:
    """Stretches of one trial on one rung that follow each other on a slot: `begin` to `end` in seconds of the study."""

    slot: str
    trial_id: int
    rung: int
    run: str
    begin: float
    end: float
    epochs: int


def stretches(record: StudyRecord) -> list[Stretch]:
    """Who did what where and when, in the order of the slots and of time; empty where the record does not know.

    What a killed study told again from a checkpoint stands where it was told. No two overlap on a slot.
    """
    ends: list[tuple[str, float, Evaluation | Stretch]] = []
    for point in record.evaluations:
        when = finite(point.ended_at)
        if point.slot and when is not None:
            ends.append((point.slot, when, point))
    for one in record.wasted:
        begin, end = finite(one.begin), finite(one.end)
        if begin is not None and end is not None:
            lost = Stretch(one.slot, "lost", one.trial_id, 0, one.run, begin, end, why=one.kind)
            ends.append((one.slot, end, lost))
    free: dict[str, float] = {}
    found: list[Stretch] = []
    for slot, end, what in sorted(ends, key=lambda item: (_slot_key(item[0]), item[1])):
        since = free.get(slot, 0.0)
        if isinstance(what, Stretch):
            made = [what._replace(begin=max(what.begin, since))]
        else:
            made = list(_parts(what, since, end))[::-1]
        found += [one for one in made if one.seconds > _SHORTEST_SECONDS]
        free[slot] = max(since, end)
    return found


def _parts(point: Evaluation, since: float, end: float) -> Iterator[Stretch]:
    """What led to an evaluation, the last first; nothing begins before `since`: the slot had done something else."""
    whole = max(0.0, finite(point.seconds) or 0.0)
    evaluating = min(whole, max(0.0, finite(point.evaluation_seconds) or 0.0))
    parts = (
        ("checkpoint", max(0.0, finite(point.checkpoint_seconds) or 0.0)),
        ("evaluation", evaluating),
        ("training", whole - evaluating),
        ("opening", max(0.0, finite(point.opening_seconds) or 0.0)),
    )
    for kind, seconds in parts:
        begin = max(since, end - seconds)
        yield Stretch(point.slot, kind, point.trial_id, point.rung, point.run, begin, end, point.epoch)
        end = begin


def works(found: Sequence[Stretch]) -> list[Work]:
    """Stretches of one trial on one rung without another's between them, as one piece each."""
    made: list[Work] = []
    for one in found:
        last = made[-1] if made else None
        same = last is not None and (last.slot, last.trial_id, last.rung, last.run) == (
            one.slot, one.trial_id, one.rung, one.run,
        )  # fmt: skip
        if last is not None and same and one.begin - last.end <= 1.0 + 0.05 * one.seconds:
            made[-1] = replace(last, end=one.end, epochs=last.epochs + (one.kind == "training"))
        elif one.kind != "lost":
            epochs = int(one.kind == "training")
            made.append(Work(one.slot, one.trial_id, one.rung, one.run, one.begin, one.end, epochs))
    return made


def span(found: Sequence[Stretch]) -> tuple[float, float]:
    """From the first stretch on any slot to the last; at least one is needed."""
    return min(one.begin for one in found), max(one.end for one in found)


def shares(found: Sequence[Stretch]) -> dict[str, dict[str, float]]:
    """Slot → kind → its share of the time from the first stretch on any slot to the last; `idle` is the rest."""
    begin, end = span(found)
    seconds: dict[str, dict[str, float]] = {}
    for one in found:
        mine = seconds.setdefault(one.slot, dict.fromkeys(KINDS, 0.0))
        mine[one.kind] += one.seconds
    whole = end - begin or 1.0
    return {
        slot: {**{kind: part / whole for kind, part in mine.items()}, "idle": max(0.0, 1 - sum(mine.values()) / whole)}
        for slot, mine in seconds.items()
    }


def _slot_key(slot: str) -> tuple[str, int, str]:
    """`slot 10` after `slot 9`."""
    name = slot.rstrip("0123456789")
    return (name, int(slot[len(name) :][:9] or 0), slot)
