"""How well the ranking at one budget predicts the ranking at the next."""

from __future__ import annotations

from reports.figures_rungs import rank_scatter
from reports.formatting import MISSING, metric_text, plural, signed
from reports.markup import Section, esc, paragraph, table
from reports.record import Agreement, Audit, Estimate, StudyRecord
from reports.render import figure_html

MAX_PAIRS = 6
_CORRECTIONS = {
    "all": "not needed, as all trials continued",
    "anchors": "weighted by the probability of being chosen at random to continue",
    "model": "estimated with a normal model, as no trial was chosen at random: only a rough indication",
}
_HEADS = ("Budgets", "Seen", "Compared", "At random", "τ uncorrected", "τ corrected", "95 %", "ρ corrected",
          "Best in common", "Loss from choosing at the lower", "Correction")  # fmt: skip


def section(record: StudyRecord) -> Section | None:
    """Kendall's τ and Spearman's ρ for pairs of budgets, and the result of the audit.

    τ is shown as measured and corrected for the selection of the trials that continued. None if there are no pairs
    and no audit.
    """
    pairs = record.agreements[:MAX_PAIRS]
    if not pairs and record.audit is None:
        return None
    plotted = [pair for pair in pairs if pair.lower_values.keys() & pair.upper_values.keys()]
    plots = "".join(_plot(record, pair, number) for number, pair in enumerate(plotted, start=1))
    rows = [_row(record, pair) for pair in pairs]
    return Section(
        "Agreement between rungs",
        paragraph(
            "Does the ranking of the trials at a small budget predict their ranking at a larger one? Kendall’s τ is 1 "
            "if the two rankings are the same, 0 if they are unrelated, and −1 if one is the reverse of the other. "
            "Mostly the best trials continue, and among them τ is too low; the corrected value applies to all trials."
        )
        + "".join(_warning(pair) for pair in pairs if pair.poor)
        + (f'<div class="plots">{plots}</div>' if plots else "")
        + (table("Agreement of each pair of budgets, with 95 % bootstrap intervals over trials", _HEADS, rows,
                 numeric=(1, 2, 3, 4, 5, 6, 7, 8, 9), wide=(10,)) if rows else "")
        + (_audit(record, record.audit) if record.audit is not None else ""),
    )  # fmt: skip


def _plot(record: StudyRecord, pair: Agreement, number: int) -> str:
    tau = f"τ = {signed(pair.tau.value)}" + (f" (95 %: {_interval(pair.tau)})" if pair.tau.low is not None else "")
    return figure_html(
        f"agreement-{number}",
        rank_scatter(record, pair.lower_values, pair.upper_values, (pair.lower, pair.upper)),
        f"Ranks of {plural(pair.compared, 'trial')} at {pair.lower} and {pair.upper}, {tau}.",
        esc(f"{pair.lower} and {pair.upper}: {tau}"),
    )


def _row(record: StudyRecord, pair: Agreement) -> tuple[str, ...]:
    return (
        esc(f"{pair.lower} → {pair.upper}"),
        f"{pair.seen:,}",
        f"{pair.compared:,}",
        f"{pair.anchors:,}",
        signed(pair.naive.value),
        signed(pair.tau.value),
        _interval(pair.tau),
        signed(pair.rho.value),
        f"{pair.overlap:.0%} of {pair.top}",
        esc(metric_text(record.metric, pair.regret)),
        _CORRECTIONS[pair.method],
    )


def _warning(pair: Agreement) -> str:
    return (
        f'<p class="note warn"><strong>{esc(pair.lower)} does not predict {esc(pair.upper)}.</strong> '
        f"τ is {signed(pair.tau.value)}, at most {signed(pair.tau.high)} (95 %): leave this budget out of the next "
        "study.</p>"
    )


def _audit(record: StudyRecord, audit: Audit) -> str:
    was = "was" if audit.audited == 1 else "were"
    wrong = f"{audit.wrong or 'none'} of them ended"
    margin = f", by at most {esc(metric_text(record.metric, audit.most))}" if audit.wrong else ""
    low, high = (f"{part:.0%}" if part is not None else MISSING for part in (audit.share.low, audit.share.high))
    return paragraph(
        f"Audit: {plural(audit.audited, 'trial')} that would have been paused or pruned {was} chosen at random and "
        f"trained to the end; {wrong} better than the best trial that reached the end by its rank{margin}. The same "
        f"would have happened with {low} to {high} (95 %) of all trials that were stopped."
    )


def _interval(estimate: Estimate) -> str:
    return MISSING if estimate.low is None else f"{signed(estimate.low)} to {signed(estimate.high)}"
