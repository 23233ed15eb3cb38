"""Who reports to the AEs that asked: a thread for each that has an address, so that one that is away or hangs delays no
other."""

import threading
import time
from collections.abc import Mapping

from sqlalchemy import ColumnElement

from worker.committing import requests
from worker.committing.listing import NO_ROUTE
from worker.committing.report import Committing
from worker.committing.requests import ASKED
from worker.db.session import database_time, time_of, writing
from worker.db.tables import errand
from worker.queue import errands
from worker.queue.errands import Errand
from worker.queue.periodic import Periodic
from worker.queue.retry import back_off
from worker.reporting import faults
from worker.reporting.destinations import StoreDestination

LOOK_SECONDS, FORGET_SECONDS = 1.0, 3600.0
LONGEST_PAUSE = 60.0
"""Seconds for which an AE that takes no association is left alone."""


class Reporter:
    """Reports to one AE. One thread calls it."""

    def __init__(self, committing: Committing, peer: StoreDestination, stop: threading.Event) -> None:
        self._committing = committing
        self._peer = peer
        self._stop = stop
        self._failures = 0
        self._not_before = 0.0
        self._looked = False

    def report_due(self) -> int:
        """Returns how many were tried. At first all that waits is due: the address may be new."""
        if not self._looked:
            _wake(self._committing, self._peer.called_ae)
            self._looked = True
        tried = 0
        mine = errand.c.destination == self._peer.called_ae
        while not self._stop.is_set() and time.monotonic() >= self._not_before:
            taken = _take(self._committing, mine)
            if taken is None:
                break
            tried += 1
            self._came_back(self._committing.report_to(taken, self._peer))
        return tried

    def _came_back(self, reason: str) -> None:
        if faults.is_away(reason):
            self._failures += 1
            wait = back_off(self._committing.options.first_wait, self._failures, LONGEST_PAUSE)
            self._not_before = time.monotonic() + wait
        elif self._failures:
            self._failures = 0
            _wake(self._committing, self._peer.called_ae)


class Reporters:
    """All of a gateway."""

    def __init__(self, committing: Committing, peers: Mapping[str, StoreDestination], stop: threading.Event) -> None:
        """
        Args:
            peers: by AE title, where each that asks is reported to.
        """
        self._committing = committing
        self._peers = peers
        self._each = [Reporter(committing, peer, stop) for peer in peers.values()]

    def tasks(self) -> list[Periodic]:
        reports = [
            Periodic(name=f"storage commitment to {title}", seconds=LOOK_SECONDS, run=reporter.report_due)
            for title, reporter in zip(self._peers, self._each, strict=True)
        ]
        return [
            *reports,
            Periodic(name="storage commitment without an address", seconds=LOOK_SECONDS, run=self.put_off_the_others),
            Periodic(name="storage commitment of long ago", seconds=FORGET_SECONDS, run=self.forget),
        ]

    def put_off_the_others(self) -> int:
        """Requests of AEs without an address: they wait until they have one, or are too old. Returns how many."""
        found = 0
        while taken := _take(self._committing, errand.c.destination.not_in(list(self._peers))):
            found += 1
            self._committing.failed(requests.read(self._committing.database, taken), NO_ROUTE)
        return found

    def forget(self) -> None:
        database = self._committing.database
        requests.forget(database, time_of(database))


def _take(committing: Committing, which: ColumnElement[bool]) -> Errand | None:
    database = committing.database
    seconds = committing.options.lease_seconds
    return errands.take(database, (ASKED,), which, now=time_of(database), lease_seconds=seconds)


def _wake(committing: Committing, title: str) -> None:
    with writing(committing.database) as connection:
        mine = (errand.c.kind == ASKED, errand.c.destination == title)
        errands.wake(connection, *mine, now=database_time(connection))
