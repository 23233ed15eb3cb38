"""Where the results of which sender go, as XRAYQ_RESULTS_TO says."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from worker.reporting.telling import Telling
from worker.setting_values import ANY_SENDER, ResultRoute, commitment_route, result_route


class Destination(Protocol):
    """Where results go. Each way there has an adapter in `worker.reporting.adapters`."""

    @property
    def name(self) -> str:
        """As errands, rows of what was sent, and messages have it: 128 characters at most, no secret."""

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        """When a result with these flags may go there at the earliest; None where it does not go there.

        Args:
            flags: findings whose flag is up.
        """

    @property
    def confirmable(self) -> bool:
        """Whether it can be asked later if it holds what it took (`worker.reporting.confirm`). Where it cannot, as a
        receiver of messages, its answer to the sending is all there is."""


@dataclass(frozen=True, kw_only=True)
class StoreDestination:
    """A Storage SCP that results are sent to."""

    called_ae: str
    host: str
    port: int
    tls: bool = False

    @property
    def name(self) -> str:
        """AE@host:port, and tls: before it"""
        return f"{'tls:' if self.tls else ''}{self.called_ae}@{_bracketed(self.host)}:{self.port}"

    @property
    def confirmable(self) -> bool:
        return True

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        del flags
        return now


@dataclass(frozen=True, kw_only=True)
class Hl7Destination:
    """A receiver of HL7 v2 messages over MLLP, such as a RIS."""

    host: str
    port: int
    tls: bool = False

    @property
    def name(self) -> str:
        """mllp://host:port, and tls: before it"""
        return f"{'tls:' if self.tls else ''}mllp://{_bracketed(self.host)}:{self.port}"

    @property
    def confirmable(self) -> bool:
        return False

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        del flags
        return now


@dataclass(frozen=True, kw_only=True)
class WebhookDestination:
    """A URL that is told of flagged films."""

    url: str
    telling: Telling

    @property
    def name(self) -> str:
        """https://host#1a2b3c4d: path and query may hold a secret, and a digest tells two of a host apart."""
        parts = urlsplit(self.url)
        host = _bracketed(parts.hostname or "") + (f":{parts.port}" if parts.port else "")
        return f"{parts.scheme}://{host}#{hashlib.sha256(self.url.encode()).hexdigest()[:8]}"

    @property
    def confirmable(self) -> bool:
        return False

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        return self.telling.due(flags, now)


@dataclass(frozen=True, kw_only=True)
class MailDestination:
    """A mailbox that is told of flagged films."""

    address: str
    telling: Telling

    @property
    def name(self) -> str:
        """mailto:address"""
        return f"mailto:{self.address}"

    @property
    def confirmable(self) -> bool:
        return False

    def due(self, flags: Collection[str], now: datetime) -> datetime | None:
        return self.telling.due(flags, now)


class OfBackfills(StrEnum):
    """Where results of films go that a backfill fetched. Nobody is to be called at night for a flag of years ago."""

    PACS = "pacs"
    ALL = "all"
    NONE = "none"

    def wants(self, destination: Destination) -> bool:
        return self is OfBackfills.ALL or (self is OfBackfills.PACS and isinstance(destination, StoreDestination))


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Destinations by sender."""

    by_sender: dict[str, tuple[Destination, ...]]
    of_backfills: OfBackfills = OfBackfills.PACS

    def of(self, calling_ae: str, *, backfilled: bool = False) -> tuple[Destination, ...]:
        """Where the results of this AE's films go; () where they go nowhere.

        Args:
            backfilled: of those that a backfill fetched.
        """
        found = self.by_sender.get(calling_ae, self.by_sender.get(ANY_SENDER, ()))
        return tuple(goal for goal in found if not backfilled or self.of_backfills.wants(goal))

    @property
    def every(self) -> tuple[Destination, ...]:
        """Each destination once."""
        return tuple(dict.fromkeys(found for of_sender in self.by_sender.values() for found in of_sender))

    @property
    def called_aes(self) -> tuple[str, ...]:
        """AE titles of the Storage SCPs among them, each once."""
        stores = (found for found in self.every if isinstance(found, StoreDestination))
        return tuple(dict.fromkeys(found.called_ae for found in stores))


def called_ae_of(name: str) -> str:
    """The AE title in the name of a `StoreDestination`."""
    return name.removeprefix("tls:").rpartition("@")[0]


def routes_of(
    texts: Sequence[str], telling: Telling | None = None, of_backfills: OfBackfills = OfBackfills.PACS
) -> Routes:
    """The entries of the setting. Raises ValueError where one cannot be read.

    Args:
        telling: for webhooks and mail; None: every flag, at any time.
    """
    by_sender: dict[str, list[Destination]] = defaultdict(list)
    for text in texts:
        route = result_route(text)
        by_sender[route.sender].append(_destination(route, telling or Telling()))
    return Routes(by_sender={sender: tuple(found) for sender, found in by_sender.items()}, of_backfills=of_backfills)


def store_destinations(texts: Sequence[str]) -> dict[str, StoreDestination]:
    """The entries of XRAYQ_COMMITMENT_TO, by AE title. Raises ValueError where one cannot be read."""
    routes = map(commitment_route, texts)
    return {route.called: _store(route) for route in routes}


def _destination(route: ResultRoute, telling: Telling) -> Destination:
    if route.scheme in ("mllp", "tls:mllp"):
        return Hl7Destination(host=route.host, port=route.port, tls=route.scheme == "tls:mllp")
    if route.scheme == "mailto":
        return MailDestination(address=route.address, telling=telling)
    if route.scheme in ("http", "https"):
        return WebhookDestination(url=route.address, telling=telling)
    return _store(route)


def _store(route: ResultRoute) -> StoreDestination:
    return StoreDestination(called_ae=route.called, host=route.host, port=route.port, tls=route.scheme == "tls")


def _bracketed(host: str) -> str:
    """An IPv6 address in brackets, any other host as it is."""
    return f"[{host}]" if ":" in host else host
