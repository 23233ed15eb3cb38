"""The one alarm that cannot be a row: that the database takes none. Sent from memory, by each relay."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from worker.alarms import ledger
from worker.alarms.change import AlarmState, Change, Send
from worker.db.causes import cause
from worker.errors import Undelivered, Unhealthy
from worker.queue.errands import Kind

log = logging.getLogger("xrayq.alarm")

RULE = "database"
PATIENCE = 300.0
"""Seconds: a restart or a failover takes less."""


class DatabaseWatch:
    """Looks at the live rules; where the database does not let it, it sends the alarm itself."""

    def __init__(self, look: Callable[[], object], sends: Mapping[Kind, Send], host: str, patience: float = PATIENCE):
        """
        Args:
            look: raises Unhealthy or an SQLAlchemyError where the database cannot be read or written.
            host: name of this machine; the database may be well where another stands.
            patience: seconds.
        """
        self._look = look
        self._sends = sends
        self._host = host
        self._patience = patience
        self._since: float | None = None
        self._raised: Change | None = None
        self._reached: set[Kind] = set()

    def __call__(self) -> None:
        try:
            self._look()
        except (Unhealthy, SQLAlchemyError) as error:
            self._away(str(error) if isinstance(error, Unhealthy) else cause(error))
            raise
        self._back()

    def _away(self, fault: str) -> None:
        self._since = time.monotonic() if self._since is None else self._since
        away = time.monotonic() - self._since
        if away < self._patience:
            return
        if self._raised is None:
            self._raised = self._change(AlarmState.RAISED, round(away), f"no film is accepted or scored: {fault}")
            ledger.tell([self._raised])
        for channel in self._sends.keys() - self._reached:
            if self._sent(channel, self._raised):
                self._reached.add(channel)

    def _back(self) -> None:
        self._since = None
        if self._raised is None:
            return
        over = self._change(AlarmState.CLEARED, self._raised.value, self._raised.text)
        self._reached -= {channel for channel in self._reached if self._sent(channel, over)}
        if not self._reached:
            self._raised = None
            ledger.tell([over])

    def _sent(self, channel: Kind, change: Change) -> bool:
        try:
            self._sends[channel](change)
        except Undelivered as failure:
            extra = {"channel": channel.value, "state": change.state, "reason": str(failure)}
            log.warning("cannot deliver, will try again", extra=extra)
            return False
        return True

    def _change(self, state: AlarmState, value: float, text: str) -> Change:
        return Change(
            alarm=0,
            rule=RULE,
            subject=self._host,
            state=state,
            value=value,
            threshold=self._patience,
            text=text,
            at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
