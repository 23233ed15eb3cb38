"""Failed sign-ins in the audit trail and the log. Only so many a minute: who tries fills neither.

Guesses at the password of somebody whom we know are all there: as many as `attempts` lets be made for one name. A name
that is unknown is not kept: people type passwords into the wrong field.
"""

import logging
import threading
import time
from collections import Counter

from sqlalchemy import Engine

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import writing
from worker.web.signing_in.attempts import OF_NAME

log = logging.getLogger("xrayq.web")

UNKNOWN = "unknown"
TOO_MANY = "too_many"
A_MINUTE = 20
"""Of all who are unknown; and of all who are told to wait."""


class Failures:
    """Writes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._minute = self._left_out = 0
        self._told = Counter[tuple[bool, str | None]]()

    def tell(self, why: str, *, address: str, person: str | None = None) -> None:
        """
        Args:
            why: a code such as `wrong_password`. TOO_MANY spends nothing of what the others may have.
            person: whose name it is, where there is such a person.
        """
        with self._lock:
            minute = int(time.monotonic() // 60)
            if minute != self._minute:
                self._minute = minute
                self._told.clear()
            of = why == TOO_MANY, person
            if self._told[of] >= (OF_NAME if person else A_MINUTE):
                self._left_out += 1
                return
            self._told[of] += 1
            left_out, self._left_out = self._left_out, 0
        log.warning("sign-in refused", extra={"reason": why, "peer": address})
        detail = {"reason": why, "address": address} | ({"left_out_before": left_out} if left_out else {})
        actor = f"operator:{person}" if person else UNKNOWN
        with writing(self._engine) as connection:
            trail.record(connection, action=Action.SIGN_IN_FAILED, instance_id=None, actor=actor, detail=detail)
