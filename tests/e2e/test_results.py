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
from sqlalchemy import Engine, func, select

from dicom_gateway.encode import save
from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import echo, send
from tests.certificates import Authority
from tests.e2e.test_up import Up, broker, service
from tests.mllp import LOST, ris
from tests.orthanc import TITLE, MutualTls, Orthanc, orthanc
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.receivers import SECRET, web
from tests.services import child, free_port, kill, wait_until
from worker.audit.actions import Action
from worker.db.session import reading
from worker.db.tables import audit_event, errand, finding_score, score, sent_message, sent_object
from worker.queue.errands import Kind

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_films_and_results_over_tls_each_showing_its_certificate(tmp_path: Path, dicom: int) -> None:
    """Neither side takes a peer that shows none: the reports of storage commitment come over TLS too."""
    count, secure = 50, free_port()
    authority = Authority(folder=tmp_path)
    own = authority.issue("xrayq")
    tls = MutualTls(own=authority.issue("pacs"), authorities=authority.file)
    with ExitStack() as stack:
        up = stack.enter_context(
            service(
                tmp_path,
                results_to=f"*:tls:{TITLE}@127.0.0.1:{dicom}",
                tls_port=str(secure),
                tls_certificate=str(own.certificate),
                tls_key=str(own.key),
                tls_authorities=str(authority.file),
            )
        )
        code, _, err = up.run("device", "accept", TITLE, "--without-evidence", "--reason", "a test")
        assert code == 0, err
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc", secure, dicom=dicom, tls=tls))
        with pytest.raises(PeerUnavailable):  # Orthanc does not answer without TLS
            echo("127.0.0.1", dicom, called_ae=TITLE)
        give(pacs, tmp_path, [chest_film(f"film {number}", pixels=PIXELS) for number in range(count)])
        push(pacs)
        wait_until(lambda: up.states() == {"reported": count}, 180, f"{count} reported, have {up.states()}")
        assert pacs.modalities() == {"DX": count, "SR": count, "OT": count}
        wait_until(lambda: answers(up)[0] == 2 * count, 60, f"reports of storage commitment, have {answers(up)}")


def waiting(database: Engine) -> int:
    with reading(database) as connection:
        query = select(func.count()).where(errand.c.kind == Kind.RESULT)
        return int(connection.execute(query).scalar_one())


def under_way(database: Engine) -> int:
    with reading(database) as connection:
        query = select(func.count()).where(errand.c.kind == Kind.RESULT, errand.c.lease_until.is_not(None))
        return int(connection.execute(query).scalar_one())


@pytest.mark.slow
def test_each_film_is_one_message_though_ris_and_worker_die(tmp_path: Path) -> None:
    """Also those of films that are not analysed; the flag of each flagged one is told once."""
    (tmp_path / "up").mkdir()
    port, count = free_port(), 12
    with web() as hook:
        routes = f"*:mllp://127.0.0.1:{port}, *:{hook.url}"
        with service(tmp_path / "up", results_to=routes, webhook_secret=SECRET) as up, ExitStack() as stack:
            assert up.run("device", "accept", "CR1", "--without-evidence", "--reason", "a test")[0] == 0
            films = [write_film(tmp_path, f"film {number}", pixels=PIXELS) for number in range(count)]
            films.append(write_film(tmp_path, "lateral", pixels=PIXELS, ViewPosition="LL"))
            first = stack.enter_context(ris(port, "AA", "AR", "AA", LOST))
            assert {sent.status for sent in send("127.0.0.1", up.port, films, calling_ae="CR1", called_ae="XRAYQ")} == {
                0
            }
            wait_until(lambda: len(first.came) > 3, 60, "the first messages, and one again")
            worker = wait_until(lambda: child(up.pid, "worker"), 20)
            wait_until(lambda: not under_way(up.database), 30, "a pause: a lease that dies with it lasts five minutes")
            kill(worker)
            stack.close()
            wait_until(lambda: up.states()["scored"] + up.states()["reported"] == count, 90, "every film to be scored")
            with ris(port) as second:
                wait_until(lambda: up.states() == {"reported": count, "ineligible": 1}, 120, "every message to arrive")
                wait_until(lambda: not waiting(up.database), 60, "nothing to wait")
        kept = first.kept | second.kept
        assert len(kept) == count + 1
        assert all(first.kept.get(key, content) == content for key, content in second.kept.items())
        with reading(up.database) as connection:
            rows = connection.execute(select(sent_message.c.kind, func.count()).group_by(sent_message.c.kind)).all()
            flagged = select(func.count(func.distinct(score.c.instance_id))).join(
                finding_score, finding_score.c.score_id == score.c.id
            )
            flags = connection.execute(flagged.where(finding_score.c.flag)).scalar_one()
        assert dict(rows) == {"hl7": count + 1} | ({"webhook": flags} if flags else {})
        assert len({json.loads(body)["instance"] for _, body in hook.requests}) == flags
