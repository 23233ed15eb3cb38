"""Who may come, over real sockets: 127.0.0.x stand for the hospital's addresses."""

import logging
import os
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydicom import uid
from pynetdicom import AE

from dicom_gateway import scu
from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.peers import Certificate, Connected, Peer, Policy, Right, Unknown, standing
from dicom_gateway.spool import Spool
from dicom_gateway.tls import TlsOptions, shown, subject_of
from tests.certificates import Authority, Certified
from tests.phantoms import write_film
from tests.protocol.conftest import Node
from tests.protocol.raw import ASSOCIATE_AC, ASSOCIATE_RJ
from tests.protocol.raw import Peer as Raw
from tests.protocol.test_observer import Notes
from tests.services import tool, wait_until

Start = Callable[..., Node]
HERE = ip_network("127.0.0.1")


class Seen(Notes):
    def unknown(self, calling_ae: str, why: str, entry: str) -> None:
        self.told.append(("unknown", calling_ae, why, entry))


def asks(policy: Policy | None, **rows: object) -> Callable[[Connected], object]:
    """CR1, at 127.0.0.1."""
    peer = Peer(**{"calling_ae": "CR1", "networks": (HERE,)} | rows)  # type: ignore[arg-type]
    return partial(standing, {"CR1": peer}, policy)


def rejected(node: Node, calling: str, address: str = "127.0.0.1") -> tuple[int, int, int] | None:
    """Result, source and reason of the A-ASSOCIATE-RJ; None where the peer was let in."""
    with Raw(node.port, address=address) as peer:
        answer = peer.associate(calling=calling)
        if answer.kind == ASSOCIATE_AC:
            assert peer.echo() == 0
            return None
        assert answer.kind == ASSOCIATE_RJ
        assert peer.is_closed()
        result, source, reason = answer.body[1:4]
        return result, source, reason


