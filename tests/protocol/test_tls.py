"""Associations over TLS (PS3.15 Annex B): DCMTK and pynetdicom as peers, and some who do it wrong."""

import logging
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.errors import BadCertificate
from dicom_gateway.tls import Clients, Profile, TlsOptions, days_left, server_context, server_tls
from tests.certificates import Authority, Certified
from tests.phantoms import write_film
from tests.protocol.conftest import Node
from tests.services import tool, wait_until


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """An authority, and a gateway that trusts it."""

    node: Node
    authority: Authority
    own: Certified
    modality: Certified

    @property
    def port(self) -> int:
        return self.node.gateway.tls_port

    def client(self, certified: Certified | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.authority.file)
        if certified:
            context.load_cert_chain(certified.certificate, certified.key)
        return context


@pytest.fixture
def open_hospital(start: Callable[..., Node], tmp_path: Path) -> Callable[..., Hospital]:
    def make(plain_host: str = "", **options: object) -> Hospital:
        authority = Authority(folder=tmp_path)
        own = authority.issue("xrayq")
        tls = TlsOptions(certificate=own.certificate, key=own.key, authorities=authority.file, **options)
        node = start(tls_port=0, tls=tls, plain_host=plain_host)
        return Hospital(node=node, authority=authority, own=own, modality=authority.issue("modality"))

    return make


@pytest.fixture
def hospital(open_hospital: Callable[..., Hospital]) -> Hospital:
    return open_hospital()


