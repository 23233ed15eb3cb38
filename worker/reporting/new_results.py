"""Films that ended: their results are written for sending, in the transaction that ends them.

So there is exactly one errand of each, whatever is killed. Redis has no part in it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from importlib.metadata import version

from sqlalchemy import ColumnElement, Connection, select

from model.bundle import Bundle
from worker.db.scores import of_instance as scores_of
from worker.db.tables import instance
from worker.reporting import acceptance, faults
from worker.reporting.destinations import Destination, Routes
from worker.reporting.waiting import WAITS, BundleName, WaitingResult, add
from worker.reporting.withdrawn import flags_told
from worker.states import State


class ResultErrands:
    """Writes the errands of films that end."""

    def __init__(self, routes: Routes, *, not_analysed: bool) -> None:
        """
        Args:
            not_analysed: a film that the gate refused has a result too, which says so.
        """
        self._routes = routes
        self._states = (State.SCORED, State.INELIGIBLE) if not_analysed else (State.SCORED,)

    def __call__(self, connection: Connection, ids: Collection[int], bundle: Bundle, now: datetime) -> None:
        """For those of these films that ended with a result, of accepted AEs. In the transaction that ended them."""
        columns = (instance.c.id, instance.c.calling_ae, instance.c.state, instance.c.backfilled)
        ended = (State.SCORED, State.INELIGIBLE)
        rows = connection.execute(select(*columns).where(has_result(ended), instance.c.id.in_(ids))).all()
        accepted = acceptance.accepted(connection, {row.calling_ae for row in rows})
        for row in rows:
            if row.calling_ae in accepted:
                goals = self._routes.of(row.calling_ae, backfilled=row.backfilled)
                if row.state not in self._states:  # it has no result, but may take one back
                    goals = tuple(goal for goal in goals if goal.due((), now) is None)
                wanted = wanting(connection, row.id, bundle.digest, goals, now)
                write(connection, row.id, wanted, BundleName.of(bundle), now)


def wanting(
    connection: Connection, instance_id: int, bundle_digest: str, destinations: Sequence[Destination], now: datetime
) -> list[tuple[Destination, datetime]]:
    """Those of the destinations that want a film's result, and when it may go there at the earliest.

    One that is told of flags alone wants it, too, where a flag that it was told of is taken back; as soon as that flag.
    """
    flags: tuple[str, ...] = ()
    if any(destination.due((), now) is None for destination in destinations):
        flags = tuple(
            name
            for found in scores_of(connection, instance_id)
            if found.bundle_digest == bundle_digest
            for name, finding in found.findings.items()
            if finding.flag
        )
    times = [
        (
            goal,
            goal.due(flags, now) or goal.due(flags_told(connection, instance_id, goal.name, on_its_way=True), now),
        )
        for goal in destinations
    ]
    return [(destination, due) for destination, due in times if due is not None]


def has_result(states: Sequence[State] = (State.SCORED, State.REPORTED, State.INELIGIBLE)) -> ColumnElement[bool]:
    """Films that ended for good, and whose study and series are known: an object without a study has no place."""
    known = (instance.c.study_instance_uid != "") & (instance.c.series_instance_uid != "")
    return instance.c.state.in_(states) & instance.c.is_film & instance.c.admitted & known


def write(
    connection: Connection,
    instance_id: int,
    wanted: Sequence[tuple[Destination, datetime]],
    bundle: BundleName,
    now: datetime,
) -> None:
    """One errand for each destination, unless it waits already.

    Args:
        wanted: of `wanting`.
    """
    for destination, due in wanted:
        waits = WaitingResult(
            instance=instance_id,
            bundle=bundle,
            software_version=software_version(),
            destination=destination.name,
            since=due,
            written=now if due > now else None,
            reason=faults.QUIET if due > now else "",
        )
        add(connection, WAITS, waits, due)


def software_version() -> str:
    """Ours."""
    return version("xrayq")
