"""Films of past days from an Orthanc: fetched once, behind live ones, and what becomes of those that do not come."""

from datetime import timedelta
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import Engine, delete, insert, select, update

from dicom_gateway.errors import TooLarge, in_hexadecimal
from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.integration.backfill.archive import GIB, TODAY, archive
from tests.orthanc import TITLE
from tests.phantoms import write_film
from tests.services import kill, wait_until
from worker.audit.actions import Action
from worker.backfill import jobs, resting
from worker.backfill.options import MOST_ATTEMPTS, MOST_IN_VAIN, BackfillOptions, FilmState, JobState, Way
from worker.backfill.progress import progress
from worker.db.session import database_time, reading, writing
from worker.db.tables import audit_event, backfill, backfill_film, outbox
from worker.errors import WrongState
from worker.pacs.options import AskedPacs, AskOptions
from worker.peers.leaving import admit_sender
from worker.processes.backfill_options import backfilling, refusals_of_relay
from worker.receiving import refused_films
from worker.receiving.ingest import ingest
from worker.settings import Settings
from worker.states import Priority


@pytest.mark.parametrize("way", [Way.MOVE, pytest.param(Way.GET, marks=pytest.mark.slow)])
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


@pytest.mark.slow
def test_it_rests_while_something_forbids_it_and_says_why(database: Engine, tmp_path: Path) -> None:
    with archive(database, tmp_path) as there:
        wanted = there.given("film", TODAY - timedelta(days=1))
        there.start(days=1)
        there.backfilling.turn()  # the day is asked for
        there.free[0] = 0
        there.backfilling.turn()
        assert there.progress().rests.startswith("the spool is near its reserve")
        there.free[0] = GIB
        films = [write_film(tmp_path, f"live {number}") for number in range(3)]
        live = [ingest(database, there.spool, store_file(path, there.spool, "CR1"))[1] for path in films]
        there.backfilling.turn()
        assert (there.progress().job.rests, there.progress().needs_somebody) == ("live_films", False)
        with writing(database) as connection:
            connection.execute(delete(outbox).where(outbox.c.instance_id.in_(live)))
        jobs.pause(database, TITLE, actor="operator:test")
        there.backfilling.turn()
        assert wanted not in there.here()
        jobs.resume(database, TITLE, actor="operator:test")
        assert there.turn_until_over().here == 1
        assert there.here()[wanted]


@pytest.mark.slow
def test_what_never_comes_is_asked_for_a_few_times_and_ends_with_a_reason(database: Engine, tmp_path: Path) -> None:
    """Orthanc has another address of our AE title than ours."""
    with archive(database, tmp_path, first_wait=0.01, known=False) as there:
        there.given("film", TODAY - timedelta(days=1))
        there.start(days=1)
        found = there.turn_until_over()
        assert not there.here()
    assert (found.here, found.wanted, sum(found.failed.values())) == (0, 0, 1)
    with reading(database) as connection:
        assert connection.execute(select(backfill_film.c.attempts)).scalar_one() == MOST_ATTEMPTS


@pytest.mark.slow
def test_what_our_door_refuses_over_our_association_is_known_by_its_uid(
    database: Engine, database_url: str, tmp_path: Path
) -> None:
    """As the relay has it from the settings: films above XRAYQ_MAX_INSTANCE_MIB are refused."""
    with archive(database, tmp_path) as there:
        uid = there.given("film", TODAY - timedelta(days=1), pixels=np.zeros((1024, 1024), np.uint16))
        there.start(days=1, way=Way.GET)
        settings = Settings(
            database_url=database_url,
            spool=there.spool.root,
            spool_reserve_mib=1,
            alarm_spool_mib=1,
            max_instance_mib=1,
            ask_pacs=(f"{TITLE}@127.0.0.1:{there.pacs.dicom}",),
        )
        refused = refusals_of_relay(settings)
        (relay,) = backfilling(settings, database, Event(), refused)
        relay.turn()  # the day is asked for
        relay.turn()
        refused.write(database)
        with writing(database) as connection:
            found = refused_films.among(connection, [uid])
            used_up = {"attempts": MOST_ATTEMPTS, "next_at": database_time(connection)}
            connection.execute(update(backfill_film).values(used_up))
            connection.execute(update(backfill).values(next_at=used_up["next_at"], rests="", failures=0))
        relay.turn()
        failed = there.progress().failed
    status = TooLarge.status
    assert (found[uid].calling_ae, found[uid].status) == (TITLE, status)
    assert failed == {f"refused_{in_hexadecimal(status)}": 1}


@pytest.mark.slow
def test_a_pacs_that_is_away_is_asked_again_and_no_attempt_counts(database: Engine, tmp_path: Path) -> None:
    with archive(database, tmp_path) as there:
        there.given("film", TODAY - timedelta(days=1))
        there.start(days=1)
        there.backfilling.turn()
        kill(there.pacs.server.pid)
        there.backfilling.turn()
        found = there.progress()
        assert (found.job.failures, found.rests, found.needs_somebody) == (
            1,
            "the PACS: nothing listens there, or it does not answer",
            True,
        )
        with reading(database) as connection:
            assert connection.execute(select(backfill_film.c.attempts, backfill_film.c.state)).one() == (0, "wanted")


