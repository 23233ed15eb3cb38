"""One look at the database, every two seconds while somebody is told of changes, for all open browsers."""

import logging
import threading
from time import monotonic

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from worker.audit.actions import Action
from worker.db.session import reading
from worker.db.tables import audit_event
from worker.web.turns import Places

log = logging.getLogger("xrayq.web")

LOOK_SECONDS = 2.0
MOST_STREAMS = 128
"""At once. The next is told 503; its page asks every 30 s by itself, as all do."""
OF_ONE = 8
"""Streams of one browser: over HTTP/1.1 it opens six connections to a site in all."""
NEWEST = (
    select(audit_event.c.id)
    .where(audit_event.c.action != Action.FILM_VIEWED)
    .order_by(audit_event.c.id.desc())
    .limit(1)
)
"""A look at a film changes no worklist."""


class Changes:
    """The number of the newest audit event: each change of state leaves one in its own transaction."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._streams, self._looks = Places(most=MOST_STREAMS, of_one=OF_ONE), False
        self._number, self._looked_at = 0, -LOOK_SECONDS

    @property
    def number(self) -> int:
        """As of the last look."""
        return self._number

    def recent(self) -> int:
        """At most LOOK_SECONDS old: pages that are refreshed together share one view. Raises SQLAlchemyError."""
        return self._number if monotonic() - self._looked_at < LOOK_SECONDS else self.look()

    def look(self) -> int:
        """Now. Raises SQLAlchemyError."""
        begun = monotonic()
        with reading(self._database) as connection:
            self._number = connection.execute(NEWEST).scalar_one_or_none() or 0
        self._looked_at = begun
        return self._number

    def enter(self, whose: str | None) -> bool:
        """Whether there is room for one more stream of this browser (`Ask.browser`)."""
        with self._lock:
            if not self._streams.enter(whose):
                return False
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._keep_looking, name="changes", daemon=True).start()
        return True

    def leave(self, whose: str | None) -> None:
        with self._lock:
            self._streams.leave(whose)

    def _keep_looking(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._streams.taken:
                    self._looks = False
                    return
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("the database did not answer", extra={"reason": type(error).__name__})
            pause.wait(LOOK_SECONDS)
