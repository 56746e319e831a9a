"""How far the ranking on one rung can be trusted to be the ranking on the next."""

from __future__ import annotations

from reports.figures_rungs import rank_scatter
from reports.markup import Section, esc, paragraph, table
from reports.record import StudyRecord
from reports.render import figure_html
from reports.rungs import Agreement, agreement, pairs
from reports.words import MISSING, plural, signed

MAX_PAIRS = 6


def section(record: StudyRecord) -> Section | None:
    """Ranks on pairs of rungs with Kendall's τ; None where no pair has enough trials in common."""
    every = list(pairs(record))[:MAX_PAIRS]
    if not every:
        return None
    found = [(lower, upper, agreement(one, other)) for lower, upper, one, other in every]
    said = [_words(pair) for _, _, pair in found]
    plots = "".join(
        figure_html(
            f"agreement-{place + 1}",
            rank_scatter(record, one, other, (lower, upper)),
            f"Ranks of {plural(found[place][2].trials, 'trial')} on {lower} and {upper}, {said[place]}.",
            esc(f"{lower} and {upper}: {said[place]}"),
        )
        for place, (lower, upper, one, other) in enumerate(every)
    )
    rows = [
        (esc(f"{lower} → {upper}"), f"{pair.trials:,}", signed(pair.tau), _interval(pair))
        for lower, upper, pair in found
    ]
    return Section(
        "Agreement between rungs",
        paragraph(
            "Does the order of the trials on a cheap rung foretell their order on a dear one? Kendall’s τ is 1 where "
            "two orders are the same, 0 where they have nothing to do with each other, −1 where one is the other "
            "reversed."
        )
        + '<p class="note warn"><strong>Read it with care.</strong> Mostly the best of a rung go on, so that only '
        "they can be compared. They are closer to each other than all trials were, and τ among them says "
        "less than τ among all would: as a rule it is too low.</p>"
        + f'<div class="plots">{plots}</div>'
        + table("Kendall’s τ with its 95 % bootstrap interval over trials", ("Rungs", "Trials", "τ", "95 %"), rows,
                numeric=(1, 2, 3)),
    )  # fmt: skip


def _words(pair: Agreement) -> str:
    if pair.tau is None:
        return "all values are equal, which has no τ"
    interval = f" (95 %: {_interval(pair)})" if pair.low is not None else ""
    return f"τ = {signed(pair.tau)}{interval}"


def _interval(pair: Agreement) -> str:
    return MISSING if pair.low is None else f"{signed(pair.low)} to {signed(pair.high)}"
