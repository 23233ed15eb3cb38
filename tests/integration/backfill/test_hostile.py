"""PACSs that cannot send one film, send what nobody asked for, hang or lie: the other films come all the same."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, update

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from tests.integration.backfill.pacs_scp import Moved, Pacs, old_film, pacs
from tests.phantoms import save
from worker.db.session import writing
from worker.db.tables import backfill
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
