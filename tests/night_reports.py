"""The night's report of a good day, as a value, for tests of what reads one: they replace what they are about."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from model.stats.binomial import interval, proportion
from model.stats.sequential import RateWatch
from tests import days
from worker.alarms.acknowledge import AcknowledgedCondition, Acknowledgement
from worker.audit.reconciliation import Sender, Unaccounted, Why
from worker.audit.score_check import Found, LookedAt, ScoreCheck
from worker.audit.trail import ChainCheck
from worker.db.span import Span
from worker.monitoring.drift_result import DriftResult, DriftTest
from worker.monitoring.live_labels import LivePerformance
from worker.monitoring.live_rates import FindingRates, LabelRate, OtherLabels, Performance, SampleRates
from worker.nightly.disks import Storage
from worker.nightly.films import FailedFilm, LateFilm, Throughput, Turnaround
from worker.nightly.night_report import NightReport
from worker.nightly.operations import Backlog, DayAlarm, DayChain

START = datetime(2026, 11, 20, tzinfo=UTC)
SENDER = Sender(calling_ae="CR1", received=9, revisions=0, duplicates=0, scored=9, pending=0, lost=0)
WHOLE = ChainCheck(rows=12, head="d" * 64)
LATE = LateFilm(
    id=4, calling_ae="CR1", received_at=START - timedelta(hours=5), state="scored", reason=None, flags=(), unsure=False
)
GOOD = NightReport(
    pacs=(),
    day=date(2026, 11, 20),
    zone=ZoneInfo("Europe/Berlin"),
    span=Span(start=START, end=START + timedelta(days=1)),
    day_over=True,
    made_at=START + timedelta(days=1, hours=1),
    looked_at=START + timedelta(days=1, hours=1),
    follows=START,
    site="",
    senders=(SENDER,),
    unaccounted=(),
    unaccounted_before=(),
    identity_changed=(),
    demographics_changed={},
    turnaround=Turnaround(
        hours=(),
        films=0,
        seconds=None,
        untimed=0,
        throughput=Throughput(received_in_an_hour=0, busiest_hour=None, scored_in_a_minute=0, busiest_minute=None),
    ),
    orphans=None,
    refused={},
    contexts_refused={},
    not_associated={},
    studies={},
    scored=9,
    marked=(),
    marks=(),
    distributions=(),
    failed=(),
    late=(LATE,),
    sources=(),
    in_force=(),
    changes=(),
    alarms=(),
    undelivered=(),
    outages=(),
    lost_results=(),
    result_outages=(),
    storage=Storage(spool=None, reports=None, reserve=0, received=0, received_a_day=0, rate_days=7.0, days_left=400.0),
    drift=DriftResult(tests=(), untested=(), frozen=(), options=days.DRIFT),
    chain=DayChain(check=WHOLE, anchor=WHOLE.head),
    given_up=(),
    backlog=Backlog(waiting=0, oldest_seconds=None),
    performance=None,
    performance_missing="",
)


def failed(*keys: int) -> tuple[FailedFilm, ...]:
    return tuple(FailedFilm(id=key, calling_ae="CR1", reason="corrupt_pixels", received_at=START) for key in keys)


def lost(*films: tuple[int, str]) -> tuple[Unaccounted, ...]:
    """Id and AE title of each."""
    return tuple(Unaccounted(id=key, calling_ae=calling_ae, why=Why.NO_ROW) for key, calling_ae in films)


def broken(fault: str, **values: Any) -> DayChain:
    return DayChain(check=ChainCheck(head="d" * 64, fault=fault, **values), anchor=None)


def wrong_scores(*keys: int) -> ScoreCheck:
    """Scores that were altered, by instance id."""
    named = tuple(LookedAt(instance_id=key, bundle="b" * 64, found=Found.ALTERED) for key in keys)
    return ScoreCheck(checked=3, wrong=len(named), named=named)


def stood(rule: str, subject: str, text: str, **changes: Any) -> DayAlarm:
    """An alarm that is open."""
    values: dict[str, Any] = {"value": 1.0, "raised_at": START, "cleared_at": None, "acknowledged": None}
    return DayAlarm(**{"rule": rule, "subject": subject, "text": text, "open_at_end": True} | values | changes)


def acknowledged(rule: str, subject: str, known: Acknowledgement) -> AcknowledgedCondition:
    return AcknowledgedCondition(rule=rule, subject=subject, acknowledgement=known)


def drift_test(calling_ae: str, measure: str = "brightness", **changes: Any) -> DriftTest:
    values: dict[str, Any] = {"bundle": "", "films": 60, "days": 1, "reference_films": 300}
    values |= {"psi": 0.01, "psi_by_chance": 0.01, "p": 0.5, "q": 0.5, "median": 0.5, "reference_median": 0.5}
    values |= {"usual": (0.3, 0.7), "outside": 0.01, "outside_by_chance": 0.01, "outside_p": 0.5, "outside_q": 0.5}
    values |= {"moved": False, "outliers": False, "note": "", "quantiles": None}
    return DriftTest(calling_ae=calling_ae, measure=measure, **values | changes)


def rate(successes: int, trials: int, *, alarm: bool = False) -> RateWatch:
    """Calibrated at 0.8 to 0.95."""
    return RateWatch(
        successes=successes,
        trials=trials,
        interval95=interval(successes, trials),
        calibrated=(0.8, 0.95),
        evidence=1.0,
        alarm_from=20.0,
        alarm_at=trials if alarm else None,
    )


def labelled(**rates: RateWatch) -> LivePerformance:
    """Flags of pneumonia on a random sample: sensitivity on films labelled pneumonia, specificity on normal ones.

    Each rate that is not named is good.
    """
    watched = {"sensitivity": rate(45, 50), "specificity": rate(45, 50)} | rates
    by_label = tuple(
        LabelRate(label=label, positive=name == "sensitivity", rate=watched[name])
        for name, label in (("specificity", "normal"), ("sensitivity", "pneumonia"))
    )
    share = proportion(45, 50)
    finding = FindingRates(finding="pneumonia", by_label=by_label, ppv=share, npv=share)
    performance = Performance(
        bundle_digest="b" * 64,
        scored=60,
        flagged=20,
        since=None,
        reason="",
        sample=SampleRates(drawn=50, labelled=50, disputed=0, findings=(finding,)),
        others=OtherLabels(labelled=0, flagged=0, disputed=0, rates=()),
    )
    return LivePerformance(rates=performance, name="reference", version="1", calibration=())
