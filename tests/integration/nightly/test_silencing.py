"""A real night with a real drift: the report's transaction silences the AE that drifted, where the site wants that."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from tests import days
from tests.nightly import FRIDAY, MONDAY_NOON, sqlite
from worker.audit import trail
from worker.db.session import reading
from worker.db.span import Span
from worker.db.tables import alarm, audit_event
from worker.monitoring.drift_reference import freeze_missing
from worker.nightly import run
from worker.nightly.schedule import NightlySchedule
from worker.reporting import acceptance


@sqlite
@pytest.mark.slow
def test_a_night_with_drift(database: Engine, plan: NightlySchedule) -> None:
    before = FRIDAY - timedelta(days=1)
    days.fill(database, before, 440, seed=6)
    freeze_missing(database, Span.of_day(before, plan.options.zone), films=100, actor="relay")
    days.brighten(database, days.fill(database, FRIDAY, 440, seed=7), "DX_WARD", 0.2)
    for title in ("DX_WARD", "CR_EMERGENCY"):
        acceptance.accept(database, title, reason="test", actor="operator:test", evidence=None)
    assert run.make_due_report(database, replace(plan, silence_on=("drift",)), MONDAY_NOON) == FRIDAY
    with reading(database) as connection:
        sending = acceptance.accepted(connection)
        (told,) = connection.execute(select(alarm.c.text).where(alarm.c.rule == "drift")).scalars()
        actions = connection.execute(select(audit_event.c.action).where(audit_event.c.actor == "relay")).scalars().all()
    assert sending == {"CR_EMERGENCY"}
    assert "DX_WARD is silent for this" in told
    assert actions.count("device_silenced") == 1
    assert trail.verify(database).broken is None
