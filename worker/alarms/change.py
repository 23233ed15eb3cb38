"""A change of an alarm: raised, or cleared. Audit trail, log, mail and webhook hold the same values."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from worker.alarms.rules import BY_ID


class AlarmState(StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"
    TEST = "test"
    """No alarm: somebody tries whether a message arrives."""


FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "alarm": int,
    "rule": str,
    "subject": str,
    "state": AlarmState,
    "value": (int, float),
    "threshold": (int, float),
    "text": str,
    "at": str,
    "gone": bool,
    "to": tuple,
}
"""Of the fields of a `Change`, after JSON and `read`."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """JSON-ready. Of films it holds counts and codes; a test shows that no UID, number or name gets in."""

    alarm: int
    """Id of its row."""
    rule: str
    subject: str
    """An AE title or a finding; "" for the whole service."""
    state: AlarmState
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

    @staticmethod
    def read(payload: Mapping[str, Any]) -> "Change":
        """From what `as_dict` gave, also after its way through JSON. Fields of a newer release are left out.

        Raises ValueError where a field is missing or of another type.
        """
        known = {field.name: payload[field.name] for field in fields(Change) if field.name in payload}
        if isinstance(known.get("to"), list):
            known["to"] = tuple(known["to"])
        try:
            change = Change(**known | {"state": AlarmState(known.get("state", ""))})
        except TypeError as error:
            raise ValueError("a field is missing") from error
        for field in fields(Change):
            if not isinstance(getattr(change, field.name), FIELD_TYPES[field.name]):
                raise ValueError(f"{field.name} is of another type")
        return change

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


def key_parts(key: str) -> tuple[int, str]:
    """The alarm and the state that `key_of` was given; the alarm is 0 where the key is no such key."""
    alarm, _, state = key.partition(":")
    return (int(alarm) if alarm.isdecimal() else 0), state
