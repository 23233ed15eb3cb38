"""python -m worker.nightly.child: makes one report, beside the relay and not in it.

What matplotlib and a hundred thousand films take of memory goes away with this process, and it is nice: the relay's
publishing is not slowed. It gets an `Order` by standard input (a database URL may hold a password, which no list of
processes should show), writes the report's files and a `ReportSummary`, and ends with the relay, however that ends.
"""

import os
import pickle
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy.exc import OperationalError

from worker.audit.actions import Actor
from worker.db.causes import cause
from worker.db.session import DATABASE_SECONDS
from worker.db.span import Span
from worker.errors import WorkerError
from worker.lifetime import end_with_parent
from worker.monitoring.drift_reference import freeze_missing
from worker.nightly.content import NightOptions
from worker.nightly.summary import summary_of
from worker.pacs.ask import ask_for_night

NICE = 10
TRY_AGAIN = 75
"""Exit code when a disk or a database is at fault and not the day: EX_TEMPFAIL of sysexits.h."""

TOOK_TOO_LONG = "57014"
"""Of PostgreSQL, a statement was cancelled: of a day that holds too much it will be the next time too."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the child needs to make one report."""

    database_url: str
    database_seconds: float = DATABASE_SECONDS
    """After which a silent one is given up; see `session.make_engine`."""
    day: date
    options: NightOptions
    folder: Path
    """Exists; gets the files."""
    summary: Path
    """File that gets the pickled `ReportSummary`."""
    parent: int
    """Process that waits for the report."""


def main() -> int:
    """Make the report that standard input orders. Why there is no report goes to standard output.

    Returns:
        The exit code: 0; TRY_AGAIN; or 1 where what the day holds may be the cause.
    """
    try:
        order: Order = pickle.load(sys.stdin.buffer)  # from our own parent
    except Exception as error:  # noqa: BLE001 - the parent is of another release: it is no fault of the day
        print(f"the order cannot be read: {type(error).__name__}")  # noqa: T201 - the parent logs it
        return TRY_AGAIN
    end_with_parent()
    if os.getppid() != order.parent:  # it ended before we asked to end with it
        return 1
    os.nice(NICE)
    try:
        from worker.db import schema
        from worker.nightly.files import write_report  # brings matplotlib

        engine = schema.connect(order.database_url, order.database_seconds)
        span = Span.of_day(order.day, order.options.zone)
        if order.options.ask:
            ask_for_night(engine, order.day, order.options.ask)
        freeze_missing(engine, span, films=order.options.drift.reference_films, actor=Actor.RELAY)
        report = write_report(engine, order.day, order.options, order.folder)
        order.summary.write_bytes(pickle.dumps(summary_of(report)))
    except WorkerError as error:
        print(error)  # noqa: T201 - the parent logs it
        return TRY_AGAIN
    except OperationalError as error:
        print(cause(error))  # noqa: T201
        return 1 if getattr(error.orig, "sqlstate", None) == TOOK_TOO_LONG else TRY_AGAIN
    except OSError as error:
        print(type(error).__name__)  # noqa: T201
        return TRY_AGAIN
    except Exception as error:  # noqa: BLE001 - the process's edge; a message could quote what it tripped over
        print(type(error).__name__)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
