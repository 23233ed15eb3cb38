"""A corrected film that a person took out (`xrayq instance reject`): what was told of the film before it is taken back.

Where an earlier revision has a result, or one waits, this one has one, too: it was not analysed, a person took it out.
A PACS gets it as a report that replaces the earlier one, a RIS as a correction, a flag is withdrawn. A film of which
nothing was told yet tells nothing now.
"""

from datetime import datetime

from sqlalchemy import Connection, select

from worker.bundles.roles import PlacedBundle, placed
from worker.db.tables import instance
from worker.reporting import acceptance, new_results, order, told
from worker.reporting.destinations import Routes
from worker.reporting.resend import bundle_named
from worker.reporting.revisions import before


class TakeBack:
    """Called in the transaction that takes the film out."""

    def __init__(self, routes: Routes, *, not_analysed: bool, default: PlacedBundle | None) -> None:
        """
        Args:
            not_analysed: whether a film that was not analysed has a result; where it has none, flags alone are taken
                back.
            default: the bundle that is live while none is activated.
        """
        self._routes = routes
        self._not_analysed = not_analysed
        self._default = default

    def __call__(self, connection: Connection, instance_id: int, now: datetime) -> tuple[str, ...]:
        """Names of the destinations that are told. Raises NotFound where the bundle of the earlier result is not known
        here any more."""
        of_film = select(instance.c.calling_ae).where(instance.c.id == instance_id, new_results.has_result())
        calling_ae = connection.execute(of_film).scalar_one_or_none()
        if calling_ae is None or not acceptance.accepted(connection, [calling_ae]):
            return ()
        goals = [
            goal
            for goal in self._routes.of(calling_ae)
            if (self._not_analysed or goal.due((), now) is None)
            and order.has_earlier(connection, instance_id, goal.name)
        ]
        digest = self._bundle_of_earlier(connection, instance_id)
        wanted = new_results.wanting(connection, instance_id, digest, goals, now)
        if not wanted:
            return ()
        bundle = bundle_named(digest, [*placed(connection), *([self._default] if self._default else [])])
        new_results.write(connection, instance_id, wanted, bundle, now)
        return tuple(goal.name for goal, _ in wanted)

    @staticmethod
    def _bundle_of_earlier(connection: Connection, instance_id: int) -> str:
        """Of the newest revision that has a result; "" where none has."""
        newest_first = before(instance_id).order_by(instance.c.revision.desc())
        digests = (told.bundle_of(connection, key) for key in connection.execute(newest_first).scalars().all())
        return next(filter(None, digests), "")
