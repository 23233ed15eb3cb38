"""A real gateway is asked for storage commitment by Orthanc, dies, and reports all the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid

from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.encode import save
from dicom_gateway.scu import send
from tests.modality import Modality
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.protocol.raw import STORE_CONTEXT, Peer, associate_rq, contexts, pdata, pdv
from tests.protocol.test_committing import command, information
from tests.services import environment, free_port, kill, listening, process, typed, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PIXELS = chest_pixels(480, 400)
DX = uid.DigitalXRayImageStorageForPresentation


class House:
    """A home with its database, and gateways there, one after the other."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        assert self.xrayq("db", "upgrade").returncode == 0

    def xrayq(self, *words: str) -> Any:
        return typed(*words, home=str(self.home))

    def requests(self) -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = json.loads(self.xrayq("commitment", "list", "--json").stdout)
        return found

    @contextmanager
    def gateway(self, commitment_to: str) -> Iterator[int]:
        """Its pid."""
        settings = {"home": str(self.home), "port": str(self.port), "commitment_to": commitment_to}
        with process("gateway", environment(**settings), self.home / "log") as started:
            wait_until(lambda: listening(self.port), 30, "the gateway")
            yield started.pid


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def asked(pacs: Orthanc, objects: list[list[str]]) -> str:
    """Where Orthanc keeps what it is told."""
    body = json.dumps({"DicomInstances": objects}).encode()
    answer = pacs.post("/modalities/xrayq/storage-commitment", body)
    return str(answer["Path"])


def told(pacs: Orthanc, path: str) -> Any:
    """Once Orthanc has the report."""
    return wait_until(lambda: (said := pacs.get(path))["Status"] != "Pending" and said, 30, "the report")


def uids(of: list[dict[str, Any]]) -> list[str]:
    return sorted(one["SOPInstanceUID"] for one in of)


def test_orthanc_asks_and_is_reported_to_also_where_the_first_try_fails(house: House, tmp_path: Path) -> None:
    dicom, nobody = free_port(), free_port()
    with orthanc(tmp_path / "orthanc", house.port, dicom=dicom) as pacs:
        with house.gateway(f"{TITLE}@127.0.0.1:{nobody}") as pid:
            films = [chest_film(f"film {number}", pixels=PIXELS) for number in range(3)]
            for film in films:
                pacs.post("/instances", save(film, tmp_path / "film.dcm").read_bytes())
            pacs.post("/modalities/xrayq/store", json.dumps(pacs.get("/studies")).encode())
            held = [[DX, str(film.SOPInstanceUID)] for film in films]
            both = asked(pacs, [*held, [DX, "2.25.4711"], [uid.CTImageStorage, "2.25.4712"]])
            wait_until(lambda: house.requests()[0]["reason"] == "no_connection", 30, "the first try")
            assert pacs.get(both)["Status"] == "Pending"
            kill(pid)
        with house.gateway(f"{TITLE}@127.0.0.1:{dicom}"):
            said = told(pacs, both)
            assert (said["Status"], said["RemoteAET"]) == ("Failure", "XRAYQ")
            assert uids(said["Success"]) == sorted(one for _, one in held)
            assert uids(said["Failures"]) == ["2.25.4711", "2.25.4712"]
            assert {one["FailureReason"] for one in said["Failures"]} == {0x0112}
            assert told(pacs, asked(pacs, held))["Status"] == "Success"
            wait_until(lambda: [one["state"] for one in house.requests()] == ["reported"] * 2, 10, "our commit")
    newest, oldest = house.requests()
    assert (newest["attempts"], oldest["failed"], oldest["attempts"] > 2) == (2, {"0x0112": 2}, True)


def test_a_gateway_that_is_killed_between_its_answer_and_the_report(house: House) -> None:
    """Half a message keeps the report back, so that the gateway has answered, and no more, when it dies."""
    film, modality, there = write_film(house.home, "one", pixels=PIXELS), Modality(), free_port()
    with modality.listens(there):
        with house.gateway(f"CR1@127.0.0.1:{there}") as pid:
            ((sent),) = send("127.0.0.1", house.port, [film], called_ae="XRAYQ", calling_ae="CR1")
            assert sent.status == 0
            instance = str(chest_film("one", pixels=PIXELS).SOPInstanceUID)
            with Peer(house.port) as peer:
                peer.send(associate_rq(calling="CR1", context_list=contexts(sop_class=STORAGE_COMMITMENT)))
                peer.receive()
                question = pdv(STORE_CONTEXT, information("2.25.1", (instance, DX)), is_command=False)
                peer.send(pdata(pdv(STORE_CONTEXT, command(), is_command=True)), pdata(question), b"\4")
                assert peer.response().Status == 0
                kill(pid)
        assert modality.reports == []
        with house.gateway(f"CR1@127.0.0.1:{there}"):
            (report,) = wait_until(lambda: modality.reports, 90, "the report, when the dead one's lease has passed")
            assert (report.transaction_uid, report.held, report.failed) == ("2.25.1", {instance: DX}, {})
            wait_until(lambda: house.requests()[0]["state"] == "reported", 10, "our commit")
