"""What the pages of operations are made with, and the looks that all browsers share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from model.bundle import Bundle
from model.errors import BundleError
from worker.bundles.roles import PlacedBundle, in_service, open_bundle
from worker.db.session import reading
from worker.errors import NotFound, Unhealthy, WorkerError, WrongState
from worker.peers.deciding import CompareFilms
from worker.reporting.destinations import Routes
from worker.reporting.taken_out import TakeBack
from worker.status.snapshot import StatusOptions
from worker.web.operations.look import Overview, OverviewReader, PeersLook, look_at_peers
from worker.web.operations.shared import Shared
from worker.web.page import Ask

MOST_AT_ONCE = 500
"""Films that one form requeues, rejects or sends: each is a transaction of its own, some milliseconds."""


@dataclass(frozen=True, kw_only=True)
class OperationsOptions:
    """From the settings."""

    status: StatusOptions
    routes: Routes
    """Where results go."""
    default: PlacedBundle | None
    """The bundle of the settings, live while none is activated; None where it cannot be opened."""
    take_back: TakeBack
    compare: Callable[[], AbstractContextManager[CompareFilms]]
    """Compares films of the spool, as `worker.processes.parts.film_comparison`."""
    margin: float
    """Of the rule by which an AE is accepted."""
    strangers: str
    """What becomes of unknown peers, in words."""


class Operations:
    """Belongs to a `Site`."""

    def __init__(self, database: Engine, options: OperationsOptions) -> None:
        self._database = database
        self.options = options
        self.overview: Shared[Overview] = Shared(OverviewReader(database, options.status, options.routes).look)
        self.peers: Shared[PeersLook] = Shared(lambda: look_at_peers(database, self.live))
        self._opened: dict[str, Bundle] = {}

    def live(self, connection: Connection) -> PlacedBundle | None:
        """None where that of the settings is live, and cannot be opened."""
        return in_service(connection)[0] or self.options.default

    def live_bundle(self) -> Bundle:
        """The live bundle; all of its files are digested once. Raises Unhealthy where it is not here."""
        with reading(self._database) as connection:
            live = self.live(connection)
        if live is None:
            raise Unhealthy("the bundle of the settings cannot be opened here: 'xrayq bundle status'")
        if live.digest not in self._opened:
            try:
                self._opened = {live.digest: open_bundle(live)}
            except BundleError as error:
                raise Unhealthy(f"the live bundle cannot be opened here: {error}") from None
        return self._opened[live.digest]

    def changed(self) -> None:
        """A person did something: it is seen at once."""
        self.overview.forget()
        self.peers.forget()


def of(ask: Ask) -> Operations:
    """Raises NotFound where this site has none."""
    if ask.site.operations is None:
        raise NotFound("operations are not served here")
    return ask.site.operations


def status_of(error: WorkerError) -> int:
    """Of a page that says why something was not done."""
    return 404 if isinstance(error, NotFound) else 409 if isinstance(error, WrongState) else 400
