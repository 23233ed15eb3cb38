"""A result once more, because a person asks for it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from worker.audit import trail
from worker.audit.actions import Action
from worker.bundles.roles import PlacedBundle, in_service, placed
from worker.db.scores import of_instance
from worker.db.session import database_time, reading, writing
from worker.db.tables import errand, instance
from worker.errors import NotFound, WrongState
from worker.reporting import acceptance, faults, new_results, order, reported, told, waiting
from worker.reporting.destinations import Destination, Routes
from worker.reporting.waiting import LOST, WAITS, BundleName
from worker.states import Role, State


@dataclass(frozen=True, kw_only=True)
class Resent:
    """A result that waits anew, or that nobody wants any more."""

    instance: int
    destinations: tuple[Destination, ...]
    """() where it was replaced."""
    had: tuple[str, ...] = ()
    """Names of those of them that have something of it already."""
    replaced_by: int | None = None
    """The newer revision of the film, whose result counts: a PACS shows what came last."""

    def as_dict(self) -> dict[str, object]:
        names = [destination.name for destination in self.destinations]
        return {
            "instance": self.instance,
            "destinations": names,
            "had": list(self.had),
            "replaced_by": self.replaced_by,
        }


def undelivered(engine: Engine, routes: Routes) -> list[int]:
    """Instances of which a result was given up, or waits for a destination that the settings name no more, by id."""
    names = [destination.name for destination in routes.every]
    with reading(engine) as connection:
        left = (errand.c.kind == LOST) | (errand.c.kind == WAITS) & ~waiting.goes_to(names)
        return sorted(connection.execute(select(errand.c.instance_id).where(left).distinct()).scalars())


def resend(engine: Engine, instance_id: int, routes: Routes, *, default: PlacedBundle | None, actor: str) -> Resent:
    """Write the errands of an instance anew, for where its results go now. The objects are the same as before.

    Where a result of a newer revision of the film was sent or waits, nothing of this one waits any more.

    Args:
        default: the bundle that is live while none is activated.

    Raises:
        NotFound: no such instance; or its bundle is no more in service.
        WrongState: it has no result, its device is silent, or its results go nowhere.
    """
    with writing(engine) as connection:
        reported.lock(connection, [instance_id])
        row = _with_result(connection, instance_id)
        if not acceptance.accepted(connection, [row.calling_ae]):
            raise WrongState(f"{row.calling_ae} is silent: 'xrayq device accept {row.calling_ae}' first")
        if newer := order.newer(connection, instance_id):
            waiting.forget(connection, instance_id)
            detail = {"reason": faults.REPLACED, "replaced_by": newer}
            trail.record(
                connection, action=Action.RESULT_UNDELIVERED, instance_id=instance_id, actor=actor, detail=detail
            )
            return Resent(instance=instance_id, destinations=(), replaced_by=newer)
        destinations = routes.of(row.calling_ae, backfilled=row.backfilled)
        if not destinations and routes.of(row.calling_ae):
            raise WrongState(
                f"instance {instance_id} is of a backfill, whose results go nowhere by XRAYQ_BACKFILL_RESULTS"
            )
        if not destinations:
            raise WrongState(f"results of {row.calling_ae} go nowhere: XRAYQ_RESULTS_TO names no destination for it")
        bundle = _bundle(connection, instance_id, State(row.state), default)
        now = database_time(connection)
        wanted = new_results.wanting(connection, instance_id, bundle.digest, destinations, now)
        if not wanted:
            raise WrongState(f"instance {instance_id} has no flag that is told where results of {row.calling_ae} go")
        destinations = tuple(destination for destination, _ in wanted)
        waiting.forget(connection, instance_id)
        new_results.write(connection, instance_id, wanted, bundle, now)
        names = [destination.name for destination in destinations]
        had = tuple(name for name in names if told.was_sent(connection, instance_id, name))
        detail = {"bundle": bundle.digest, "destinations": names}
        trail.record(connection, action=Action.RESULT_RESENT, instance_id=instance_id, actor=actor, detail=detail)
    return Resent(instance=instance_id, destinations=destinations, had=had)


def bundle_of_result(connection: Connection, instance_id: int, default: PlacedBundle | None) -> BundleName:
    """Whose result an instance has. Raises as `resend`."""
    row = _with_result(connection, instance_id)
    return _bundle(connection, instance_id, State(row.state), default)


def _with_result(connection: Connection, instance_id: int) -> Row[Any]:
    """The row of an instance that has a result. Raises NotFound and WrongState."""
    row = connection.execute(select(instance).where(instance.c.id == instance_id)).one_or_none()
    if row is None:
        raise NotFound(f"no instance {instance_id}: 'xrayq instance list' shows ids and UIDs")
    query = select(instance.c.id).where(instance.c.id == instance_id, new_results.has_result())
    if connection.execute(query).first() is None:
        raise WrongState(f"instance {instance_id} is {row.state} and has no result to send")
    return row


def _bundle(connection: Connection, instance_id: int, state: State, default: PlacedBundle | None) -> BundleName:
    """Whose result it is: that of the score, of what was sent or waits; of a film without either the live one."""
    live = in_service(connection)[0] or default
    if state is State.INELIGIBLE:
        digest = told.bundle_of(connection, instance_id) or (live.digest if live else "")
    else:
        digest = next(score.bundle_digest for score in of_instance(connection, instance_id) if score.role is Role.LIVE)
    return bundle_named(digest, [*placed(connection), *([default] if default else [])])


def bundle_named(digest: str, known: Collection[PlacedBundle]) -> BundleName:
    """Raises NotFound where it is none of these."""
    for bundle in known:
        if bundle.digest == digest:
            return BundleName(digest=digest, name=bundle.name, version=bundle.version)
    raise NotFound(
        f"the bundle {digest[:12]} of this result was never activated here, and XRAYQ_BUNDLE names another: "
        "let it name that one for this command"
    )
