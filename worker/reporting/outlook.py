"""What becomes of results here, in one line: for whoever starts the service, and for whoever asks how it is."""

from collections.abc import Sequence

from sqlalchemy import Connection

from worker.reporting import acceptance
from worker.reporting.destinations import Routes

MOST_NAMED = 6
ALL_SILENT = "every AE whose results would be sent is silent, see 'xrayq device list'"
OFF = "off: XRAYQ_RESULTS_TO is empty, so films are scored and no result is sent"


def outlook(connection: Connection, routes: Routes) -> str:
    """Whose results are sent, whose are not, and where they go."""
    if not routes.every:
        return OFF
    accepted = sorted(acceptance.accepted(connection))
    sending = [title for title in accepted if routes.of(title)]
    nowhere = [title for title in accepted if not routes.of(title)]
    lost = f"; accepted, but XRAYQ_RESULTS_TO names no destination for {_named(nowhere)}" if nowhere else ""
    if not sending:
        return f"none is sent: {ALL_SILENT}{lost}"
    goals = dict.fromkeys(goal.name for title in sending for goal in routes.of(title))
    return f"of {_named(sending)} are sent to {_named(list(goals))}; every other AE is silent{lost}"


def outlook_of_backfill(connection: Connection, routes: Routes, title: str) -> str:
    """What becomes of the results of films that a backfill fetches, and what to do where none is sent.

    Args:
        title: AE under which they come.
    """
    if not routes.every:
        return OFF
    goals = routes.of(title, backfilled=True)
    if not goals:
        setting = "XRAYQ_BACKFILL_RESULTS" if routes.of(title) else "XRAYQ_RESULTS_TO"
        return f"of films that come from {title} none is sent: {setting} names no destination for them"
    if not acceptance.accepted(connection, [title]):
        return (
            f"of films that come from {title} none is sent, it is silent: 'xrayq device accept {title} "
            "--without-evidence' first; those of films scored before go by 'xrayq report resend'"
        )
    return f"of films that come from {title} are sent to {_named([goal.name for goal in goals])}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
