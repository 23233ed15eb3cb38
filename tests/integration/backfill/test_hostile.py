"""PACSs that cannot send one film, send what nobody asked for, hang or lie: the other films come all the same."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, update

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from tests.integration.backfill.pacs_scp import Moved, Pacs, old_film, pacs
from tests.phantoms import save
from worker.backfill.days import MOST_ATTEMPTS
from worker.db.session import writing
from worker.db.tables import backfill, backfill_day
from worker.receiving.ingest import ingest


def films(number: int) -> list[Dataset]:
    return [old_film(f"film {at}") for at in range(number)]


def uids(of: Sequence[Dataset]) -> list[str]:
    return [str(film.SOPInstanceUID) for film in of]


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
