"""C-MOVE and C-GET from Debian's Orthanc, plain and over TLS, one that is killed meanwhile, and DCMTK's dcmqrscp."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.asking import asking
from dicom_gateway.contexts import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.retrieving import Retrieval
from dicom_gateway.spool import Spool
from dicom_gateway.storing import Storing
from dicom_gateway.tls import ClientOptions, TlsOptions, client_context
from tests.certificates import Authority
from tests.orthanc import TITLE, MutualTls, Orthanc, orthanc
from tests.protocol.conftest import Node
from tests.protocol.test_retrieving import series, wanted
from tests.services import free_port, listening, tool, wait_until


@contextmanager
def archive(tmp_path: Path, gateway: int, films: list[Dataset], tls: MutualTls | None = None) -> Iterator[Orthanc]:
    with orthanc(tmp_path / "orthanc", gateway, dicom=free_port(), tls=tls) as pacs:
        for film in films:
            pacs.post("/instances", save(film, tmp_path / "film.dcm").read_bytes())
        yield pacs


@contextmanager
def dcmqrscp(folder: Path, gateway: int, films: list[Dataset]) -> Iterator[int]:
    """Its port."""
    program, port = tool("dcmqrscp"), free_port()
    (folder / "db").mkdir()
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nxrayq = (XRAYQ, 127.0.0.1, {gateway})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{TITLE} {folder / 'db'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    paths = [save(film, folder / f"{place}.dcm") for place, film in enumerate(films)]
    with (folder / "dcmqrscp.log").open("wb") as log:
        server = subprocess.Popen([program, "-c", str(config), str(port)], stdout=log, stderr=log)
    try:
        wait_until(lambda: listening(port), 10, "dcmqrscp")
        subprocess.run([tool("storescu"), "-aec", TITLE, "127.0.0.1", str(port), *map(str, paths)], check=True)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


@contextmanager
def retrieval(
    port: int, operation: str, storing: Storing | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Retrieval]:
    with asking("127.0.0.1", port, (operation,), called_ae=TITLE, calling_ae="XRAYQ", storing=storing, tls=tls) as peer:
        yield Retrieval(peer, seconds=30)


def uids(arrived: list[Any]) -> list[str]:
    return sorted(one.header.sop_instance_uid for one in arrived)


@pytest.mark.parametrize("secure", [pytest.param(False, marks=pytest.mark.slow), True], ids=["plain", "tls"])
def test_films_of_a_series_and_no_other(
    secure: bool, start: Callable[..., Node], spool_root: Path, tmp_path: Path
) -> None:
    films = series(4)
    films[1] = in_syntax(films[1], uid.RLELossless)
    films[2] = in_syntax(films[2], uid.JPEG2000Lossless)
    mutual, client, options = None, None, {}
    if secure:
        authority = Authority(folder=tmp_path)
        own = authority.issue("xrayq")
        mutual = MutualTls(own=authority.issue("pacs"), authorities=authority.file)
        client = client_context(ClientOptions(authorities=authority.file, certificate=own.certificate, key=own.key))
        served = TlsOptions(certificate=own.certificate, key=own.key, authorities=authority.file)
        options = {"tls_port": 0, "tls": served}
    node = start(**options)
    port = node.gateway.tls_port if secure else node.port
    three = wanted(*films[:3])
    lost, expected = wanted(series(5)[4]), sorted(three.sop_instance_uids)
    with archive(tmp_path, port, films, mutual) as pacs:
        with retrieval(pacs.dicom, STUDY_ROOT_MOVE, tls=client) as moving:
            answer = moving.move(three, to_ae="XRAYQ")
            assert (answer.fault, answer.counts.completed, uids(node.accepted)) == ("", 3, expected)
            assert moving.move(lost, to_ae="XRAYQ").fault == "unable_to_process", "its word for that"
            assert moving.move(three, to_ae="NOBODY").fault == "unable_to_process", "and for that"
        arrived: list[Any] = []
        storing = Storing(spool=Spool(spool_root, reserve_bytes=0), accept=arrived.append)
        with retrieval(pacs.dicom, STUDY_ROOT_GET, storing, client) as getting:
            answer = getting.get(three)
            assert (answer.fault, answer.counts.completed, uids(arrived)) == ("", 3, expected)
            assert answer.here == set(expected)
            assert getting.get(lost).fault == "unable_to_process"
            answer = getting.get(wanted(films[0], *series(7)[5:]))
            assert (answer.fault, answer.here) == ("some_failed", {films[0].SOPInstanceUID})
            assert answer.failed_uids == {film.SOPInstanceUID for film in series(7)[5:]}, "asked one by one"
            del arrived[3:]
    kept, sent = ({one.header.transfer_syntax_uid for one in came} for came in (arrived, node.accepted))
    assert kept == sent == {uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless}, "as it has them"
    assert {one.digest for one in arrived} == {one.digest for one in node.accepted}, "the same bytes either way"


def test_films_of_dcmtk(node: Node, spool_root: Path, tmp_path: Path) -> None:
    """It says success of what it does not have, and knows what a destination is."""
    films, arrived = series(3), list[Any]()
    two, with_lost, lost = wanted(*films[:2]), wanted(*films[1:], *series(5)[3:]), wanted(series(5)[4])
    with dcmqrscp(tmp_path, node.port, films) as port:
        with retrieval(port, STUDY_ROOT_MOVE) as moving:
            answers = [moving.move(one, to_ae="XRAYQ") for one in (two, with_lost, lost)]
            assert [answer.fault for answer in answers] == ["", "sent_fewer", "none_sent"]
            assert moving.move(two, to_ae="NOBODY").fault == "destination_unknown"
        assert len(node.accepted) == 4
        storing = Storing(spool=Spool(spool_root, reserve_bytes=0), accept=arrived.append)
        with retrieval(port, STUDY_ROOT_GET, storing) as getting:
            answers = [getting.get(one) for one in (two, with_lost, lost)]
    assert [answer.fault for answer in answers] == ["", "sent_fewer", "none_sent"]
    assert [len(answer.here) for answer in answers] == [2, 2, 0]
    assert uids(arrived) == uids(node.accepted)


@pytest.mark.parametrize("operation", [STUDY_ROOT_MOVE, STUDY_ROOT_GET], ids=["move", "get"])
def test_an_orthanc_that_is_killed_meanwhile(
    operation: str, start: Callable[..., Node], spool_root: Path, tmp_path: Path
) -> None:
    films, arrived, servers = series(5), list[Any](), list[Orthanc]()

    def accept(film: Any) -> None:
        servers[0].server.kill()
        servers[0].server.wait(10)
        arrived.append(film)

    node = start(accept=accept)
    with archive(tmp_path, node.port, films) as pacs:
        servers.append(pacs)
        spool = Spool(spool_root, reserve_bytes=0)
        storing = Storing(spool=spool, accept=accept) if operation == STUDY_ROOT_GET else None
        with retrieval(pacs.dicom, operation, storing) as fetching:
            answer = fetching.get(wanted(*films)) if storing else fetching.move(wanted(*films), to_ae="XRAYQ")
    assert answer.fault == "no_answer"
    assert len(answer.here) == (1 if storing else 0)
    wait_until(lambda: len(arrived) == 1, 10, "the film that was here when it died")
