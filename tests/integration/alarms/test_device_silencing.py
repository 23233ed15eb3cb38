"""Alarms of the night that end the sending of results, on both databases."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.alarms import BOTH, alarms, condition
from worker.alarms import ledger
from worker.alarms.acknowledge import acknowledge
from worker.alarms.device_silencing import LONGEST, silence_by_rule
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.tables import audit_event
from worker.reporting import acceptance

NIGHT = frozenset({"performance", ("drift", "CR1"), ("drift", "DX2")})
SILENT = " CR1 is silent for this: no result is sent until a person accepts again."


@pytest.fixture
def accepted(database: Engine) -> Engine:
    """CR1 and DX2 are accepted."""
    for title in ("CR1", "DX2"):
        acceptance.accept(database, title, reason="test", actor="operator:test", evidence=None)
    return database


def night(database: Engine, *found: Condition, rules: Collection[str] = ("drift",)) -> list[str]:
    """A night's end; the texts that go out."""
    with writing(database) as connection:
        ledger.take_turn(connection)
        silenced = silence_by_rule(connection, NIGHT, found, rules)
        changes = ledger.settle(connection, NIGHT, silenced.conditions, BOTH)
        trail.record_all(connection, list(silenced.events))
    return [change.text for change in changes]


def sending(database: Engine) -> set[str]:
    with reading(database) as connection:
        return acceptance.accepted(connection)


def silenced(database: Engine) -> list[tuple[str, dict[str, Any]]]:
    with reading(database) as connection:
        query = select(audit_event.c.actor, audit_event.c.detail).where(audit_event.c.action == "device_silenced")
        return [(row.actor, row.detail) for row in connection.execute(query.order_by(audit_event.c.id))]


def drift(subject: str = "CR1", *about: str) -> Condition:
    return replace(condition("drift", subject), about=about)


def test_drift_silences_its_ae_once_and_the_message_says_so(accepted: Engine) -> None:
    assert night(accepted, drift()) == [f"drift is 700{SILENT}"]
    assert sending(accepted) == {"DX2"}
    reason = "alarm drift of CR1, by XRAYQ_SILENCE_ON"
    assert silenced(accepted) == [("relay", {"calling_ae": "CR1", "reason": reason})]
    assert night(accepted, drift()) == []
    assert alarms(accepted)[0].text == f"drift is 700{SILENT}", "as long as it is silent"
    assert trail.verify(accepted).whole


def test_a_person_who_accepts_it_while_the_alarm_stands_has_the_last_word(accepted: Engine) -> None:
    night(accepted, drift())
    acceptance.accept(accepted, "CR1", reason="known", actor="operator:test", evidence=None)
    with reading(accepted) as connection:
        again, never = acceptance.find(connection, "CR1"), acceptance.find(connection, "DX2")
    assert again.silenced_at is not None
    assert again.changed_at is not None
    assert again.silenced_at <= again.changed_at, "from then on its films are evidence again"
    assert never.silenced_at is None
    night(accepted, drift())
    assert sending(accepted) == {"CR1", "DX2"}
    assert alarms(accepted)[0].text == "drift is 700"
    night(accepted)
    assert night(accepted, drift()) == [f"drift is 700{SILENT}"], "another alarm silences it again"


def test_an_acknowledged_alarm_that_got_worse_silences_again(accepted: Engine) -> None:
    night(accepted, drift("CR1", "brightness"))
    acknowledge(accepted, "drift", "CR1", why="new grid", actor="operator:test")
    acceptance.accept(accepted, "CR1", reason="known", actor="operator:test", evidence=None)
    night(accepted, drift("CR1", "brightness"))
    assert "CR1" in sending(accepted)
    night(accepted, drift("CR1", "brightness", "contrast"))
    assert "CR1" not in sending(accepted)


def test_performance_silences_every_ae_as_nobody_knows_whose_it_is(accepted: Engine) -> None:
    found = condition("performance", "covid19"), drift("DX2")
    (told, other) = night(accepted, *found, rules=("performance", "drift"))
    assert told.endswith(" 2 AEs are silent for this: no result is sent until a person accepts again.")
    assert other == "drift is 700", "an AE is silenced once"
    assert sending(accepted) == set()
    assert len(silenced(accepted)) == 2


def test_no_alarm_silences_where_the_site_does_not_say_so(accepted: Engine) -> None:
    assert night(accepted, drift(), rules=()) == ["drift is 700"]
    assert night(accepted, drift(), condition("performance", "covid19")) == ["performance is 700"]
    assert sending(accepted) == {"CR1", "DX2"}
    assert night(accepted, condition("drift", "CR9"), rules=("drift",))[0] == "drift is 700", "it was silent before"


def test_a_long_text_keeps_room_for_what_was_done(accepted: Engine) -> None:
    (told,) = night(accepted, replace(drift(), text="x" * LONGEST))
    assert (len(told), told.endswith(SILENT)) == (LONGEST, True)
