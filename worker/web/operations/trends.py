"""Charts of days: films, flags, waiting, drift, live performance; from the reports of the nights."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from starlette.responses import JSONResponse, Response

from model.findings import SPOKEN
from worker.db.session import reading
from worker.nightly import published
from worker.nightly.trends import DayFigures, DayRate, Trends, trends
from worker.web.blind import blind_days
from worker.web.page import Ask, Page
from worker.web.people import WebRole

SPANS = (30, 90, 365)
"""Days that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Series:
    label: str
    values: Sequence[float | None]
    """One for each day; None: a gap."""
    low: Sequence[float | None] | None = None
    """Of an interval; None without one, as the next."""
    high: Sequence[float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    id: str
    title: str
    about: str
    unit: str
    series: Sequence[Series]
    limit: float | None = None
    """A line across."""
    top: float | None = None
    """Of the scale; None: what the values need."""


def page(ask: Ask) -> Response:
    span, found, blind = _span(ask), _trends(ask), blind_days(ask)
    return ask.site.page(
        "trends.html",
        ask,
        spans=SPANS,
        span=span,
        charts=charts(found.days, blind),
        blind=blind,
        days=found.days[::-1],
        left_out=found.left_out,
        spoken=SPOKEN,
    )


def data(ask: Ask) -> Response:
    """The charts' numbers. Days are seconds since 1970 of their midnights in UTC."""
    found, blind = _trends(ask).days, blind_days(ask)
    days = [int(datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC).timestamp()) for day in found]
    return JSONResponse({"days": days, "charts": [asdict(chart) for chart in charts(found, blind)]})


def charts(days: Sequence[DayFigures], blind: Collection[date] = ()) -> list[Chart]:
    """
    Args:
        blind: days whose flags are not counted for who asks.
    """
    found = [
        Chart(
            id="films",
            title="Films a day",
            about="Films that came, and those that have a score.",
            unit="films",
            series=(
                Series(label="received", values=[day.received for day in days]),
                Series(label="scored", values=[day.scored for day in days]),
            ),
        ),
        Chart(
            id="flags",
            title="Flags a day",
            about="Films with any flag, and those left unsure.",
            unit="films",
            series=(
                Series(label="flagged", values=[None if day.day in blind else day.flagged for day in days]),
                Series(label="unsure", values=[None if day.day in blind else day.unsure for day in days]),
            ),
        ),
        Chart(
            id="waiting",
            title="From received to scored",
            about="Within which half, and 95 %, of a day's films were scored. A gap: they were not.",
            unit="s",
            series=(
                Series(label="half", values=[day.p50 for day in days]),
                Series(label="95 %", values=[day.p95 for day in days]),
            ),
        ),
        _drift(days),
    ]
    return [chart for chart in (*found, *_performance(days)) if chart.series]


def _drift(days: Sequence[DayFigures]) -> Chart:
    by_day = [{sender.calling_ae: sender.excess for sender in day.drift} for day in days]
    senders = _in_order(sender for day in by_day for sender in day)
    return Chart(
        id="drift",
        title="Drift, by sender",
        about="How far films and scores were from the reference: the measure that was farthest. Over the line "
        "it may be drift: a test decides.",
        unit="PSI beyond chance",
        series=[Series(label=sender, values=[day.get(sender) for day in by_day]) for sender in senders],
        limit=days[-1].psi if days else None,
    )


def _performance(days: Sequence[DayFigures]) -> list[Chart]:
    """A chart for each flag, a line for each label, with its interval."""
    by_day = [{(rate.finding, rate.label): rate for rate in day.rates if rate.films} for day in days]
    rates = {key: rate for day in by_day for key, rate in day.items()}
    return [
        Chart(
            id=f"performance-{flag}",
            title=f"Flag {SPOKEN.get(flag, flag)}: how often it is right",
            about="On the drawn films that readers labelled, until each day. Bands: 95 % intervals.",
            unit="share",
            series=[_rate_series(by_day, rates[flag, label]) for name, label in rates if name == flag],
            top=1.0,
        )
        for flag in _in_order(finding for finding, _ in rates)
    ]


def _rate_series(by_day: Sequence[dict[tuple[str, str], DayRate]], of: DayRate) -> Series:
    rates = [day.get((of.finding, of.label)) for day in by_day]
    return Series(
        label=f"{of.kind}, {SPOKEN.get(of.label, of.label)}",
        values=[rate.value if rate else None for rate in rates],
        low=[rate.interval95[0] if rate else None for rate in rates],
        high=[rate.interval95[1] if rate else None for rate in rates],
    )


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _span(ask: Ask) -> int:
    return next((span for span in SPANS if ask.query("days") == str(span)), SPANS[1])


def _trends(ask: Ask) -> Trends:
    folder = ask.site.options.reports
    if folder is None:
        return Trends(days=(), left_out=())
    with reading(ask.site.database) as connection:
        records = published.reports(connection)
    days = sorted({record.day for record in records})[-_span(ask) :]
    return trends([record for record in records if days and record.day >= days[0]], folder)


PAGES = (
    Page(path="/operations/trends", least=WebRole.VIEWER, answer=page),
    Page(path="/operations/trends.json", least=WebRole.VIEWER, answer=data),
)
