"""How far the ranking on one budget can be trusted to be the ranking on the next."""

from __future__ import annotations

from reports.figures_rungs import rank_scatter
from reports.markup import Section, esc, paragraph, table
from reports.record import Agreement, Audit, Estimate, StudyRecord
from reports.render import figure_html
from reports.words import MISSING, metric_text, plural, signed

MAX_PAIRS = 6
_HOW = {
    "all": "all trials went on, so nothing is to correct",
    "anchors": "weighted by the chances of those that went on by lot",
    "model": "under a normal model, as nobody went on by lot: take it as a hint",
}
_HEADS = ("Budgets", "Seen", "Compared", "By lot", "τ as it is", "τ corrected", "95 %", "ρ corrected",
          "Best in common", "Cost of choosing by the lower", "How corrected")  # fmt: skip


def section(record: StudyRecord) -> Section | None:
    """Pairs of budgets with Kendall's τ and Spearman's ρ, as they are and corrected for who went on; what an audit
    found. None where nothing can be compared."""
    pairs = record.agreements[:MAX_PAIRS]
    if not pairs and record.audit is None:
        return None
    known = [pair for pair in pairs if pair.lower_values.keys() & pair.upper_values.keys()]
    plots = "".join(_plot(record, pair, place) for place, pair in enumerate(known))
    rows = [_row(record, pair) for pair in pairs]
    return Section(
        "Agreement between rungs",
        paragraph(
            "Does the order of the trials on a cheap budget foretell their order on a dear one? Kendall’s τ is 1 where "
            "two orders are the same, 0 where they have nothing to do with each other, −1 where one is the other "
            "reversed. Mostly the best go on, and among them τ is too low; the corrected figure speaks of all trials."
        )
        + "".join(_warning(pair) for pair in pairs if pair.poor)
        + (f'<div class="plots">{plots}</div>' if plots else "")
        + (table("Agreement of each pair of budgets, with 95 % bootstrap intervals over trials", _HEADS, rows,
                 numeric=(1, 2, 3, 4, 5, 6, 7, 8, 9), wide=(10,)) if rows else "")
        + (_audit_words(record, record.audit) if record.audit is not None else ""),
    )  # fmt: skip


def _plot(record: StudyRecord, pair: Agreement, place: int) -> str:
    said = f"τ = {signed(pair.tau.value)}" + (f" (95 %: {_interval(pair.tau)})" if pair.tau.low is not None else "")
    return figure_html(
        f"agreement-{place + 1}",
        rank_scatter(record, pair.lower_values, pair.upper_values, (pair.lower, pair.upper)),
        f"Ranks of {plural(pair.compared, 'trial')} on {pair.lower} and {pair.upper}, {said}.",
        esc(f"{pair.lower} and {pair.upper}: {said}"),
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
        _HOW[pair.method],
    )


def _warning(pair: Agreement) -> str:
    return (
        f'<p class="note warn"><strong>{esc(pair.lower)} does not foretell {esc(pair.upper)}.</strong> '
        f"τ is {signed(pair.tau.value)}, at most {signed(pair.tau.high)} (95 %): the next study is better off "
        "without it.</p>"
    )


def _audit_words(record: StudyRecord, audit: Audit) -> str:
    were = "was" if audit.audited == 1 else "were"
    wrong = "none of them ended" if not audit.wrong else f"{audit.wrong} of them ended"
    by = f", by at most {esc(metric_text(record.metric, audit.most))}" if audit.wrong else ""
    low, high = (f"{part:.0%}" if part is not None else MISSING for part in (audit.share.low, audit.share.high))
    return paragraph(
        f"Audit: {plural(audit.audited, 'trial')} that would have rested or been pruned {were} trained to the end by "
        f"lot; {wrong} better than the best of those that came there by rank{by}. Of all that were stopped, "
        f"{low} to {high} (95 %) would have."
    )


def _interval(found: Estimate) -> str:
    return MISSING if found.low is None else f"{signed(found.low)} to {signed(found.high)}"