def test_an_unknown_peer_is_rejected_with_its_reason(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    node = start(standing=asks(Policy.REJECT), observer=seen)
    with caplog.at_level(logging.WARNING, "xrayq.gateway"):
        assert rejected(node, "CR1") is None
        assert rejected(node, "CR2") == (1, 1, 3)
        assert rejected(node, "CR1", "127.0.0.9") == (1, 1, 3)
    assert [told for told in seen.told if told[0] in ("unknown", "rejected")] == [
        ("unknown", "CR2", "AE", "rejected"),
        ("rejected", "CR2", "UNKNOWN_AE"),
        ("unknown", "CR1", "ADDRESS", "rejected"),
        ("rejected", "CR1", "UNKNOWN_ADDRESS"),
    ]
    lines = [vars(record) for record in caplog.records if record.message == "unknown peer"]
    assert [(line["calling_ae"], line["peer"], line["reason"]) for line in lines] == [
        ("CR2", "127.0.0.1", Unknown.AE),
        ("CR1", "127.0.0.9", Unknown.ADDRESS),
    ]


def test_dcmtk_says_that_the_calling_title_is_not_recognized(start: Start) -> None:
    node = start(standing=asks(Policy.REJECT))
    command = [tool("echoscu"), "-aet", "CR2", "-aec", "XRAYQ", "127.0.0.1", str(node.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode != 0
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr


def test_in_quarantine_a_film_is_received_as_ever_and_says_where_it_came_from(start: Start, tmp_path: Path) -> None:
    node = start(standing=asks(Policy.QUARANTINE))
    command = [tool("storescu"), "-v", "-aet", "CR2", "-aec", "XRAYQ", "127.0.0.1", str(node.port)]
    film = write_film(tmp_path)
    done = subprocess.run([*command, str(film)], capture_output=True, text=True, timeout=180, check=False)
    assert "Received Store Response (Success)" in done.stdout + done.stderr
    (arrived,) = node.accepted
    assert arrived.sent_by == Connected(calling_ae="CR2", address="127.0.0.1")


@pytest.mark.parametrize(("right", "echo", "store"), [(Right.ECHO, True, False), (Right.STORE, False, True)])
def test_a_context_to_which_a_peer_has_no_right_is_refused(
    start: Start, tmp_path: Path, right: Right, echo: bool, store: bool
) -> None:
    seen = Seen()
    node = start(standing=asks(Policy.REJECT, rights=frozenset({right})), observer=seen)
    entity = AE(ae_title="CR1")
    entity.add_requested_context(VERIFICATION)
    entity.add_requested_context(uid.DigitalXRayImageStorageForPresentation)
    association = entity.associate("127.0.0.1", node.port)
    results = {str(context.abstract_syntax): context.result for context in association.rejected_contexts}
    taken = {str(context.abstract_syntax) for context in association.accepted_contexts}
    association.release()
    assert (VERIFICATION in taken, uid.DigitalXRayImageStorageForPresentation in taken) == (echo, store)
    assert list(results.values()) == [1], "user rejection (PS3.8 Table 9-18)"
    assert [told[3] for told in seen.told if told[0] == "context"] == ["user_rejection"]


def test_a_peer_has_as_many_associations_as_its_row_says(start: Start) -> None:
    seen = Seen()
    node = start(standing=asks(None, most_associations=2), observer=seen)
    held = [Raw(node.port) for _ in range(3)]
    answers = [peer.associate(calling="CR1") for peer in held]
    assert [answer.kind for answer in answers] == [ASSOCIATE_AC, ASSOCIATE_AC, ASSOCIATE_RJ]
    assert tuple(answers[2].body[1:4]) == (2, 3, 2), "transient, local limit exceeded (PS3.8 Table 9-21)"
    assert ("rejected", "CR1", "PEER_LIMIT") in seen.told
    assert rejected(node, "OTHER") is None, "it stands in nobody else's way"
    for peer in held:
        peer.socket.close()
    wait_until(lambda: node.gateway.established == 0, 10, "their ends")
    assert rejected(node, "CR1") is None


def test_strangers_leave_places_and_space_to_peers(start: Start, tmp_path: Path) -> None:
    seen = Seen()
    free = free_bytes_of(tmp_path)
    spool = Spool(tmp_path / "spool", reserve_bytes=free * 2 // 3)
    node = start(standing=asks(Policy.QUARANTINE), observer=seen, max_quarantined=1, spool=spool)
    with Raw(node.port) as stranger:
        assert stranger.associate(calling="CR2").kind == ASSOCIATE_AC
        assert rejected(node, "CR3") == (2, 3, 2)
        assert rejected(node, "CR1") is None
    assert ("rejected", "CR3", "UNKNOWN_LIMIT") in seen.told
    wait_until(lambda: node.gateway.established == 0, 10, "its end")
    film = write_film(tmp_path)
    statuses = [
        answer.status
        for calling_ae in ("CR3", "CR1")
        for answer in scu.send("127.0.0.1", node.port, [film], called_ae="XRAYQ", calling_ae=calling_ae)
    ]
    assert statuses == [0xA700, 0]


def free_bytes_of(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def certificate_of(certified: Certified) -> Certificate:
    first = certified.certificate.read_text().partition("-----END CERTIFICATE-----")
    return shown(ssl.PEM_cert_to_DER_cert(first[0] + first[1]))


def test_a_certificate_is_part_of_who_a_peer_is(start: Start, tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    own, right, other = (authority.issue(name) for name in ("xrayq", "cr1", "cr2"))
    tls = TlsOptions(certificate=own.certificate, key=own.key, authorities=authority.file)
    seen = Seen()
    row = certificate_of(right)
    assert row.subject
    known = asks(Policy.REJECT, certificate_subject=subject_of(row.subject), certificate_sha256=row.sha256)
    node = start(tls_port=0, tls=tls, standing=known, observer=seen)

    def let_in(certified: Certified) -> bool:
        client = ssl.create_default_context(cafile=authority.file)
        client.load_cert_chain(certified.certificate, certified.key)
        entity = AE(ae_title="CR1")
        entity.add_requested_context(VERIFICATION)
        association = entity.associate("127.0.0.1", node.gateway.tls_port, tls_args=(client, "127.0.0.1"))
        established = association.is_established
        if established:
            association.release()
        return established

    assert [let_in(right), let_in(other)] == [True, False]
    assert rejected(node, "CR1") == (1, 1, 3), "without TLS it shows none"
    assert [told[2] for told in seen.told if told[0] == "unknown"] == ["CERTIFICATE", "CERTIFICATE"]
