"""What the two pages show that refresh themselves: the overview, and the peers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from worker.alarms.ledger import ListedAlarm, listed
from worker.bundles.roles import PlacedBundle
from worker.db.session import snapshot
from worker.peers import table
from worker.peers.quarantine import HeldSender, held_senders
from worker.reporting.acceptance import Device, devices
from worker.reporting.destinations import Routes
from worker.reporting.listing import ListedResult, undone
from worker.reporting.not_arrived import DestinationResults, by_destination
from worker.status.flow import DeadLetters, dead_letters_by_reason
from worker.status.snapshot import Snapshot, StatusOptions, StatusReader

MOST_RESULTS = 50
"""Of those that wait or failed."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One look at all of the service."""

    snapshot: Snapshot
    alarms: tuple[ListedAlarm, ...] = ()
    """Open ones, those that nobody acknowledged first."""
    dead_letters: tuple[DeadLetters, ...] = ()
    destinations: tuple[DestinationResults, ...] = ()
    results: tuple[ListedResult, ...] = ()
    """The first MOST_RESULTS."""


class OverviewReader:
    """Looks again and again."""

    def __init__(self, database: Engine, status: StatusOptions, routes: Routes) -> None:
        self._database = database
        self._status = StatusReader(status)
        self._names = tuple(destination.name for destination in routes.every)

    def look(self) -> Overview:
        """Whatever is away: a snapshot says so."""
        found = self._status.look()
        if found.stored is None:
            return Overview(snapshot=found)
        try:
            with snapshot(self._database, long=False) as connection:
                alarms = sorted(listed(connection, cleared=False), key=lambda alarm: alarm.acknowledged is not None)
                return Overview(
                    snapshot=found,
                    alarms=tuple(alarms),
                    dead_letters=dead_letters_by_reason(connection),
                    destinations=by_destination(connection),
                    results=tuple(undone(connection, self._names, limit=MOST_RESULTS)),
                )
        except SQLAlchemyError:  # it went away after the first look, and the next says so
            return Overview(snapshot=found)


@dataclass(frozen=True, kw_only=True)
class PeersLook:
    """Who may come, who came, and whose results are sent."""

    at: datetime
    peers: tuple[table.ListedPeer, ...]
    held: tuple[HeldSender, ...]
    devices: tuple[Device, ...]
    live: str
    """Digest of the live bundle, "" where it is not known."""


def look_at_peers(database: Engine, live_of: Callable[[Connection], PlacedBundle | None]) -> PeersLook:
    """Raises SQLAlchemyError."""
    peers = table.listed(database)
    with snapshot(database, long=False) as connection:
        live = live_of(connection)
        return PeersLook(
            at=datetime.now(UTC),
            peers=tuple(peers),
            held=tuple(held_senders(connection)),
            devices=tuple(devices(connection)),
            live=live.digest if live else "",
        )
