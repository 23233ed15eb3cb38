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


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
