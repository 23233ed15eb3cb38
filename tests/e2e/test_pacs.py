"""An Orthanc that has twenty films of a day, of which fifteen came: exactly the other five are named, and why."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom import uid
from sqlalchemy import Engine, update

from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool
from tests.days import DRIFT
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.phantoms import chest_film, chest_pixels, save
from tests.services import free_port, typed
from worker.db.session import time_of, writing
from worker.db.tables import instance
from worker.nightly import published, run
from worker.nightly.content import NightOptions
from worker.nightly.schedule import NightlySchedule
from worker.pacs.options import AskedPacs, AskOptions
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving.ingest import ingest
from worker.receiving.refusals import Refusals
from worker.states import State

pytestmark = pytest.mark.slow

DAY = datetime.now(UTC).date() - timedelta(days=1)
FILMS, MOST_BYTES, MOST_FOUND = 20, 1 << 19, 7


@contextmanager
def gateway(database: Engine, spool: Spool) -> Iterator[int]:
    refused = Refusals()

    def accept(arrived: Any) -> None:
        assert isinstance(arrived, Received)
        ingest(database, spool, arrived)

    server = Gateway(GatewayOptions(host="127.0.0.1", port=0), spool, accept, refused)
    server.start()
    try:
        yield server.port
    finally:
        server.stop(grace=1)
        refused.write(database)


def given(pacs: Orthanc, folder: Path, name: str, **attributes: Any) -> tuple[str, str]:
    """A film in Orthanc: its own id, and the SOP Instance UID."""
    usual = {"StudyDate": f"{DAY:%Y%m%d}", "StudyTime": "083000"}
    film = chest_film(name, **usual | attributes)
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    answer = pacs.post("/instances", save(film, folder / f"{name}.dcm").read_bytes())
    return answer["ID"], str(film.SOPInstanceUID)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_five_of_twenty_films_are_missing(database: Engine, database_url: str, tmp_path: Path) -> None:
    """Orthanc sends seven matches at most (LimitFindResults), so that the day has to be asked for in parts."""
    spool = Spool(tmp_path / "spool", reserve_bytes=0, max_bytes=MOST_BYTES)
    spool.prepare()
    dicom, pixels = free_port(), chest_pixels()
    with (
        gateway(database, spool) as port,
        orthanc(tmp_path / "orthanc", port, dicom=dicom, most_found=MOST_FOUND) as pacs,
    ):
        films = {}
        for number in range(FILMS):
            large = {"pixels": chest_pixels(rows=800, columns=600)} if number == 3 else {"pixels": pixels}
            if number % 4 == 1:
                large |= {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"}
            films[number] = given(pacs, tmp_path, f"film {number}", StudyTime=f"{7 + number % 9:02}1500", **large)
        given(pacs, tmp_path, "hand", BodyPartExamined="HAND", pixels=pixels)
        given(pacs, tmp_path, "before", StudyDate=f"{DAY - timedelta(days=1):%Y%m%d}", pixels=pixels)
        sent = [key for number, (key, _) in films.items() if number not in (0, 1, 2)]
        for key in sent:
            with_fault = json.dumps({"Resources": [key], "Permissive": True}).encode()
            pacs.post("/modalities/xrayq/store", with_fault)
    with writing(database) as connection:  # as an unknown peer leaves it
        held = {"state": State.QUARANTINED, "admitted": False}
        strange = instance.c.sop_instance_uid == films[4][1]
        assert connection.execute(update(instance).where(strange).values(**held)).rowcount == 1
    expected = {
        films[0][1]: ("never_sent", None),
        films[1][1]: ("never_sent", None),
        films[2][1]: ("never_sent", None),
        films[3][1]: ("refused", "0xA701"),
        films[4][1]: ("quarantined", None),
    }
    with orthanc(tmp_path / "orthanc", port, dicom=dicom, most_found=MOST_FOUND):
        settings = {"database_url": database_url, "ask_pacs": f"{TITLE}@127.0.0.1:{dicom}"}
        asked = typed("pacs", "missing", "--json", **settings)
        (answer,) = json.loads(asked.stdout)
        assert asked.returncode == 1
        assert {one["sop_instance_uid"]: (one["why"], one["status"]) for one in answer["missing"]} == expected
        assert (answer["films"], answer["here"], answer["on_its_way"]) == (FILMS, 15, 0)
        words = typed("pacs", "missing", **settings).stdout
        said = "20 chest films of {}; 15 here; 5 not: 3 never sent, 1 refused (0xA701), 1 quarantined."
        assert words.endswith(f"{TITLE} has {said.format(DAY)}\n")

        ask = AskOptions(
            pacs=(AskedPacs(called_ae=TITLE, host="127.0.0.1", port=dicom),), calling_ae="XRAYQ", zone=ZoneInfo("UTC")
        )
        plan = NightlySchedule(
            database_url=database_url,
            at=time(0, 1),
            folder=tmp_path / "reports",
            options=NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT, ask=ask),
        )
        with writing(database) as connection:
            errands.add(connection, Kind.NIGHT, DAY.isoformat(), datetime.now(UTC) - timedelta(minutes=1))
        assert run.make_due_report(database, plan, time_of(database)) == DAY
    report = json.loads((plan.folder / DAY.isoformat() / published.REPORT).read_text())
    (of_pacs,) = report["pacs"]
    assert (of_pacs["films"], of_pacs["here"], len(of_pacs["not_here"])) == (FILMS, 15, 5)
    assert said.format(DAY) in (plan.folder / DAY.isoformat() / published.PAGE).read_text()
    listed = typed("pacs", "list", "--json", **settings)
    assert {one["sop_instance_uid"]: (one["why"], one["status"]) for one in json.loads(listed.stdout)} == expected
