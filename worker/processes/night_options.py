"""What the nightly report needs, from the settings."""

from datetime import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.monitoring.drift_result import DriftOptions
    from worker.nightly.content import NightOptions
    from worker.nightly.schedule import NightlySchedule
    from worker.settings import Settings


def night_options(settings: "Settings") -> "NightOptions":
    from dicom_gateway.spool import MEBIBYTE
    from worker.nightly.content import NightOptions
    from worker.processes.ask_options import ask_options

    return NightOptions(
        zone=settings.zone,
        drift=drift_options(settings),
        site=settings.site,
        spool=settings.spool_folder,
        reports=settings.reports,
        reserve_bytes=settings.spool_reserve_mib * MEBIBYTE,
        bundle=settings.bundle,
        ask=ask_options(settings),
    )


def night_plan(settings: "Settings") -> "NightlySchedule":
    """Raises ValueError without a `report_time`."""
    from worker.nightly.schedule import NightlySchedule
    from worker.processes.alarm_options import channels

    return NightlySchedule(
        database_url=settings.database,
        database_seconds=settings.database_timeout,
        at=time.fromisoformat(settings.report_time),
        folder=settings.reports,
        options=night_options(settings),
        channels=tuple(channels(settings)),
        silence_on=settings.silence_on,
    )


def drift_options(settings: "Settings") -> "DriftOptions":
    from worker.monitoring.drift_result import DriftOptions

    return DriftOptions(
        reference_films=settings.drift_reference_films,
        least_films=settings.drift_least_films,
        alpha=settings.drift_alpha,
        psi=settings.drift_psi,
    )
