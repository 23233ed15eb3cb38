"""What a backfill is, and how much it may ask for; from its row and the settings."""

from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from worker.pacs.options import AskedPacs, AskOptions
from worker.setting_values import begin_and_end

MOST_ATTEMPTS = 5
"""To get one film. With the waits between them that is half an hour, so that a tape can be mounted."""
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0
"""Seconds from one attempt to the next, doubled with each."""
MOST_TOGETHER = 10
"""Films in one question: they are of one series."""
TOGETHER_SECONDS = 10.0
"""At its rate a backfill asks for the films of so long at once."""
MOST_ON_THE_WAY = 100
"""Films asked for that are not here. With more, no new one is asked for: a PACS that sends nothing is asked in vain."""
MOST_IN_VAIN = 20
"""Films that failed since one came. With as many it is no film's fault, and a person has to look."""
MOST_DEAD_LETTERS = 10
"""Films, live ones too, that failed within an hour. With as many something is wrong, and none is asked for."""
MOST_UNSCORED = 50
"""Films of backfills that wait for a worker. With more, workers do not keep up, and none is asked for."""


class Way(StrEnum):
    MOVE = "move"
    """The PACS sends to our AE title, by an association of its own."""
    GET = "get"
    """It sends on the association of our question."""


class JobState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


class FilmState(StrEnum):
    WANTED = "wanted"
    ASKED = "asked"
    """It is on the way, or will be asked for again."""
    QUARANTINED = "quarantined"
    HERE = "here"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of `backfill`."""

    id: int
    pacs: str
    sends_as: str
    """AE title under which it sends."""
    first_day: date
    last_day: date
    rate: float
    """Films a minute, at most."""
    hours: str
    """HH:MM-HH:MM on the clock of the site, "" for any."""
    way: Way
    state: JobState
    rests: str
    """Why nothing is asked for now, a code of `words`; "" while it works."""
    rests_since: datetime | None
    failures: int
    next_at: datetime
    started_at: datetime
    resumed_at: datetime
    """Or started."""
    started_by: str
    ended_at: datetime | None

    @property
    def together(self) -> int:
        """Films in one question, at most."""
        return max(1, min(MOST_TOGETHER, round(self.rate * TOGETHER_SECONDS / 60)))

    def is_time(self, now: datetime, zone: ZoneInfo) -> bool:
        """Whether its hours are now."""
        if not self.hours:
            return True
        begin, end = begin_and_end(self.hours)
        at = now.astimezone(zone).time()
        return begin <= at < end if begin < end else at >= begin or at < end

    @property
    def share_of_day(self) -> float:
        """How much of a day its hours are."""
        if not self.hours:
            return 1.0
        begin, end = map(_minutes, begin_and_end(self.hours))
        return (end - begin) % 1440 / 1440


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    ask: AskOptions
    reserve_bytes: int
    """Free space of the spool below which nothing is asked for: live films come first."""
    live_films: int
    """Live films that wait or are at work, from which on nothing is asked for."""
    answer_seconds: float = 120.0
    """Longest silence of the PACS: it may get a film from a tape."""
    first_wait: float = FIRST_WAIT

    def pacs(self, called_ae: str) -> AskedPacs | None:
        """None where XRAYQ_ASK_PACS does not name it any more."""
        return next((one for one in self.ask.pacs if one.called_ae == called_ae), None)


def hours_of(text: str) -> str:
    """20-06, 20:00-06:00 or "" as HH:MM-HH:MM. Raises ValueError."""
    if not text:
        return ""
    parts = [part if ":" in part else f"{part}:00" for part in text.split("-")]
    written = "-".join(part.zfill(5) for part in parts)
    begin_and_end(written)
    return written


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute
