"""Bundles in service: which is live, which are shadows, and each change of it with its audit event.

While no row is live, the bundle of the settings is: XRAYQ_BUNDLE, or the shipped reference.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from model import bundle as bundles
from model.bundle import MANIFEST, SHIPPED, Bundle
from model.errors import BundleError
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, reading, writing
from worker.db.tables import audit_event, deployment
from worker.errors import NotFound, WrongState
from worker.states import Role

SHORTEST_PREFIX = 6


ACTIONS: dict[Role, Action] = {
    Role.LIVE: Action.BUNDLE_ACTIVATED,
    Role.SHADOW: Action.BUNDLE_SHADOWED,
    Role.RETIRED: Action.BUNDLE_RETIRED,
}
"""The audit event of each change; its detail has `old`, the digest that was live or shadow, and `new`."""


@dataclass(frozen=True, kw_only=True)
class PlacedBundle:
    """A bundle and its place."""

    digest: str
    name: str
    version: str
    path: str
    """Name of a shipped bundle, or a folder that is the same on every worker."""
    role: Role
    changed_at: datetime | None
    """None for the bundle of the settings."""
    changed_by: str


def path_of(path: str) -> Path:
    """The folder of a shipped bundle's name, or of a path."""
    shipped = SHIPPED / path
    return shipped if (shipped / MANIFEST).is_file() else Path(path)


def open_bundle(placed: PlacedBundle) -> Bundle:
    """The bundle where it was placed. Raises BundleError when it is not whole, or another."""
    bundle = bundles.load(path_of(placed.path))
    if bundle.digest != placed.digest:
        raise BundleError(f"{placed.path} holds bundle {bundle.digest[:12]}, not {placed.digest[:12]}")
    return bundle


def placed_bundle(bundle: Bundle) -> PlacedBundle:
    """A bundle that is in no row yet, as live."""
    shipped = bundle.path.parent == SHIPPED
    return PlacedBundle(
        digest=bundle.digest,
        name=bundle.name,
        version=bundle.version,
        path=bundle.path.name if shipped else str(bundle.path),
        role=Role.LIVE,
        changed_at=None,
        changed_by="settings",
    )


def by_settings(path: Path | None) -> PlacedBundle:
    """The bundle of the settings, None for the shipped reference. Raises BundleError when it is not whole."""
    return placed_bundle(bundles.load(path or bundles.REFERENCE))


def default_of(path: Path | None) -> PlacedBundle | None:
    """As `by_settings`; None where it is broken, which matters only while it is live."""
    try:
        return by_settings(path)
    except BundleError:
        return None


def placed(connection: Connection) -> list[PlacedBundle]:
    """Every row: live, then shadows by their time, then the retired, newest first."""
    every = [_placed(row) for row in connection.execute(select(deployment).order_by(deployment.c.changed_at))]
    retired = [bundle for bundle in every if bundle.role is Role.RETIRED]
    live, shadows = ([bundle for bundle in every if bundle.role is role] for role in (Role.LIVE, Role.SHADOW))
    return [*live, *shadows, *reversed(retired)]


def in_service(connection: Connection, *, lock: bool = False) -> tuple[PlacedBundle | None, list[PlacedBundle]]:
    """The live row, None while the settings decide, and the shadows.

    Args:
        lock: keep others from changing these rows until the transaction ends.
    """
    query = select(deployment).where(deployment.c.role != Role.RETIRED).order_by(deployment.c.changed_at)
    serving = [_placed(row) for row in connection.execute(query.with_for_update() if lock else query)]
    live = next((bundle for bundle in serving if bundle.role is Role.LIVE), None)
    return live, [bundle for bundle in serving if bundle.role is Role.SHADOW]


def live_digest(connection: Connection, default: Path | None) -> str:
    """Digest of the live bundle; "" where the settings decide and theirs cannot be opened here.

    Args:
        default: the settings' bundle; None for the shipped reference.
    """
    live, _ = in_service(connection)
    try:
        return (live or by_settings(default)).digest
    except BundleError:
        return ""


def open_by_digest(engine: Engine, digest: str, default: Path | None) -> Bundle:
    """The bundle of this digest, of a row or of the settings. Raises BundleError where it is not here, or not whole.

    Args:
        default: the settings' bundle; None for the shipped reference.
    """
    with reading(engine) as connection:
        rows = [bundle for bundle in placed(connection) if bundle.digest == digest]
    bundle = open_bundle(rows[0]) if rows else bundles.load(default or bundles.REFERENCE)
    if bundle.digest != digest:
        raise BundleError(f"bundle {digest[:12]} is in no row and in no setting")
    return bundle