@pytest.mark.slow
def test_films_of_a_stranger_land_in_quarantine_and_it_rests_until_he_is_admitted(
    database: Engine, tmp_path: Path
) -> None:
    with archive(database, tmp_path, stranger=True) as there:
        uids = [there.given(f"film {number}", TODAY - timedelta(days=1)) for number in range(2)]
        there.start(days=1, rate=60)
        wait_until(lambda: there.backfilling.turn() or there.here(), 30, "the first film")
        there.backfilling.turn()
        found = there.progress()
        assert (found.quarantined, found.wanted, found.job.rests) == (1, 1, "quarantine")
        admit_sender(database, TITLE, (), actor="operator:test")
        with writing(database) as connection:
            connection.execute(update(backfill).values(next_at=found.job.started_at))
        assert there.turn_until_over().here == 2
        assert there.here() == dict.fromkeys(uids, True)
    with reading(database) as connection:
        assert set(connection.execute(select(outbox.c.priority)).scalars()) == {Priority.BACKFILL}


def test_twenty_films_in_a_row_that_did_not_come_need_a_person(database: Engine) -> None:
    day = TODAY - timedelta(days=1)
    job = jobs.start(database, TITLE, (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test")
    asked = AskedPacs(called_ae=TITLE, host="127.0.0.1", port=1)
    options = BackfillOptions(
        ask=AskOptions(pacs=(asked,), calling_ae="XRAYQ", zone=ZoneInfo("UTC")), reserve_bytes=0, live_films=1
    )
    row = {"backfill_id": job.id, "day": day, "study_instance_uid": "1.2", "series_instance_uid": "1.3"}
    row |= {"state": FilmState.FAILED.value, "attempts": MOST_ATTEMPTS, "reason": "some_failed"}

    def why() -> str:
        with writing(database) as connection:
            now = database_time(connection)
            found = jobs.open_of(connection, TITLE)
            assert found
            code = resting.why(connection, found, options, now, GIB)
            jobs.rest(connection, found, code)
            return code

    with writing(database) as connection:
        now = database_time(connection)
        rows = [row | {"sop_instance_uid": f"1.4.{number}", "next_at": now} for number in range(MOST_IN_VAIN)]
        connection.execute(insert(backfill_film), rows)
    assert why() == "nothing_comes"
    jobs.resume(database, TITLE, actor="operator:test")
    assert why() == "", "a person looked"


def test_what_comes_after_the_end_is_here_and_not_left(database: Engine, tmp_path: Path) -> None:
    day = TODAY - timedelta(days=1)
    job = jobs.start(database, TITLE, (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test")
    spool = Spool(tmp_path / "spool", reserve_bytes=0, max_bytes=1 << 24)
    spool.prepare()
    late = store_file(write_film(tmp_path, "film"), spool, TITLE)
    row = {"backfill_id": job.id, "day": day, "study_instance_uid": "1.2", "series_instance_uid": "1.3"}
    row |= {"next_at": job.started_at}
    with writing(database) as connection:
        films = ((late.header.sop_instance_uid, FilmState.ASKED), ("1.4", FilmState.ASKED), ("1.5", FilmState.WANTED))
        rows = [row | {"sop_instance_uid": uid, "state": state.value} for uid, state in films]
        connection.execute(insert(backfill_film), rows)
    jobs.cancel(database, TITLE, actor="operator:test")
    ingest(database, spool, late)
    with reading(database) as connection:
        found = progress(connection, jobs.newest(connection)[0])
    assert (found.here, found.on_the_way, found.wanted, found.left) == (1, 1, 1, 2)


def test_one_at_a_time_of_a_pacs_and_it_can_be_cancelled(database: Engine) -> None:
    day = TODAY - timedelta(days=1)
    job = jobs.start(database, TITLE, (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test")
    with pytest.raises(WrongState, match="has not ended"):
        jobs.start(database, TITLE, (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test")
    with pytest.raises(WrongState, match="is running"):
        jobs.resume(database, TITLE, actor="operator:test")
    jobs.rest_unnamed(database, {"ANOTHER"}, resting.NOT_NAMED)
    with reading(database) as connection:
        assert progress(connection, jobs.newest(connection)[0]).rests == "XRAYQ_ASK_PACS names it no more"
    with writing(database) as connection:
        assert jobs.lock(connection, job) is JobState.RUNNING
    cancelled = jobs.cancel(database, TITLE, actor="operator:test")
    assert cancelled.state is JobState.CANCELLED
    with writing(database) as connection:
        jobs.rest(connection, job, "pacs_no_answer", failures=1)  # by a relay that has not heard of it
        assert jobs.newest(connection)[0] == cancelled
    assert jobs.start(database, TITLE, (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test").id > job.id
