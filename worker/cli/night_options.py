"""What the nightly report needs, from the settings."""

from datetime import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.audit.night import Options
    from worker.audit.schedule import Plan
    from worker.settings import Settings


def night_options(settings: "Settings") -> "Options":
    from dicom_gateway.spool import MEBIBYTE
    from worker.audit.night import Options
    from worker.cli.drift import options_of

    return Options(
        zone=settings.zone,
        drift=options_of(settings),
        site=settings.site,
        spool=settings.spool_folder,
        reports=settings.reports,
        reserve_bytes=settings.spool_reserve_mib * MEBIBYTE,
        bundle=settings.bundle,
    )


def night_plan(settings: "Settings") -> "Plan":
    """Raises ValueError without a `report_time`."""
    from worker.audit.schedule import Plan
    from worker.cli.alarm_options import channels

    return Plan(
        database_url=settings.database,
        database_seconds=settings.database_timeout,
        at=time.fromisoformat(settings.report_time),
        folder=settings.reports,
        options=night_options(settings),
        channels=tuple(channels(settings)),
    )
