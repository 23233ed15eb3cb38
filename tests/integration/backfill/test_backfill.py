"""Films of past days from an Orthanc: fetched once, behind the live ones, and what becomes of those that do not come."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from dicom_gateway.local import store_file
from tests.integration.backfill.archive import TODAY, archive
from worker.audit.actions import Action
from worker.backfill import jobs
from worker.backfill.films import NOT_ARRIVED
from worker.backfill.options import JobState, Way
from worker.db.session import reading, writing
from worker.db.tables import audit_event, backfill_film, outbox
from worker.receiving.ingest import ingest
from worker.states import Priority


@pytest.mark.parametrize("way", Way)
def test_what_is_not_here_is_fetched_once_and_waits_behind_live_films(
    database: Engine, tmp_path: Path, way: Way
) -> None:
    yesterday, before = TODAY - timedelta(days=1), TODAY - timedelta(days=2)
    with archive(database, tmp_path) as there:
        live = there.given("live", yesterday)
        ingest(database, there.spool, store_file(tmp_path / "live.dcm", there.spool, "CR1"))
        wanted = [there.given(f"film {number}", day) for number, day in enumerate((yesterday, yesterday, before))]
        there.given("today", TODAY)
        there.given("hand", before, BodyPartExamined="HAND")
        there.start(way=way)
        found = there.turn_until_over()
        assert there.here() == {live: False} | dict.fromkeys(wanted, True)
    assert found.job.state is JobState.DONE
    assert (found.here, found.here_before, found.failed, found.days_left) == (3, 1, {}, 0)
    with reading(database) as connection:
        priorities = list(connection.execute(select(outbox.c.priority).order_by(outbox.c.id)).scalars())
        actions = list(
            connection.execute(select(audit_event.c.action).where(audit_event.c.instance_id.is_(None))).scalars()
        )
    assert priorities == [Priority.LIVE, *[Priority.BACKFILL] * 3]
    assert actions == [Action.BACKFILL_STARTED, Action.BACKFILL_ENDED]
