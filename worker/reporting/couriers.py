"""Who sends results, and who asks whether they are there: a thread of each for every destination, so that one that is
away or hangs delays no other, and no score.

A destination that takes nothing is left alone for a while that doubles, a minute at most, however many results wait
for it. When it takes one again, all that waits for it is due at once.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import Engine, select

from worker.db.session import database_time, time_of, writing
from worker.db.tables import errand
from worker.queue import errands, periodic
from worker.queue.errands import Kind
from worker.queue.periodic import Periodic
from worker.queue.retry import back_off
from worker.reporting import faults, new_results, waiting
from worker.reporting.adapters.adapter import SendOptions
from worker.reporting.confirm import Confirmation
from worker.reporting.destinations import Destination
from worker.reporting.send import ResultDelivery
from worker.reporting.waiting import CONFIRM, WAITS, WaitingResult

LOOK_SECONDS, SWEEP_SECONDS = 2.0, 60.0
LONGEST_PAUSE = 60.0
"""Seconds for which a destination that takes nothing is left alone."""
STOP_SECONDS = 5.0


class Visitor:
    """Goes to one destination, unless that is to be left alone. One thread calls it."""

    kind: Kind
    """Of the errands that it does."""

    def __init__(self, database: Engine, options: SendOptions, destination: Destination, stop: threading.Event) -> None:
        self._database = database
        self._options = options
        self._destination = destination
        self._stop = stop
        self._failures = 0
        self._not_before = 0.0
        self._close: Callable[[], None] = lambda: None

    @property
    def goal(self) -> str:
        """Its destination's name."""
        return self._destination.name

    @property
    def may_go(self) -> bool:
        return not self._stop.is_set() and time.monotonic() >= self._not_before

    def came_back(self, reason: str) -> None:
        """`reason`: why what was wanted there failed, a code of `faults`; "" where it did not."""
        if faults.is_away(reason):
            self._failures += 1
            self._not_before = time.monotonic() + back_off(self._options.first_wait, self._failures, LONGEST_PAUSE)
        elif self._failures and faults.is_there(reason):
            self._wake()
            self._failures = 0

    def hang_up(self) -> None:
        """End what is on its way, from another thread. It counts as not arrived."""
        with suppress(OSError):
            self._close()

    def opened(self, close: Callable[[], None]) -> None:
        self._close = close
        if self._stop.is_set():
            close()

    def _wake(self) -> None:
        """One that itself made the destination fall silent waits on."""
        with writing(self._database) as connection:
            waits = (errand.c.kind == self.kind, waiting.goes_to([self._destination.name]), waiting.failed_by_absence())
            errands.wake(connection, *waits, now=database_time(connection))


class Courier(Visitor):
    """Sends what is due for one destination."""

    kind = WAITS

    def __init__(self, delivery: ResultDelivery, destination: Destination, stop: threading.Event) -> None:
        super().__init__(delivery.database, delivery.options, destination, stop)
        self._delivery = delivery
        self._begun = False

    def send_due(self) -> int:
        """Returns how many were tried."""
        if not self._begun:
            self._end_quiet()
            self._begun = True
        tried = 0
        while self.may_go:
            taken = errands.take(
                self._database,
                (WAITS,),
                waiting.goes_to([self._destination.name]),
                now=time_of(self._database),
                lease_seconds=self._options.lease_seconds,
            )
            if taken is None:
                break
            tried += 1
            self.came_back(self._delivery.deliver(taken, self._destination, self.opened))
        return tried

    def _end_quiet(self) -> None:
        """What waits for the end of quiet hours waits for those of the settings in force, or for none."""
        with writing(self._database) as connection:
            now = database_time(connection)
            kept = select(errand.c.id, errand.c.payload).where(*waiting.kept_back_there(self._destination.name))
            for row in connection.execute(kept).all():
                try:
                    waits = WaitingResult.read(row.payload)
                    wanted = new_results.wanting(
                        connection, waits.instance, waits.bundle.digest, [self._destination], now
                    )
                except ValueError:  # another release wrote it, or a row of the score was altered
                    continue
                # One that is told no more is due, too: whoever takes it ends it.
                errands.wake(connection, errand.c.id == row.id, now=wanted[0][1] if wanted else now)


class Confirmer(Visitor):
    """Asks one destination whether it holds what it was sent."""

    kind = CONFIRM

    def __init__(self, confirmation: Confirmation, destination: Destination, stop: threading.Event) -> None:
        super().__init__(confirmation.database, confirmation.send, destination, stop)
        self._confirmation = confirmation

    def ask_due(self) -> int:
        """Returns how often it was asked."""
        asked = 0
        while self.may_go and (reason := self._confirmation.ask_due(self._destination, self.opened)) is not None:
            asked += 1
            self.came_back(reason)
        return asked


class Couriers:
    """All of a worker."""

    def __init__(
        self,
        delivery: ResultDelivery,
        destinations: Sequence[Destination],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Args: ended: called when all have stopped: what makes the objects may have processes of its own."""
        self._ended = ended
        self._delivery = delivery
        self._confirmation = Confirmation(database=delivery.database, send=delivery.options)
        self._names = [destination.name for destination in destinations]
        self._stop = threading.Event()
        self._each = [Courier(delivery, destination, self._stop) for destination in destinations]
        self._confirmers = [
            Confirmer(self._confirmation, destination, self._stop)
            for destination in destinations
            if destination.confirmable
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        tasks = [
            Periodic(name=f"results to {name}", seconds=LOOK_SECONDS, run=courier.send_due)
            for name, courier in zip(self._names, self._each, strict=True)
        ]
        tasks += [
            Periodic(name=f"results at {confirmer.goal}", seconds=LOOK_SECONDS, run=confirmer.ask_due)
            for confirmer in self._confirmers
        ]
        tasks.append(Periodic(name="results of removed destinations", seconds=SWEEP_SECONDS, run=self.sweep))
        self._threads = periodic.start(tasks, self._stop)

    def stop(self) -> None:
        """What is on its way is broken off; its lease passes, or it is due again."""
        self._stop.set()
        for visitor in (*self._each, *self._confirmers):
            visitor.hang_up()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._ended()

    def sweep(self) -> int:
        """Results for destinations that are in the settings no more are given up when they are old enough.

        Until then they are left as they are: another worker's settings may be newer, and its courier sends them.
        Returns how many were given up.
        """
        found, delivery = 0, self._delivery
        now = time_of(delivery.database)
        oldest = now - timedelta(hours=delivery.options.hours)
        while not self._stop.is_set() and (
            taken := errands.take(
                delivery.database,
                (WAITS,),
                ~waiting.goes_to(self._names),
                waiting.written_before(oldest),
                now=now,
                lease_seconds=delivery.options.lease_seconds,
            )
        ):
            found += 1
            with suppress(ValueError):  # of another release: it takes it
                delivery.failed(taken, waiting.read(taken), faults.NOT_CONFIGURED)
        while not self._stop.is_set() and (left := self._confirmation.leave(self._names)):
            found += left
        return found
