"""What the relay does beside publishing, made from the settings."""

from typing import TYPE_CHECKING

from worker.periodic import Periodic

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.settings import Settings


def tasks(settings: "Settings", database: "Engine") -> list[Periodic]:
    del settings, database
    return []
