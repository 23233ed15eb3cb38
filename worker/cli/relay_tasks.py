"""What the relay does beside publishing, made from the settings."""

from typing import TYPE_CHECKING

from worker.periodic import Periodic

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.settings import Settings

NIGHT_SECONDS = 10.0


def tasks(settings: "Settings", database: "Engine") -> list[Periodic]:
    return [*_night(settings, database)]


def _night(settings: "Settings", database: "Engine") -> list[Periodic]:
    """The report of each day."""
    import logging
    from datetime import UTC, datetime
    from importlib.util import find_spec

    from worker.audit import nightly
    from worker.cli.night_options import night_plan

    if not settings.report_time:
        return []
    plan, able = night_plan(settings), find_spec("matplotlib") is not None
    if not able:  # the days are named all the same, so that the alarm for a late report is raised
        logging.getLogger("xrayq.relay").error("no nightly report: it needs matplotlib, pip install 'xrayq[report]'")

    def run() -> None:
        nightly.ensure_scheduled(database, plan, datetime.now(UTC))
        if able:
            nightly.run_due(database, plan, datetime.now(UTC))

    return [Periodic(name="night", seconds=NIGHT_SECONDS, run=run)]
