"""Figures of days beside each other, as the reports of the nights have them: nothing is computed again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from worker.errors import NotFound, WrongState
from worker.nightly.published import REPORT, ReportRecord, as_made, folder_of


@dataclass(frozen=True, kw_only=True)
class SenderDrift:
    """How far the films of an AE were from its reference: the measure that was farthest."""

    calling_ae: str
    measure: str
    excess: float
    """PSI beyond chance."""
    alarms: int
    """Measures that raised one."""


@dataclass(frozen=True, kw_only=True)
class DayRate:
    """How often a flag was right on the drawn films with one label, until that day."""

    finding: str
    label: str
    kind: str
    """sensitivity or specificity"""
    value: float | None
    interval95: tuple[float, float]
    films: int
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """What a report says of its day."""

    day: date
    received: int
    """Films, not other objects."""
    scored: int
    flagged: int
    unsure: int
    p50: float | None
    """Seconds from received to scored; None where nothing was to be scored, or it never was, as the next."""
    p95: float | None
    drift: tuple[SenderDrift, ...]
    psi: float
    """Beyond chance, from which it is drift."""
    bundle: str
    """Digest of the one that the rates are of; "" without rates."""
    rates: tuple[DayRate, ...]


@dataclass(frozen=True, kw_only=True)
class Trends:
    days: tuple[DayFigures, ...]
    """Oldest first."""
    left_out: tuple[date, ...]
    """Whose report.json is missing here, was changed, or is of a release that wrote another."""


def trends(records: Sequence[ReportRecord], reports_folder: Path) -> Trends:
    """Of the newest report of each day, by day.

    Args:
        records: oldest first.
    """
    newest = {record.day: record for record in records}
    days, left_out = [], []
    for day in sorted(newest):
        try:
            days.append(_figures(folder_of(reports_folder, day) / REPORT, newest[day].digest))
        except (NotFound, WrongState, ValueError, KeyError, TypeError):
            left_out.append(day)
    return Trends(days=tuple(days), left_out=tuple(left_out))


@lru_cache(maxsize=800)
def _figures(file: Path, digest: str) -> DayFigures:
    report = json.loads(as_made(file, digest))
    seconds, performance = report["seconds"] or {}, report["performance"]
    return DayFigures(
        day=date.fromisoformat(report["date"]),
        received=sum(sender["received"] - sender["other_objects"] for sender in report["senders"]),
        scored=report["flags"]["scored"],
        flagged=report["flags"]["flagged"],
        unsure=report["flags"]["unsure"],
        p50=seconds.get("p50"),
        p95=seconds.get("p95"),
        drift=_drift(report["drift"]["tests"]),
        psi=report["drift"]["options"]["psi"],
        bundle=performance["bundle_digest"] if performance else "",
        rates=_rates(performance["sample"]["findings"]) if performance else (),
    )


def _drift(tests: Sequence[dict[str, Any]]) -> tuple[SenderDrift, ...]:
    senders: dict[str, list[dict[str, Any]]] = {}
    for test in tests:
        senders.setdefault(test["calling_ae"], []).append(test)
    found = []
    for calling_ae, own in sorted(senders.items()):
        farthest = max(own, key=_excess)
        found.append(
            SenderDrift(
                calling_ae=calling_ae,
                measure=farthest["measure"],
                excess=round(_excess(farthest), 4),
                alarms=sum(test["alarm"] for test in own),
            )
        )
    return tuple(found)


def _excess(test: dict[str, Any]) -> float:
    return float(test["psi"] - test["psi_by_chance"])


def _rates(findings: Sequence[dict[str, Any]]) -> tuple[DayRate, ...]:
    return tuple(
        DayRate(
            finding=flag["finding"],
            label=rate["label"],
            kind=rate["rate"],
            value=rate["value"],
            interval95=(rate["interval95"][0], rate["interval95"][1]),
            films=rate["trials"],
            alarm=rate["alarm"],
        )
        for flag in findings
        for rate in flag["by_label"]
    )
