"""Is all well? What `xrayq status` shows, and what a person can do about it. Refreshes itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text
from starlette.responses import Response

from worker.dead_letters import meaning_of
from worker.reporting.faults import in_words
from worker.status.flow import LastHour
from worker.status.queries import DatabaseContent
from worker.status.snapshot import Snapshot
from worker.status.view_films import COMMENTS, NOT_LET_IN
from worker.status.view_text import BAD, LABEL, duration
from worker.status.view_upkeep import (
    backfill_lines,
    bundle_line,
    certificate_lines,
    outage_lines,
    report_line,
    repository_lines,
    shadows_lines,
)
from worker.web.blind import blind_days, hidden
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.words import counted, size

WIDE = 100_000
"""Columns: no line is broken here."""
HALF = 40
"""Height of the bars above and beneath the line of the last hour, in its own units; a minute is 10 wide."""


@dataclass(frozen=True, kw_only=True)
class UpkeepLine:
    label: str
    text: str
    bad: bool


@dataclass(frozen=True, kw_only=True)
class Minute:
    """Films of one minute, as heights of bars."""

    left: int
    received: float
    ended: float


def overview(ask: Ask) -> Response:
    """The page, or the part of it that htmx refreshes."""
    look = parts.of(ask).overview.newest()
    stored = look.snapshot.stored
    kept = hidden(ask)
    again = ask.request.headers.get("hx-history-restore-request") == "true"
    return ask.site.page(
        "operations_now.html" if ask.of_htmx and not again else "operations.html",
        ask,
        look=replace(look, results=tuple(result for result in look.results if result.instance not in kept)),
        left_out=bool(kept),
        uncounted=look.snapshot.at.astimezone(ask.site.options.zone).date() in blind_days(ask),
        now=look.snapshot,
        stored=stored,
        minutes=_minutes(stored.hour) if stored else (),
        half=HALF,
        late=bool(stored and stored.waiting.oldest_seconds > look.snapshot.backlog_seconds),
        upkeep=_upkeep(look.snapshot, stored, ask) if stored else (),
        meaning_of=meaning_of,
        why_not_sent=in_words,
        why_not_let_in=lambda code: NOT_LET_IN.get(code, code),
        duration=duration,
        size=size,
        counted=counted,
        comments=COMMENTS,
    )


def _minutes(hour: LastHour) -> list[Minute]:
    most = max(1, *hour.received, *hour.ended)
    pairs = zip(hour.received, hour.ended, strict=True)
    return [
        Minute(left=10 * at, received=round(HALF * came / most, 1), ended=round(HALF * went / most, 1))
        for at, (came, went) in enumerate(pairs)
    ]


def _upkeep(now: Snapshot, stored: DatabaseContent, ask: Ask) -> list[UpkeepLine]:
    """As the terminal shows it, but for results, which have a part of their own here."""
    at, zone = now.at, ask.site.options.zone
    lines = [line for outage in stored.outages for line in outage_lines(outage, at, zone, WIDE)]
    lines += [bundle_line(stored), *shadows_lines(stored), report_line(stored, at, zone)]
    lines += repository_lines(stored, at, zone, WIDE)
    lines += [*backfill_lines(stored, at, zone, WIDE), *certificate_lines(now)]
    return _read(lines)


def _read(lines: Sequence[Text]) -> list[UpkeepLine]:
    return [
        UpkeepLine(
            label=line.plain[:LABEL].strip(),
            text=line.plain[LABEL:].strip(),
            bad=any(span.style == BAD for span in line.spans),
        )
        for line in lines
    ]


PAGES = (Page(path="/operations", least=WebRole.VIEWER, answer=overview),)
