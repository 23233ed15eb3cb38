"""What the gateway's process says when it begins."""

import json
import ssl
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.spool import INCOMING, Spool
from tests.certificates import Authority
from tests.modality import Modality
from tests.pacs import Pacs
from tests.services import environment, free_port, listening, process, typed_in, wait_until


def lines_of_a_start(home: Path, name: str) -> list[dict[str, object]]:
    """Of the log, from the start of a gateway until it listened."""
    port, log = free_port(), home / name
    with process("gateway", environment(home=str(home), port=str(port), log_format="json"), log):
        wait_until(lambda: listening(port), 30, "the gateway")
        wait_until(lambda: '"listening"' in log.read_text(), 10, "its line")
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_half_written_films_that_were_removed_have_a_line_of_their_own(tmp_path: Path) -> None:
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        xrayq("db", "upgrade")
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for name in ("a.part", "b.part"):
        (spool.root / INCOMING / name).write_bytes(b"half")
    first, again = lines_of_a_start(tmp_path, "first.log"), lines_of_a_start(tmp_path, "again.log")
    said = {str(line["message"]): line for line in first}
    assert said["removed half-written films that nobody was promised"]["count"] == 2
    assert "count" not in said["listening"]
    assert [line["message"] for line in again if "count" in line] == []


def test_tls_beside_the_plain_port_of_this_machine(tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    own, modality = authority.issue("xrayq", days=20), authority.issue("modality")
    plain, secure, http = free_port(), free_port(), free_port()
    settings = {
        "home": str(tmp_path),
        "port": str(plain),
        "plain_host": "127.0.0.1",
        "tls_port": str(secure),
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_authorities": str(authority.file),
        "gateway_http_port": str(http),
    }
    with typed_in(tmp_path, **settings) as xrayq:
        xrayq("db", "upgrade")
        with process("gateway", environment(**settings), tmp_path / "log"):
            wait_until(lambda: listening(secure), 30, "the gateway")
            client = ssl.create_default_context(cafile=authority.file)
            client.load_cert_chain(modality.certificate, modality.key)
            entity = AE(ae_title="CR1")
            entity.add_requested_context(VERIFICATION)
            association = entity.associate("127.0.0.1", secure, tls_args=(client, "127.0.0.1"))
            assert association.send_c_echo().Status == 0
            association.release()
            with urlopen(f"http://127.0.0.1:{http}/readyz") as answer:
                assert answer.status == 200, "it asks itself over the plain port"
            with urlopen(f"http://127.0.0.1:{http}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            (left,) = [line for line in lines if line.startswith("xrayq_certificate_expires_seconds ")]
            assert float(left.split()[1]) == pytest.approx(20 * 86400, abs=600)
            said = xrayq("doctor")[1]
            assert "the certificate for TLS is good for 20 days" in said
            own.certificate.write_bytes(authority.issue("soon", days=3).certificate.read_bytes())
            assert "the certificate for TLS expires in 3 days" in xrayq("doctor")[1]


@pytest.mark.slow
def test_tls_alone(tmp_path: Path) -> None:
    """No port without it is left: health and doctor go in with our certificate, and say what is wrong with it."""
    authority, foreign = Authority(folder=tmp_path), Authority(folder=tmp_path, name="foreign")
    own, secure, http = authority.issue("xrayq", names=("xrayq.example",)), free_port(), free_port()
    settings = {
        "home": str(tmp_path),
        "host": "127.0.0.1",
        "port": "0",
        "tls_port": str(secure),
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_authorities": str(authority.file),
        "gateway_http_port": str(http),
    }
    with typed_in(tmp_path, **settings) as xrayq:
        xrayq("db", "upgrade")
        with process("gateway", environment(**settings), tmp_path / "log") as gateway:
            wait_until(lambda: listening(http), 30, "the gateway")
            code, said, _ = xrayq("health", "gateway")
            assert (code, "c-echo: answers C-ECHO over TLS" in said) == (0, True), said
            assert f"a gateway answers C-ECHO over TLS on 127.0.0.1:{secure}, called XRAYQ" in xrayq("doctor")[1]
            ports = {found.laddr.port for found in psutil.Process(gateway.pid).net_connections() if not found.raddr}
            assert ports == {secure, http}
            strange = foreign.issue("xrayq")
            own.key.write_bytes(strange.key.read_bytes())
            own.certificate.write_bytes(strange.certificate.read_bytes())
            code, said, _ = xrayq("doctor")
            assert code == 5
            (line,) = [line for line in said.splitlines() if line.startswith("WRONG  gateway ")]
            assert "TLS" in line or "which may not take our certificate" in line
            wait_until(lambda: xrayq("health", "gateway")[0] == 5, 10, "it to be unready")


def test_commitment_is_answered_and_its_reports_without_a_role_are_those_of_the_pacs_of_results(tmp_path: Path) -> None:
    port = free_port()
    settings = {"home": str(tmp_path), "port": str(port), "results_to": "*:PACS@127.0.0.1:1,CR1:mllp://127.0.0.1:2"}
    with typed_in(tmp_path, **settings) as xrayq:
        xrayq("db", "upgrade")
    with process("gateway", environment(**settings), tmp_path / "log"):
        wait_until(lambda: listening(port), 30, "the gateway")
        said, item = Dataset(), Dataset()
        said.TransactionUID, said.ReferencedSOPSequence = "2.25.1", [item]
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, "2.25.2"
        for title, status in (("PACS", 0x0000), ("CR1", 0x0211)):
            pacs = Pacs(port=0, title=title, reports_to=port, role=False)
            pacs.report(said)
            assert pacs.reports == [status], title
        modality = Modality()
        association = modality.asks(port)
        assert modality.request(association, {"2.25.2": CTImageStorage})[0] == 0x0000
        (report,) = wait_until(lambda: modality.reports, 20, "the report")
        assert report.failed == {"2.25.2": 0x0112}
        association.release()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("tls_key", "XRAYQ_TLS_PORT needs XRAYQ_TLS_CERTIFICATE and XRAYQ_TLS_KEY"),
        ("tls_authorities", "XRAYQ_TLS_CLIENTS certified needs XRAYQ_TLS_AUTHORITIES"),
        ("file", "no TLS: "),
    ],
)
def test_half_of_tls_is_said_at_the_start(tmp_path: Path, missing: str, words: str) -> None:
    authority = Authority(folder=tmp_path)
    own = authority.issue("xrayq")
    settings = {
        "home": str(tmp_path),
        "port": str(free_port()),
        "tls_port": str(free_port()),
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_authorities": str(authority.file),
    }
    if missing == "file":
        own.key.unlink()
    else:
        del settings[missing]
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        xrayq("db", "upgrade")
    with typed_in(tmp_path, **settings) as xrayq:
        code, _, err = xrayq("gateway")
    assert (code, err.count("\n")) == (2 if missing != "file" else code, 1)
    assert code
    assert words in err
