"""The rules that are looked at with the night's report, from its values.

The first later report that does not break the rule clears the alarm.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from model.findings import SPOKEN
from worker.alarms.rules import USUAL_DAYS, Condition
from worker.audit.reconciliation import Sender, Unaccounted
from worker.audit.trail import ChainCheck
from worker.monitoring.drift_result import LEAST_OUTSIDE, DriftResult, DriftTest, in_units, outside_words
from worker.monitoring.live_labels import LivePerformance
from worker.receiving import orphans

UNACCOUNTED = "unaccounted"
DRIFT = "drift"
ORPHANS = "orphans"
TRAIL_BROKEN = "trail_broken"
MOST_NAMED = 4
"""Measures that the text of a drift alarm names."""
MOST_ABOUT = 1000
"""Films that an alarm keeps by id; of more, their number says that there are others."""


@dataclass(frozen=True, kw_only=True)
class NightFacts:
    """What the rules ask of a night's report."""

    day: date
    senders: tuple[Sender, ...]
    unaccounted: tuple[Unaccounted, ...]
    """Films of the day."""
    unaccounted_before: tuple[Unaccounted, ...]
    """Films of earlier days."""
    orphans: tuple[str, ...] | None
    """Digests; None where the spool was not seen."""
    chain: ChainCheck
    performance: LivePerformance | None
    drift: DriftResult
    sending: frozenset[str]
    """AEs that sent a film in the last USUAL_DAYS."""
    drifting: frozenset[str]
    """AEs whose alarm of drift stood on the day."""


def looked_at(facts: NightFacts) -> frozenset[str | tuple[str, str]]:
    """What this report can say something about. Without labels, of an AE without a test, or where the spool is not
    seen, an alarm is left alone."""
    rules = {UNACCOUNTED, TRAIL_BROKEN, "report_failed"}
    if facts.orphans is not None:
        rules.add(ORPHANS)
    if facts.performance is not None:
        rules.add("performance")
    return frozenset(rules) | {(DRIFT, test.calling_ae) for test in facts.drift.tests}


def gone(facts: NightFacts) -> dict[tuple[str, str], str]:
    """Open alarms that end with their AE, and what is said then."""
    return {
        (DRIFT, calling_ae): f"{calling_ae} sent no film for {USUAL_DAYS} days and is taken as gone; its drift was not "
        "looked at again"
        for calling_ae in facts.drifting - facts.sending
    }


def conditions(facts: NightFacts) -> list[Condition]:
    """Every rule that the night breaks."""
    return [
        *_unaccounted(facts),
        *_orphans(facts),
        *_trail_broken(facts.chain),
        *_performance(facts.performance),
        *_drift(facts.drift),
    ]


def _unaccounted(facts: NightFacts) -> Iterator[Condition]:
    """An alarm for each AE, as long as a film of this day or of one before is not accounted for."""
    of_day = {sender.calling_ae: sender for sender in facts.senders}
    wrong_ids = defaultdict(list)
    for film in (*facts.unaccounted, *facts.unaccounted_before):
        wrong_ids[film.calling_ae].append(film.id)
    before = Counter(film.calling_ae for film in facts.unaccounted_before)
    for calling_ae in sorted({*of_day, *before}):
        sender = of_day.get(calling_ae)
        received, difference, lost = (sender.received, sender.difference, sender.lost) if sender else (0, 0, 0)
        wrong = sender.wrong if sender else 0
        if wrong or before[calling_ae]:
            yield Condition(
                rule=UNACCOUNTED,
                subject=calling_ae,
                value=wrong + before[calling_ae],
                threshold=0,
                text=f"{facts.day}: {received} films received from {calling_ae}, difference {difference}; "
                f"{lost} of them and {before[calling_ae]} of earlier days are not accounted for",
                about=tuple(map(str, sorted(wrong_ids[calling_ae])[:MOST_ABOUT])),
            )


def _orphans(facts: NightFacts) -> Iterator[Condition]:
    if facts.orphans:
        yield Condition(rule=ORPHANS, value=len(facts.orphans), threshold=0, text=orphans.in_words(facts.orphans))


def _trail_broken(chain: ChainCheck) -> Iterator[Condition]:
    """One alarm for both: rows of the chain, and scores that are not what it tells of."""
    words, about = [], []
    if chain.fault:
        place = f" at row {chain.broken}" if chain.broken is not None else ""
        words.append(f"the audit trail is broken{place}: {chain.fault}; {chain.rows} rows before are whole")
        about.append(f"row {chain.broken}, {chain.fault}")
    if chain.scores.wrong:
        words.append(chain.scores.fault)
        about += [score.words for score in chain.scores.named]
        if chain.scores.wrong > len(chain.scores.named):
            about.append(f"{chain.scores.wrong} scores")
    if words:
        yield Condition(rule=TRAIL_BROKEN, value=1, threshold=0, text="; ".join(words), about=tuple(about))


def _performance(performance: LivePerformance | None) -> Iterator[Condition]:
    """An alarm for each flag, and X-ray device with a calibration of its own, with a rate over the random sample that
    left where it was calibrated."""
    parts = performance.rates.parts if performance else ()
    for device, finding in ((part.device, finding) for part in parts for finding in part.sample.findings):
        left = [one for one in finding.by_label if one.rate.alarm]
        if left:
            rate = left[0].rate
            value, calibrated = rate.published_value, rate.calibrated
            assert value is not None
            assert calibrated is not None
            low, high = calibrated
            where = f" on device {device}" if device else ""
            yield Condition(
                rule="performance",
                subject=f"{finding.finding} on {device}" if device else finding.finding,
                value=value,
                threshold=low if value < (low + high) / 2 else high,
                text=f"{SPOKEN.get(finding.finding, finding.finding)}{where}: live {left[0].name} on films labelled "
                f"{SPOKEN.get(left[0].label, left[0].label)} is {value:.3f}, of "
                f"{rate.trials} in the random sample; it was calibrated at {low:.3f} to {high:.3f}",
                about=tuple(f"{one.name} {one.label}" for one in left),
            )


def _drift(drift: DriftResult) -> Iterator[Condition]:
    """An alarm for each AE that drifted. Its value is the largest PSI beyond chance; where only outliers were found,
    the largest share of films outside the usual range, beyond chance."""
    by_sender = sorted(drift.alarms, key=lambda test: test.calling_ae)
    for calling_ae, group in groupby(by_sender, key=lambda test: test.calling_ae):
        tests = sorted(group, key=lambda test: (test.moved, test.excess, test.outside_excess), reverse=True)
        first = tests[0] if tests[0].moved else max(tests, key=lambda test: test.outside_excess)
        words = [_drift_words(test) for test in tests[:MOST_NAMED]]
        more = f" and {len(tests) - MOST_NAMED} more" if len(tests) > MOST_NAMED else ""
        yield Condition(
            rule=DRIFT,
            subject=calling_ae,
            value=round(first.excess if first.moved else first.outside_excess, 4),
            threshold=drift.options.psi if first.moved else LEAST_OUTSIDE,
            text=f"{calling_ae} differs from its frozen reference: {'; '.join(words)}{more}.",
            about=tuple(sorted({test.measure for test in tests})),
        )


def _drift_words(test: DriftTest) -> str:
    if not test.moved:
        return f"{test.measure}, {outside_words(test)}"
    return f"{test.measure} {in_units(test.measure, test.median)} (reference median {test.reference_median:.3g})"
