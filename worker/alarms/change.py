"""A change of an alarm: raised, or cleared. Audit trail, log, mail and webhook hold the same values."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from worker.alarms.rules import BY_ID


class AlarmState(StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"
    TEST = "test"
    """No alarm: somebody tries whether a message arrives."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """JSON-ready. Of films it holds counts and codes; a test shows that no UID, number or name gets in."""

    alarm: int
    """Id of its row."""
    rule: str
    subject: str
    """An AE title or a finding; "" for the whole service."""
    state: str
    value: float
    """When it is cleared: the last that broke the rule."""
    threshold: float
    text: str
    at: str
    """ISO 8601, UTC."""
    gone: bool = False
    """Cleared, and nothing was mended: `text` says what it is about that is no longer there."""
    to: tuple[str, ...] = ()
    """Recipients of the mail that it has not reached yet; () for all. Not sent."""

    @property
    def key(self) -> str:
        """One for each change, in this database."""
        return key_of(self.alarm, self.state)

    @property
    def advice(self) -> str:
        return BY_ID[self.rule].advice if self.rule in BY_ID else ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def message(self, site: str) -> dict[str, Any]:
        """What is sent. Of an alarm that is over, `text` says how it was, and there is no advice."""
        content = {name: value for name, value in self.as_dict().items() if name != "to"}
        return {"site": site} | content | ({"advice": self.advice} if self.state == AlarmState.RAISED else {})

    def identity(self, site: str) -> str:
        """The same for every attempt, another for every other message of any installation; 32 hex digits."""
        return hashlib.sha256(json.dumps(self.message(site), sort_keys=True).encode()).hexdigest()[:32]


Send = Callable[[Change], int]
"""Deliver one message or raise Undelivered. Returns how many of several recipients were refused."""


def key_of(alarm: int, state: str) -> str:
    return f"{alarm}:{state}"
