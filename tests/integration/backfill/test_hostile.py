"""PACSs that cannot send one film, send what nobody asked for, hang or lie: the other films come all the same."""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from sqlalchemy import Engine

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from tests.integration.backfill.pacs_scp import old_film, pacs
from tests.phantoms import save
from worker.receiving.ingest import ingest


def films(number: int) -> list[Dataset]:
    return [old_film(f"film {at}") for at in range(number)]


def uids(of: Sequence[Dataset]) -> list[str]:
    return [str(film.SOPInstanceUID) for film in of]


def test_what_a_stranger_sent_before_is_fetched_all_the_same(database: Engine, tmp_path: Path) -> None:
    with pacs(database, tmp_path, films(2)) as there:
        path = save(there.films[0], tmp_path / "film.dcm")
        laptop = Connected(calling_ae="LAPTOP", address="192.0.2.9")
        ingest(database, there.spool, store_file(path, there.spool, "LAPTOP"), unknown=laptop)
        there.start()
        there.turn_until(there.is_over)
        assert there.states() == ["here", "here"]
