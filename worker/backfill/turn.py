"""One turn of a backfill, again and again in the relay. Killed at any point, the next turn goes on from the rows.

films that were asked for   are looked up in the ledger
something forbids it        it rests, and its row says why (`resting`)
films are due               they are asked for, at its rate, over one association
none is due                 the PACS is asked for the next day; after the last one it is done
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.retrieve_answer import Counts, Retrieved
from worker.audit.actions import Actor
from worker.backfill import days, films, jobs, resting
from worker.backfill.association import Retrieving
from worker.backfill.films import Batch
from worker.backfill.options import FilmState, Job, JobState
from worker.backfill.resting import PACS_FAULT
from worker.db.session import database_time, reading, writing
from worker.errors import PacsAway
from worker.queue.retry import back_off

log = logging.getLogger("xrayq.backfill")

TURN_SECONDS = 30.0
"""For which an association is used. Then the next turn looks anew, also at the certificates."""
LONGEST_PAUSE = 2.0
"""Seconds between two questions over one association. A PACS closes one that is idle, so at a slower rate the next
question has its own."""
LOOK_SECONDS = 1.0
"""Between two looks during a retrieval whether it is paused or cancelled."""
LONGEST_RETRIEVAL = 600.0
"""Seconds. Then the PACS is told to stop, and the attempt counts: a film of a slow tape is not begun for ever."""
AWAY_WAIT, LONGEST_AWAY = 5.0, 300.0
"""Seconds before a PACS that is away is asked again, doubled with each failure."""
OF_PACS = frozenset(
    ("no_answer", "not_counted", "out_of_resources", "destination_unknown", "not_served", "not_authorised")
)
"""Faults that may say nothing of a film: the PACS may answer any question so, and is left alone for a while."""
FREE = "destination_unknown"
"""The one that is never a film's fault, so that no attempt counts. Some archives say out of resources, or that we may
not, of one film that they cannot send; and it may have been this film that brought the PACS down."""
MOVING = (FilmState.WANTED, FilmState.ASKED, FilmState.QUARANTINED)


@dataclass(frozen=True, kw_only=True)
class Backfilling:
    """What the turns of one PACS need."""

    database: Engine
    pacs: str
    retrieving: Retrieving
    free: Callable[[], int | None]
    """Bytes in the spool; None where this machine does not see it."""
    stop: Event

    def turn(self) -> None:
        """Raises SQLAlchemyError alone."""
        job = self._ready()
        if job is None:
            return
        with reading(self.database) as connection:
            due = films.is_due(connection, job)
            waits = films.count(connection, job, (FilmState.WANTED,)) > 0  # too many are on the way
            day = None if due or waits else days.next_day(connection, job)
        if due:
            self._fetch(job)
        elif day is not None:
            if fault := days.ask_for(self.database, job, day, self.retrieving.options):
                self._away(job, fault)
            elif job.failures:
                self._rest(job, "", failures=0)
        else:
            self._end(job)

    def _ready(self) -> Job | None:
        """The backfill, where it may ask for something now. What was asked for is looked up in any case."""
        free = self.free()
        with reading(self.database) as connection:
            job = jobs.open_of(connection, self.pacs)
            if job is None:
                return None
            moving = films.is_moving(connection, job)
        with writing(self.database) if moving else reading(self.database) as connection:
            now = database_time(connection)
            if moving:
                jobs.lock(connection, job)
                films.settle(connection, job, now)
            why = resting.why(connection, job, self.retrieving.options, now, free)
        if job.state is JobState.PAUSED or (job.next_at > now and not why):
            return None
        if why != job.rests and (why or not job.rests.startswith(PACS_FAULT)):
            self._rest(job, why)
        return None if why else job

    def _rest(self, job: Job, why: str, **values: Any) -> None:
        with writing(self.database) as connection:
            jobs.rest(connection, job, why, **values)
        log.info("backfill rests" if why else "backfill goes on", extra={"called_ae": job.pacs, "reason": why})

    def _fetch(self, job: Job) -> None:
        """What is due, for TURN_SECONDS; what is under way then comes to its end."""
        options, begun, batch, fresh = self.retrieving.options, time.monotonic(), None, True
        pacs = options.pacs(job.pacs)
        if pacs is None:
            return
        stop = _Watch(backfilling=self, job=job)
        try:
            with self.retrieving.opened(pacs, job.way, seconds=LONGEST_RETRIEVAL, stop=stop) as fetch:
                while time.monotonic() - begun < TURN_SECONDS and not self.stop.is_set():
                    batch = self._take()
                    if batch is None or not self._noted(job, batch, fetch(batch), fresh):
                        break
                    fresh, pause = False, self._pause()
                    if pause > LONGEST_PAUSE:
                        break
                    self.stop.wait(pause)
        except PacsAway as away:
            if batch:
                with writing(self.database) as connection:
                    jobs.lock(connection, job)
                    films.not_counted(connection, batch, database_time(connection))
            self._away(job, str(away))

    def _take(self) -> Batch | None:
        """Films that are asked for from now on; None where none is due, or something forbids it meanwhile."""
        options, free = self.retrieving.options, self.free()
        with writing(self.database) as connection:
            now = database_time(connection)
            job = jobs.open_of(connection, self.pacs, locked=True)
            if job is None or job.state is not JobState.RUNNING or job.next_at > now:
                return None
            if resting.why(connection, job, options, now, free):
                return None
            return films.take(connection, job, now, first_wait=options.first_wait)

    def _noted(self, job: Job, batch: Batch, said: Retrieved, fresh: bool) -> bool:
        """Keep what the PACS said. False where it is of no use to ask it more now.

        Args:
            fresh: nothing was asked over this association before. Else it may have been closed meanwhile.
        """
        fault = said.fault
        closed = fault == "no_answer" and not (fresh or said.stopped or said.here) and said.counts == Counts()
        tried = fault in ("not_counted", "out_of_resources") and (said.counts.failed or said.failed_uids)
        away = fault in OF_PACS and not (closed or tried)  # it tried these films, and would others
        with writing(self.database) as connection:
            runs = jobs.lock(connection, job) is JobState.RUNNING
            now = database_time(connection)
            films.settle(connection, job, now)
            if closed or self.stop.is_set() or not runs or fault == FREE:
                films.not_counted(connection, batch, now)
            films.answered(connection, batch, fault, said.failed_uids)
            if not away and job.failures:
                jobs.rest(connection, job, "", failures=0)
        if away and not said.stopped:
            self._away(job, fault)
        return not (away or closed or said.stopped)

    def _pause(self) -> float:
        """Seconds until more may be asked for at its rate."""
        with reading(self.database) as connection:
            job, now = jobs.open_of(connection, self.pacs), database_time(connection)
        return max(0.0, (job.next_at - now).total_seconds()) if job else 0.0

    def _away(self, job: Job, fault: str) -> None:
        """It rests, for longer with each failure."""
        failures = job.failures + 1
        with writing(self.database) as connection:
            due = database_time(connection) + timedelta(seconds=back_off(AWAY_WAIT, failures, LONGEST_AWAY))
            jobs.rest(connection, job, PACS_FAULT + fault, failures=failures, next_at=due)
        log.warning("a PACS gives no films, will try again", extra={"called_ae": job.pacs, "reason": fault})

    def _end(self, job: Job) -> None:
        """Unless a film or a day waits for its next attempt."""
        with writing(self.database) as connection:
            found = jobs.open_of(connection, self.pacs, locked=True)
            if (
                found is None
                or found.id != job.id
                or days.left(connection, job)
                or films.count(connection, job, MOVING)
            ):
                return
            jobs.end(connection, job, JobState.DONE, actor=Actor.RELAY)
        log.info("backfill done", extra={"called_ae": job.pacs})


@dataclass(kw_only=True)
class _Watch:
    """Whether a retrieval under way is to stop: the relay ends, or a person has paused or cancelled the backfill."""

    backfilling: Backfilling
    job: Job
    looked_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> bool:
        if self.backfilling.stop.is_set():
            return True
        if time.monotonic() - self.looked_at < LOOK_SECONDS:
            return False
        self.looked_at = time.monotonic()
        try:
            with reading(self.backfilling.database) as connection:
                return not jobs.is_running(connection, self.job)
        except SQLAlchemyError:
            return False  # nobody can say: what comes is kept, or refused at our door
