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
        if default and not any(bundle.role is Role.LIVE for bundle in rows):
            rows = [default, *(bundle for bundle in rows if bundle.digest != default.digest)]
        films = _films(connection)
        return [
            {
                "role": bundle.role.value,
                "name": bundle.name,
                "version": bundle.version,
                "digest": bundle.digest,
                "since": bundle.changed_at.isoformat() if bundle.changed_at else None,
                "by": bundle.changed_by,
                "films": {role.value: films.get((bundle.digest, role), 0) for role in (Role.LIVE, Role.SHADOW)},
                "skipped": films_skipped(connection, bundle.digest, bundle.changed_at)
                if bundle.role == Role.SHADOW
                else 0,
                "path": bundle.path,
            }
            for bundle in rows
        ]


def _films(connection: Connection) -> dict[tuple[str, Role], int]:
    counted = connection.execute(
        select(score.c.bundle_digest, score.c.role, func.count()).group_by(score.c.bundle_digest, score.c.role)
    )
    return {(digest, Role(role)): count for digest, role, count in counted}
