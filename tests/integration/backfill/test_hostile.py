"""PACSs that cannot send one film, send what nobody asked for, hang or lie: the other films come all the same."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from tests.integration.backfill.pacs_scp import NAME, Moved, Pacs, old_film, pacs
from tests.phantoms import save
from tests.services import wait_until
from worker.backfill import jobs
from worker.backfill.days import MOST_ATTEMPTS
from worker.backfill.progress import progress
from worker.db.session import reading, writing
from worker.db.tables import backfill, backfill_day, backfill_film, instance
from worker.receiving.ingest import ingest


def films(number: int) -> list[Dataset]:
    return [old_film(f"film {at}") for at in range(number)]


def uids(of: Sequence[Dataset]) -> list[str]:
    return [str(film.SOPInstanceUID) for film in of]


@pytest.mark.slow
@pytest.mark.parametrize("status", [0xA702, 0x0124])
def test_one_film_that_cannot_be_sent_stops_no_other(database: Engine, tmp_path: Path, status: int) -> None:
    of_one = films(3)
    bad = sorted(of_one, key=lambda film: str(film.SeriesInstanceUID))[0]

    def move(there: Pacs, wanted: list[Dataset]) -> Moved:
        if bad not in wanted:
            yield from there.sent(wanted)
            return
        yield "127.0.0.1", there.gateway
        yield 1
        yield status, None

    def hurried() -> list[str]:
        """The PACS is asked again at once, also where it is left alone for a while."""
        with writing(database) as connection:
            connection.execute(update(backfill).values(next_at=backfill.c.started_at))
        return there.states()

    with pacs(database, tmp_path, of_one, move) as there:
        there.start()
        there.turn_until(lambda: hurried().count("here") == 2)
        assert there.rows()[bad.SOPInstanceUID][:2] == ("asked", 1)


def test_a_pacs_that_refuses_says_so_at_once_and_is_asked_at_once_when_it_is_mended(
    database: Engine, tmp_path: Path
) -> None:
    """It does not know our AE title, say: first as one that queries, then as a destination."""
    mended: list[str] = []

    def find(there: Pacs, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        if mended:
            yield from there.find(event)
        else:
            yield 0xC000, None

    def move(there: Pacs, wanted: list[Dataset]) -> Moved:
        if len(mended) == 2:
            yield from there.sent(wanted)
            return
        yield "127.0.0.1", there.gateway
        yield 1
        yield 0xC000, None

    def refused() -> list[str]:
        with reading(database) as connection:
            found = progress(connection, there.job)
        return found.tried_in_words() if found.needs_somebody else []

    with pacs(database, tmp_path, films(1), move, find=find) as there:
        there.start()
        for words in ("1 day: it answered C-FIND with status 0xC000", "1 film: the PACS: it was unable to do it"):
            there.turn_until(refused)
            assert refused()[0].startswith(words)
            mended.append(words)
            jobs.pause(database, NAME, actor="operator:test")
            jobs.resume(database, NAME, actor="operator:test")
        there.turn_until(there.is_over)
        assert (there.states(), refused()) == (["here"], [])


def test_what_a_stranger_sent_before_is_fetched_all_the_same(database: Engine, tmp_path: Path) -> None:
    with pacs(database, tmp_path, films(2)) as there:
        path = save(there.films[0], tmp_path / "film.dcm")
        laptop = Connected(calling_ae="LAPTOP", address="192.0.2.9")
        ingest(database, there.spool, store_file(path, there.spool, "LAPTOP"), unknown=laptop)
        there.start()
        there.turn_until(there.is_over)
        assert there.states() == ["here", "here"]


def test_between_films_at_a_slow_rate_no_association_is_held(database: Engine, tmp_path: Path) -> None:
    with pacs(database, tmp_path, films(2)) as there:
        there.start(rate=1)
        there.turn_until(lambda: there.moves)
        there.turn_until(lambda: "here" in there.states())
        assert there.states() == ["here", "wanted"]
        assert there.backfilling._pause() > 30


@pytest.mark.slow
def test_an_association_closed_between_two_questions_costs_no_attempt(database: Engine, tmp_path: Path) -> None:
    def move(there: Pacs, wanted: list[Dataset]) -> Moved:
        if len(there.moves) == 2:
            there.server.active_associations[0].abort()
        yield from there.sent(wanted)

    with pacs(database, tmp_path, films(3), move) as there:
        there.start()
        there.turn_until(there.is_over)
        assert sorted(there.rows().values()) == [("here", 1, "")] * 3
        assert len(there.moves) == 4


@pytest.mark.slow
@pytest.mark.parametrize("at", [datetime(2099, 1, 1, tzinfo=UTC), datetime.now(UTC)], ids=["2099", "now"])
def test_a_wrong_time_of_a_film_makes_no_day_endless(database: Engine, tmp_path: Path, at: datetime) -> None:
    film = old_film("film", ContentDate=f"{at:%Y%m%d}", ContentTime=f"{at:%H%M%S}")

    def hurried() -> bool:
        with writing(database) as connection:
            connection.execute(update(backfill_day).values(next_at=there.job.started_at))
        return there.is_over()

    with pacs(database, tmp_path, [film]) as there:
        there.start()
        there.turn_until(hurried)
        assert there.states() == ["here"]
        assert there.finds == (1 if at.year == 2099 else MOST_ATTEMPTS)


@pytest.mark.slow
def test_a_wanted_film_is_old_where_the_pacs_sends_it_unasked_and_live_from_anybody_else(
    database: Engine, tmp_path: Path
) -> None:
    first, second, other = films(3)
    second.SeriesInstanceUID, second.StudyInstanceUID = first.SeriesInstanceUID, first.StudyInstanceUID

    def series(there: Pacs, _: list[Dataset]) -> Moved:
        yield from there.sent([first, second])

    with pacs(database, tmp_path, [first, second, other], series) as there:
        there.start(rate=8)  # so that one film is asked for at once
        there.turn_until(there.rows)
        ingest(database, there.spool, store_file(save(other, tmp_path / "x.dcm"), there.spool, "CR1"))
        there.turn_until(there.is_over)
        assert there.states() == ["here"] * 3
        assert sum(map(len, there.moves)) == 1
    with reading(database) as connection:
        rows = connection.execute(select(instance.c.sop_instance_uid, instance.c.backfilled)).all()
    old = {uid: bool(backfilled) for uid, backfilled in rows}
    assert old == dict(zip(uids([first, second, other]), (True, True, False), strict=True))


@pytest.mark.slow
def test_a_pacs_that_takes_only_the_first_of_a_list_gives_all(database: Engine, tmp_path: Path) -> None:
    several = films(4)
    for film in several:
        film.SeriesInstanceUID, film.StudyInstanceUID = several[0].SeriesInstanceUID, several[0].StudyInstanceUID

    def move(there: Pacs, wanted: list[Dataset]) -> Moved:
        first = next(film for film in wanted if there.moves[-1][0] == film.SOPInstanceUID)
        yield from there.sent([first] * len(wanted))  # so that it says that it sent as many

    with pacs(database, tmp_path, several, move, first_wait=0.01) as there:
        there.start()
        there.turn_until(there.is_over)
        assert there.states() == ["here"] * 4
    assert max(map(len, there.moves)) == 4
    assert sum(map(len, there.moves)) == 7


def test_after_a_person_has_mended_why_what_failed_is_asked_for_again(database: Engine, tmp_path: Path) -> None:
    """And what comes after it has failed is here."""
    mended = []

    def move(there: Pacs, wanted: list[Dataset]) -> Moved:
        yield from there.sent(wanted if mended else [])

    def failed() -> bool:
        return there.states().count("failed") == 1

    with pacs(database, tmp_path, films(2), move, first_wait=0.01) as there:
        there.start()
        there.turn_until(there.rows)
        late, wanted = sorted(there.films, key=lambda film: str(film.SeriesInstanceUID))
        with writing(database) as connection:
            of_late = backfill_film.c.sop_instance_uid == str(late.SOPInstanceUID)
            given_up = {"state": "failed", "attempts": 5, "reason": "no_answer"}
            connection.execute(update(backfill_film).where(of_late).values(given_up))
            of_wanted = backfill_film.c.sop_instance_uid == str(wanted.SOPInstanceUID)
            connection.execute(update(backfill_film).where(of_wanted).values(attempts=4, next_at=there.job.started_at))
        ingest(database, there.spool, store_file(save(late, tmp_path / "x.dcm"), there.spool, NAME))
        with reading(database) as connection:
            found = progress(connection, there.job)
        assert (found.here, found.failed) == (1, {})
        there.turn_until(failed)
        jobs.pause(database, NAME, actor="operator:test")
        mended.append(True)
        jobs.resume(database, NAME, actor="operator:test")
        there.turn_until(there.is_over)
        assert there.states() == ["here", "here"]


def test_a_pause_tells_the_pacs_to_stop_a_retrieval_and_costs_no_attempt(database: Engine, tmp_path: Path) -> None:
    told = Event()

    def hangs(there: Pacs, wanted: list[Dataset]) -> Moved:
        yield "127.0.0.1", there.gateway
        yield len(wanted)
        jobs.pause(database, NAME, actor="operator:test")
        wait_until(lambda: there.event.is_cancelled, 10, "C-CANCEL")
        told.set()
        yield 0xFE00, None

    with pacs(database, tmp_path, films(1), hangs) as there:
        there.start()
        there.turn_until(told.is_set)
        assert [(state, attempts) for state, attempts, _ in there.rows().values()] == [("asked", 0)]
