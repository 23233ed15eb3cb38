"""What the relay does beside publishing, made from the settings."""

from functools import partial
from typing import TYPE_CHECKING

from worker.periodic import Periodic

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.settings import Settings

DELIVERY_SECONDS = 2.0


def tasks(settings: "Settings", database: "Engine") -> list[Periodic]:
    return _alarms(settings, database)


def _alarms(settings: "Settings", database: "Engine") -> list[Periodic]:
    """One that looks at the rules, and one for each channel, so that a mail server that hangs delays no webhook."""
    from worker.alarms import live
    from worker.alarms.deliver import DeliveryOptions, deliver_due, not_configured
    from worker.cli.alarm_options import channels, limits
    from worker.errands import Kind

    sends = channels(settings)
    options = DeliveryOptions(attempts=settings.delivery_attempts)
    look = partial(live.watch, database, limits(settings), tuple(sends))
    return [
        Periodic(name="alarms", seconds=settings.alarm_seconds, run=look),
        *(
            Periodic(
                name=f"alarms by {kind}",
                seconds=DELIVERY_SECONDS,
                run=partial(deliver_due, database, kind, sends.get(kind, not_configured), options),
            )
            for kind in (Kind.MAIL, Kind.WEBHOOK)
        ),
    ]
