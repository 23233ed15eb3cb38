"""What `xrayq bundle status` shows: each bundle's place, and how many films it scored there."""

from typing import Any

from sqlalchemy import Connection, Engine, func, select

from worker.bundles.roles import Placed, placed
from worker.bundles.shadows import films_skipped
from worker.db.session import snapshot
from worker.db.tables import score
from worker.states import Role


def overview(engine: Engine, default: Placed | None) -> list[dict[str, Any]]:
    """Live first, then shadows, then the retired; JSON-ready.

    Args:
        default: the bundle of the settings, live while no row is.
    """
    with snapshot(engine) as connection:
        rows = placed(connection)
        if default and not any(one.role == Role.LIVE for one in rows):
            rows = [default, *(one for one in rows if one.digest != default.digest)]
        films = _films(connection)
        return [
            {
                "role": one.role.value,
                "name": one.name,
                "version": one.version,
                "digest": one.digest,
                "since": one.changed_at.isoformat() if one.changed_at else None,
                "by": one.changed_by,
                "films": {role.value: films.get((one.digest, role), 0) for role in (Role.LIVE, Role.SHADOW)},
                "skipped": films_skipped(connection, one.digest, one.changed_at) if one.role == Role.SHADOW else 0,
                "path": one.path,
            }
            for one in rows
        ]


def _films(connection: Connection) -> dict[tuple[str, str], int]:
    counted = connection.execute(
        select(score.c.bundle_digest, score.c.role, func.count()).group_by(score.c.bundle_digest, score.c.role)
    )
    return {(digest, role): count for digest, role, count in counted}
