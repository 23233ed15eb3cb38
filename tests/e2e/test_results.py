"""Results reach a PACS: Orthanc pushes films to a real `xrayq up`, and gets a report and a picture of each."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from sqlalchemy import func, select

from dicom_gateway.encode import save
from tests.e2e.test_up import Up, broker, service
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.phantoms import chest_film, chest_pixels
from tests.services import free_port, kill, wait_until
from worker.audit.actions import Action
from worker.db.session import reading
from worker.db.tables import audit_event, sent_object

pytestmark = pytest.mark.e2e

PIXELS = chest_pixels(480, 400)


@pytest.fixture
def dicom() -> int:
    return free_port()


@pytest.fixture
def up(tmp_path: Path, dicom: int) -> Iterator[Up]:
    """Results of every accepted sender go to Orthanc; those of its own films are."""
    (tmp_path / "up").mkdir()
    with service(tmp_path / "up", results_to=f"*:{TITLE}@127.0.0.1:{dicom}") as running:
        code, _, err = running.run("device", "accept", TITLE, "--without-evidence", "--reason", "a test")
        assert code == 0, err
        yield running


def give(pacs: Orthanc, folder: Path, films: list[Dataset]) -> None:
    """Into the PACS by HTTP."""
    for film in films:
        pacs.post("/instances", save(film, folder / "film.dcm").read_bytes())


def push(pacs: Orthanc) -> None:
    """All of its studies to xrayq, by C-STORE."""
    answer = pacs.post("/modalities/xrayq/store", json.dumps(pacs.get("/studies")).encode())
    assert answer["FailedInstancesCount"] == 0


def answers(up: Up) -> tuple[int, int]:
    """Objects that the PACS commits to, and that it finds."""
    with reading(up.database) as connection:
        columns = sent_object.c.committed_at, sent_object.c.found_at
        rows = connection.execute(select(*(func.count(column) for column in columns))).one()
    return rows[0], rows[1]


def object_of(pacs: Orthanc, key: str) -> Dataset:
    return dcmread(BytesIO(pacs.bytes_of(f"/instances/{key}/file")))


def test_a_report_and_a_picture_of_each_film(up: Up, dicom: int, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", up.port, dicom=dicom) as pacs:
        films = [chest_film(f"film {number}", pixels=PIXELS) for number in range(3)]
        lateral = chest_film("lateral", pixels=PIXELS, ViewPosition="LL")
        give(pacs, tmp_path, [*films, lateral])
        push(pacs)
        wanted = {"DX": 4, "SR": 4, "OT": 3}
        wait_until(lambda: pacs.modalities() == wanted, 90, f"{wanted}, have {pacs.modalities()}")
        wait_until(lambda: up.states() == {"reported": 3, "ineligible": 1}, 30, "every film to be reported")
        assert len(pacs.get("/studies")) == 4, "each result is in its film's study"
        reports = [object_of(pacs, key) for key in pacs.instances("SR")]
        assert {report.SOPClassUID for report in reports} == {uid.Comprehensive3DSRStorage}
        said = {report.StudyInstanceUID: str(report) for report in reports}
        assert "NOT_ANALYSED" in said[lateral.StudyInstanceUID]
        assert sum("NOT_ANALYSED" in words for words in said.values()) == 1
        for key in pacs.instances("OT"):
            picture = object_of(pacs, key)
            png = np.frombuffer(pacs.bytes_of(f"/instances/{key}/frames/0/preview"), np.uint8)
            shown = cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            assert np.array_equal(shown, picture.pixel_array.reshape(-1, picture.Rows, picture.Columns, 3)[0])
        wait_until(lambda: answers(up) == (7, 7), 30, "Orthanc's report of storage commitment")
        listed = json.loads(up.run("report", "list", "--json")[1])
        assert Counter(one["state"] for one in listed) == {"confirmed": 4}
        objects = [kept for one in listed for kept in one["objects"]]
        assert all(kept["status_counts_at"] is None and kept["failure_reason"] is None for kept in objects)
        push(pacs)  # the PACS sends the results along: they are no films, and nothing comes back
        wait_until(lambda: up.states() == {"reported": 3, "ineligible": 1 + 7}, 60, "the results to be told from films")
        assert pacs.modalities() == wanted


@pytest.mark.slow
def test_exactly_one_of_each_though_pacs_and_redis_die(up: Up, dicom: int, tmp_path: Path) -> None:
    count = 50
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc", up.port, dicom=dicom))
        give(pacs, tmp_path, [chest_film(f"film {number}", pixels=PIXELS) for number in range(count)])
        push(pacs)
        wait_until(lambda: pacs.modalities()["SR"] >= 5, 90, "the first results")
        kill(pacs.server.pid)
        with broker(up) as client:
            client.flushall()
        wait_until(lambda: up.states()["scored"] > 20, 90, "films to be scored while nobody takes results")
    with orthanc(tmp_path / "orthanc", up.port, http=pacs.http, dicom=dicom) as pacs:
        wait_until(lambda: up.states() == {"reported": count}, 180, f"{count} reported, have {up.states()}")
        assert pacs.modalities() == {"DX": count, "SR": count, "OT": count}
    with reading(up.database) as connection:
        held = sent_object.c.committed_at.is_not(None) | sent_object.c.found_at.is_not(None)
        rows = connection.execute(select(func.count()).where(held)).scalar_one()
        sent = select(func.count()).where(audit_event.c.action == Action.RESULT_SENT)
        assert (rows, connection.execute(sent).scalar_one()) == (2 * count, count)
