"""A corrected film that a person took out (`xrayq instance reject`): what was told of the film before it is taken back.

Where an earlier revision has a result, or one waits, this one has one, too: it was not analysed, a person took it out.
A PACS gets it as a report that replaces the earlier one, a RIS as a correction, a flag is withdrawn. A film of which
nothing was told yet tells nothing now. It goes to every destination that has something of the film, or for which it
waits, though the correction came from another sender.
"""

from datetime import datetime

from sqlalchemy import Connection, select

from worker.bundles.roles import PlacedBundle, in_service, placed
from worker.db.tables import instance
from worker.instances import TakenBack
from worker.reporting import acceptance, new_results, order, told
from worker.reporting.destinations import Routes
from worker.reporting.revisions import before
from worker.reporting.waiting import BundleName


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

    def __call__(self, connection: Connection, instance_id: int, now: datetime) -> TakenBack:
        of_film = select(instance.c.id).where(instance.c.id == instance_id, new_results.has_result())
        if connection.execute(of_film).first() is None:
            return TakenBack()
        had = told.had_by(connection, before(instance_id))
        if not had or not acceptance.accepted(connection, order.senders(connection, instance_id)):
            return TakenBack()
        goals = [
            goal
            for goal in self._routes.every
            if goal.name in had and (self._not_analysed or goal.due((), now) is None)
        ]
        gone = had - {goal.name for goal in self._routes.every}
        digest = self._bundle_of_earlier(connection, instance_id)
        wanted = new_results.wanting(connection, instance_id, digest, goals, now)
        names = tuple(goal.name for goal, _ in wanted)
        if not (bundle := self._named(connection, digest)):
            return TakenBack(not_told=(*names, *sorted(gone)))
        new_results.write(connection, instance_id, wanted, bundle, now)
        return TakenBack(told=names, not_told=tuple(sorted(gone)))

    def _named(self, connection: Connection, digest: str) -> BundleName | None:
        """The bundle; where it is not known here any more, the live one: what is told holds no score of it."""
        known = [*placed(connection), *([self._default] if self._default else [])]
        live = in_service(connection)[0] or self._default
        found = next((bundle for bundle in known if bundle.digest == digest), live)
        return BundleName(digest=found.digest, name=found.name, version=found.version) if found else None

    @staticmethod
    def _bundle_of_earlier(connection: Connection, instance_id: int) -> str:
        """Of the newest revision that has a result; "" where none has."""
        newest_first = before(instance_id).order_by(instance.c.revision.desc())
        digests = (told.bundle_of(connection, key) for key in connection.execute(newest_first).scalars().all())
        return next(filter(None, digests), "")