def find(engine: Engine, prefix: str) -> PlacedBundle | None:
    """The row whose digest begins so; None when none does or it is no digest. Raises NotFound when several do."""
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", prefix):
        return None
    with reading(engine) as connection:
        fitting = [bundle for bundle in placed(connection) if bundle.digest.startswith(prefix)]
    if len(fitting) > 1:
        raise NotFound(f"{len(fitting)} bundles begin with {prefix}: give more of the digest")
    return fitting[0] if fitting else None


def activate(
    engine: Engine, new: PlacedBundle, *, default: PlacedBundle | None, actor: str, rollback: bool = False
) -> str | None:
    """Make a bundle live; the one before it retires. Returns the digest of the one before.

    Args:
        new: verified by the caller.
        default: the bundle of the settings, which retires when nothing was activated before; None where it is broken.
        rollback: take one activation back.

    Raises:
        WrongState: it is live already, or somebody else activated another meanwhile.
    """
    try:
        with writing(engine) as connection:
            live, _ = in_service(connection, lock=True)
            before = live or default
            if live and (live.digest, live.path) == (new.digest, new.path):  # in another folder it may be wanted again
                raise WrongState(f"bundle {new.digest[:12]} is live already")
            if before and before.digest != new.digest:
                _put(connection, before, Role.RETIRED, actor)
            _put(connection, new, Role.LIVE, actor)
            old = before.digest if before else None
            detail = {"old": old, "new": new.digest} | ({"rollback": True} if rollback else {})
            trail.record(connection, action=ACTIONS[Role.LIVE], instance_id=None, actor=actor, detail=detail)
            return old
    except IntegrityError:  # the unique index on live
        raise WrongState("another bundle was activated meanwhile: see 'xrayq bundle status'") from None


def shadow(engine: Engine, new: PlacedBundle, *, default: PlacedBundle | None, actor: str) -> None:
    """Let a verified bundle score silently. Raises WrongState when it is live or a shadow already.

    Args:
        default: the bundle of the settings, live while none is activated.
    """
    with writing(engine) as connection:
        live, shadows = in_service(connection, lock=True)
        if new.digest in {bundle.digest for bundle in (live or default, *shadows) if bundle}:
            raise WrongState(f"bundle {new.digest[:12]} is live or a shadow already: see 'xrayq bundle status'")
        _put(connection, new, Role.SHADOW, actor)
        _record(connection, Role.SHADOW, actor, old=None, new=new.digest)


def retire(engine: Engine, digest: str, actor: str) -> None:
    """Take a shadow out of service. Raises WrongState for a bundle that is not one."""
    with writing(engine) as connection:
        _, shadows = in_service(connection, lock=True)
        retiring = next((bundle for bundle in shadows if bundle.digest == digest), None)
        if retiring is None:
            raise WrongState(
                f"bundle {digest[:12]} is no shadow: a live one retires when another is activated or it is rolled back"
            )
        _put(connection, retiring, Role.RETIRED, actor)
        _record(connection, Role.RETIRED, actor, old=digest, new=None)


def before_live(engine: Engine) -> PlacedBundle:
    """The live bundle before, by the audit trail: each rollback takes one activation back.

    Raises WrongState when there is none.
    """
    with reading(engine) as connection:
        details = connection.execute(
            select(audit_event.c.detail).where(audit_event.c.action == ACTIONS[Role.LIVE]).order_by(audit_event.c.id)
        ).scalars()
        before: list[str | None] = []
        for detail in details:
            if detail.get("rollback"):
                before.pop()
            elif detail["old"] != detail["new"]:  # the bundle of the settings made live by name
                before.append(detail["old"])
        by_digest = {bundle.digest: bundle for bundle in placed(connection)}
    digest = before[-1] if before else None
    if digest is None or digest not in by_digest:
        raise WrongState("no live bundle before this one is on record: 'xrayq bundle activate' takes any")
    return by_digest[digest]


def _put(connection: Connection, bundle: PlacedBundle, role: Role, actor: str) -> None:
    values = {
        "name": bundle.name,
        "version": bundle.version,
        "path": bundle.path,
        "role": role,
        "changed_at": database_time(connection),
        "changed_by": actor,
    }
    changed = connection.execute(update(deployment).where(deployment.c.bundle_digest == bundle.digest).values(**values))
    if not changed.rowcount:
        connection.execute(insert(deployment), values | {"bundle_digest": bundle.digest})


def _record(connection: Connection, role: Role, actor: str, **detail: str | None) -> None:
    trail.record(connection, action=ACTIONS[role], instance_id=None, actor=actor, detail=dict(detail))


def _placed(row: Row[tuple[object, ...]]) -> PlacedBundle:
    return PlacedBundle(
        digest=row.bundle_digest,
        name=row.name,
        version=row.version,
        path=row.path,
        role=Role(row.role),
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )
