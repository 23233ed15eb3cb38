"""What `xrayq bundle status` shows: each bundle's place, and how many films it scored there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from worker.bundles.roles import PlacedBundle, placed
from worker.bundles.shadows import films_skipped
from worker.db.session import snapshot
from worker.db.tables import score
from worker.states import Role


@dataclass(frozen=True, kw_only=True)
class BundleOverview:
    """A bundle that is in service, or was."""

    role: Role
    name: str
    version: str
    digest: str
    since: datetime | None
    """None while no bundle was activated: the settings name it."""
    by: str
    films: dict[Role, int]
    """Films that it scored, as live and as shadow."""
    skipped: int
    """Films without a score of this shadow, since it is one."""
    path: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "role": self.role.value,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "since": self.since.isoformat() if self.since else None,
            "by": self.by,
            "films": {role.value: films for role, films in self.films.items()},
            "skipped": self.skipped,
            "path": self.path,
        }


def overview(engine: Engine, default: PlacedBundle | None) -> list[BundleOverview]:
    """Live first, then shadows, then the retired.

    Args:
        default: the bundle of the settings, live while no row is.
    """
    with snapshot(engine) as connection:
        bundles = placed(connection)
        if default and not any(bundle.role == Role.LIVE for bundle in bundles):
            bundles = [default, *(bundle for bundle in bundles if bundle.digest != default.digest)]
        films = _films(connection)
        return [
            BundleOverview(
                role=bundle.role,
                name=bundle.name,
                version=bundle.version,
                digest=bundle.digest,
                since=bundle.changed_at,
                by=bundle.changed_by,
                films={role: films.get((bundle.digest, role), 0) for role in (Role.LIVE, Role.SHADOW)},
                skipped=_skipped(connection, bundle),
                path=bundle.path,
            )
            for bundle in bundles
        ]


def _skipped(connection: Connection, bundle: PlacedBundle) -> int:
    return films_skipped(connection, bundle.digest, bundle.changed_at) if bundle.role == Role.SHADOW else 0


def _films(connection: Connection) -> dict[tuple[str, Role], int]:
    counted = connection.execute(
        select(score.c.bundle_digest, score.c.role, func.count()).group_by(score.c.bundle_digest, score.c.role)
    )
    return {(digest, Role(role)): count for digest, role, count in counted}
