"""An alarm that somebody knows of and nobody can mend: listed, and no longer called wrong, until it gets worse."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, update

from worker.alarms import ledger
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import alarm
from worker.errors import ConfigurationError, NotFound
from worker.words import is_line

ACTION = Action.ALARM_ACKNOWLEDGED
MOST_CHARACTERS = 200
"""Of the reason."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """Who knows of an alarm."""

    at: str
    """ISO 8601, UTC."""
    by: str
    why: str

    @classmethod
    def of_row(cls, kept: Mapping[str, Any]) -> "Acknowledgement":
        """From the column `acknowledged` of an alarm's row, which keeps more."""
        return cls(at=kept["at"], by=kept["by"], why=kept["why"])

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class KeptAcknowledgement(Acknowledgement):
    """What the alarm's row keeps of an acknowledgement."""

    value: float
    """The alarm's value when it was acknowledged."""
    about: list[str] | None
    """What the alarm was about then; None of one that an older release raised."""


@dataclass(frozen=True, kw_only=True)
class AcknowledgedCondition:
    """A condition that somebody knows of."""

    rule: str
    subject: str
    acknowledgement: Acknowledgement

    def as_dict(self) -> dict[str, str]:
        return {"rule": self.rule, "subject": self.subject} | self.acknowledgement.as_dict()


def acknowledge(engine: Engine, rule: str, subject: str, *, why: str, actor: str) -> KeptAcknowledgement:
    """Keep who knows, since when and why; audited. Of one that is acknowledged already, the new reason counts.

    Raises NotFound, and ConfigurationError where the reason is not one line.
    """
    why = why.strip()
    if not is_line(why, MOST_CHARACTERS):
        raise ConfigurationError(f"the reason why is one line of 1 to {MOST_CHARACTERS} characters")
    with writing(engine) as connection:
        ledger.take_turn(connection)
        opened = ledger.open_alarms(connection)
        row = opened.get((rule, subject))
        if row is None:
            raise NotFound(_not_open(rule, subject, opened))
        at = database_time(connection).isoformat(timespec="seconds")
        kept = KeptAcknowledgement(at=at, by=actor, why=why, value=row.value, about=row.about)
        connection.execute(update(alarm).where(alarm.c.id == row.id).values(acknowledged=kept.as_dict()))
        detail = {
            "alarm": row.id,
            "rule": rule,
            "subject": subject,
            "why": why,
            "value": kept.value,
            "about": kept.about,
        }
        trail.record(connection, action=ACTION, instance_id=None, actor=actor, detail=detail)
    return kept


def acknowledged_among(connection: Connection, conditions: Iterable[Condition]) -> tuple[AcknowledgedCondition, ...]:
    """Those of the conditions that somebody has acknowledged, and that did not get worse since."""
    opened = ledger.open_alarms(connection)
    found = []
    for condition in conditions:
        row = opened.get((condition.rule, condition.subject))
        if row and row.acknowledged and condition.is_known(row.acknowledged):
            known = Acknowledgement.of_row(row.acknowledged)
            found.append(AcknowledgedCondition(rule=condition.rule, subject=condition.subject, acknowledgement=known))
    return tuple(found)


def _not_open(rule: str, subject: str, opened: Iterable[tuple[str, str]]) -> str:
    others = [about for other, about in opened if other == rule and about]
    if others and not subject:
        return f"{rule} is open for {', '.join(sorted(others))}: name one"
    name = f"{rule} {subject}".rstrip()
    return f"no open alarm {name}: 'xrayq alarm list' shows rule and subject of those that are"
