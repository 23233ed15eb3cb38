"""Where the results of which sender go, as XRAYQ_RESULTS_TO says."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.setting_values import ANY_SENDER, result_route


class Destination(Protocol):
    """Where results go. Each way there has an adapter in `worker.reporting.adapters`."""

    @property
    def name(self) -> str:
        """As errands, rows of what was sent, and messages have it: 128 characters at most, no secret."""

    @property
    def flagged_only(self) -> bool:
        """Whether only results with a flag go there."""


@dataclass(frozen=True, kw_only=True)
class StoreDestination:
    """A Storage SCP that results are sent to."""

    called_ae: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """AE@host:port"""
        return f"{self.called_ae}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def flagged_only(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Destinations by sender."""

    by_sender: dict[str, tuple[Destination, ...]]

    def of(self, calling_ae: str) -> tuple[Destination, ...]:
        """Where the results of this AE's films go; () where they go nowhere."""
        return self.by_sender.get(calling_ae, self.by_sender.get(ANY_SENDER, ()))

    @property
    def every(self) -> tuple[Destination, ...]:
        """Each destination once."""
        return tuple(dict.fromkeys(found for of_sender in self.by_sender.values() for found in of_sender))


def routes_of(texts: Sequence[str]) -> Routes:
    """The entries of the setting. Raises ValueError where one cannot be read."""
    by_sender: dict[str, list[Destination]] = defaultdict(list)
    for text in texts:
        sender, called_ae, host, port = result_route(text)
        by_sender[sender].append(StoreDestination(called_ae=called_ae, host=host, port=port))
    return Routes(by_sender={sender: tuple(found) for sender, found in by_sender.items()})