def storescu(hospital: Hospital, certified: Certified | None, film: Path, *words: str) -> tuple[bool, str]:
    """Whether the film was taken, and what DCMTK says."""
    identity = ["+tls", certified.key, certified.certificate] if certified else ["+tla"]
    command = [tool("storescu"), "-v", *identity, "+cf", hospital.authority.file, *words, "-aec", "XRAYQ"]
    done = subprocess.run(
        [str(word) for word in [*command, "127.0.0.1", hospital.port, film]],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = done.stdout + done.stderr
    return "Received Store Response (Success)" in said, said


def echo(hospital: Hospital, context: ssl.SSLContext) -> bool:
    entity = AE(ae_title="CR1")
    entity.add_requested_context(VERIFICATION)
    association = entity.associate("127.0.0.1", hospital.port, tls_args=(context, "127.0.0.1"))
    if not association.is_established:
        return False
    taken = association.send_c_echo().get("Status") == 0
    association.release()
    return taken


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("option", ["+py", "+px"])
def test_dcmtk_with_a_certificate_is_served(
    open_hospital: Callable[..., Hospital], tmp_path: Path, profile: Profile, option: str
) -> None:
    hospital = open_hospital(profile=profile)
    film = write_film(tmp_path, "tls")
    taken, said = storescu(hospital, hospital.modality, film, option)
    assert taken, said
    (received,) = hospital.node.accepted
    assert dcmread(received.path).PixelData == dcmread(film).PixelData


@pytest.mark.parametrize(
    ("who", "logged"),
    [
        ("expired", "certificate has expired"),
        ("foreign", "unable to get local issuer certificate"),
        ("nobody", "peer did not return a certificate"),
    ],
)
def test_who_has_no_good_certificate_is_refused_and_the_log_says_why(
    hospital: Hospital, tmp_path: Path, caplog: pytest.LogCaptureFixture, who: str, logged: str
) -> None:
    foreign = Authority(folder=tmp_path, name="foreign")
    certified = {
        "expired": hospital.authority.issue("old", days=-1),
        "foreign": foreign.issue("modality"),
        "nobody": None,
    }[who]
    taken, _ = storescu(hospital, certified, write_film(tmp_path, "tls"))
    assert not taken
    assert (hospital.node.accepted, hospital.node.files()) == ([], [])
    wait_until(lambda: [record.__dict__["reason"] for record in caplog.records] == [logged], 10, caplog.text)
    assert echo(hospital, hospital.client(hospital.modality))


def test_any_client_may_come_where_no_certificate_is_asked_for(open_hospital: Callable[..., Hospital]) -> None:
    hospital = open_hospital(clients=Clients.ANY)
    assert echo(hospital, hospital.client(None))


def test_both_ports_are_served_and_each_speaks_its_own(hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    entity = AE(ae_title="CR1")
    entity.acse_timeout = entity.network_timeout = 5
    entity.add_requested_context(VERIFICATION)
    plain = entity.associate("127.0.0.1", hospital.node.port)
    assert plain.is_established
    plain.release()
    assert not entity.associate("127.0.0.1", hospital.port).is_established, "plain DICOM on the port for TLS"
    with pytest.raises(OSError):
        hospital.client(hospital.modality).wrap_socket(
            socket.create_connection(("127.0.0.1", hospital.node.port), timeout=5), server_hostname="127.0.0.1"
        )
    assert "TLS handshake failed" in caplog.text


def test_from_the_network_there_is_only_tls_where_the_plain_port_is_on_another_address(
    open_hospital: Callable[..., Hospital],
) -> None:
    hospital = open_hospital(plain_host="127.0.0.2")
    assert echo(hospital, hospital.client(hospital.modality))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", hospital.node.port), timeout=5)
    socket.create_connection(("127.0.0.2", hospital.node.port), timeout=5).close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_refused(hospital: Hospital) -> None:
    old = hospital.client(hospital.modality)
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", hospital.port), timeout=5) as connection, pytest.raises(ssl.SSLError):
        old.wrap_socket(connection, server_hostname="127.0.0.1")


def test_suites_are_those_of_the_profiles(hospital: Hospital) -> None:
    def offered(profile: Profile) -> set[str]:
        own = hospital.own
        options = TlsOptions(certificate=own.certificate, key=own.key, clients=Clients.ANY, profile=profile)
        return {suite["name"] for suite in server_context(options).get_ciphers()}

    modern, older = offered(Profile.BCP195), offered(Profile.NON_DOWNGRADING)
    assert {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "TLS_AES_128_GCM_SHA256"} <= modern
    assert older - modern == {"DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384"}
    assert not [name for name in modern | older if "CBC" in name or name[-3:] == "SHA" or "RC4" in name]


def drip(port: int) -> Iterator[bool]:
    """A byte of a TLS record at a time; whether the gateway still listens."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(0.05)
        for byte in b"\x16\x03\x01\x02\x00" + bytes(500):
            try:
                connection.send(bytes([byte]))
                yield connection.recv(1) != b""
            except TimeoutError:
                yield True
            except OSError:
                yield False


def test_a_handshake_that_drips_or_hangs_ends_and_keeps_nobody_waiting(hospital: Hospital) -> None:
    client = hospital.client(hospital.modality)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", hospital.port)))
        begun = time.monotonic()
        assert echo(hospital, client)
        assert time.monotonic() - begun < 10, "not 1 s for each of the 30"
        dripping = drip(hospital.port)
        while next(dripping):
            assert time.monotonic() - begun < 20, "the association time-out of 1 s holds for the whole handshake"


def test_new_associations_get_the_new_certificate_and_open_ones_go_on(hospital: Hospital) -> None:
    client = hospital.client(hospital.modality)
    entity = AE(ae_title="CR1")
    entity.add_requested_context(VERIFICATION)
    before = entity.associate("127.0.0.1", hospital.port, tls_args=(client, "127.0.0.1"))
    first = shown(hospital, client)
    renewed = hospital.authority.issue("renewed")
    hospital.own.certificate.write_bytes(renewed.certificate.read_bytes())
    assert shown(hospital, client) == first, "the key is still the old one"
    hospital.own.key.write_bytes(renewed.key.read_bytes())
    assert shown(hospital, client) != first
    assert before.send_c_echo().Status == 0
    before.release()


def shown(hospital: Hospital, client: ssl.SSLContext) -> bytes | None:
    """The certificate that the gateway shows now."""
    with (
        socket.create_connection(("127.0.0.1", hospital.port), timeout=5) as connection,
        client.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        return secured.getpeercert(binary_form=True)


def test_an_abort_is_read_within_tls_and_the_end_is_said(hospital: Hospital) -> None:
    client = hospital.client(hospital.modality)
    with (
        socket.create_connection(("127.0.0.1", hospital.port), timeout=5) as connection,
        client.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(b"\x04\x00\x00\x00\x00\x00")  # P-DATA-TF first
        assert secured.recv(10)[0] == 0x07, "A-ABORT"
        assert secured.recv(1) == b"", "close_notify: a cut connection would raise"


def test_stop_ends_what_rests(hospital: Hospital) -> None:
    entity = AE(ae_title="CR1")
    entity.add_requested_context(VERIFICATION)
    association = entity.associate(
        "127.0.0.1", hospital.port, tls_args=(hospital.client(hospital.modality), "127.0.0.1")
    )
    assert association.is_established
    hospital.node.gateway.stop(grace=0)
    wait_until(lambda: not association.is_established, 10, "the association to end")
    wait_until(lambda: hospital.node.gateway.established == 0, 10, "its thread to end")


@pytest.mark.parametrize("fault", ["no key", "no PEM", "another key", "no authorities"])
def test_files_that_cannot_be_used_are_named(hospital: Hospital, tmp_path: Path, fault: str) -> None:
    own, other = hospital.own, hospital.modality
    key = {"no key": tmp_path / "missing.key", "no PEM": tmp_path / "text.key", "another key": other.key}
    (tmp_path / "text.key").write_text("a film")
    authorities = None if fault == "no authorities" else hospital.authority.file
    with pytest.raises(BadCertificate) as raised:
        server_tls(TlsOptions(certificate=own.certificate, key=key.get(fault, own.key), authorities=authorities))
    wanted = {"no key": "No such file", "no PEM": "no pem", "another key": "values mismatch"}
    assert wanted.get(fault, "no authorities are named") in str(raised.value)


def test_days_until_it_expires(hospital: Hospital) -> None:
    assert days_left(hospital.own.certificate) == pytest.approx(90, abs=0.01)
    assert days_left(hospital.authority.issue("old", days=-2).certificate) == pytest.approx(-2, abs=0.01)
    with pytest.raises(BadCertificate):
        days_left(hospital.own.key)


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "xrayq.gateway")
