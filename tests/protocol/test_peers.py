"""Real senders: DCMTK, pynetdicom, and our own SCU."""

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pynetdicom import AE, build_role
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from dicom_gateway import scu
from dicom_gateway.contexts import FILM_CLASSES, TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.header import read_header
from tests.phantoms import write_film
from tests.protocol.conftest import Node
from tests.services import tool

# storescu's option for each transfer syntax DCMTK 3.6.7 can send as it is (it knows no HTJ2K).
STORESCU_OPTIONS = {
    uid.ExplicitVRLittleEndian: "-xe",
    uid.ImplicitVRLittleEndian: "-xi",
    uid.ExplicitVRBigEndian: "-xb",
    uid.DeflatedExplicitVRLittleEndian: "-xd",
    uid.JPEGLosslessSV1: "-xs",
    uid.JPEGBaseline8Bit: "-xy",
    uid.JPEGExtended12Bit: "-xx",
    uid.JPEG2000Lossless: "-xv",
    uid.JPEG2000: "-xw",
    uid.JPEGLSLossless: "-xt",
    uid.JPEGLSNearLossless: "-xu",
    uid.RLELossless: "-xr",
}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, check=False)


def test_echoscu(node: Node) -> None:
    done = run(tool("echoscu"), "-v", "-aec", "XRAYQ", "127.0.0.1", node.port)
    assert done.returncode == 0, done.stderr
    assert "Received Echo Response (Success)" in done.stdout + done.stderr


def test_echoscu_is_rejected_by_a_wrong_title(start: Callable[..., Node]) -> None:
    node = start(require_called_ae=True)
    done = run(tool("echoscu"), "-aec", "WRONG", "127.0.0.1", node.port)
    assert done.returncode != 0
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr


@pytest.mark.parametrize("syntax", STORESCU_OPTIONS, ids=lambda one: uid.UID(one).name)
def test_storescu(node: Node, tmp_path: Path, syntax: str) -> None:
    film = write_film(tmp_path, "dcmtk", syntax=syntax)
    done = run(
        tool("storescu"), "-v", STORESCU_OPTIONS[syntax], "-aet", "CR1", "-aec", "XRAYQ", "127.0.0.1", node.port, film
    )
    assert done.returncode == 0, done.stderr
    assert "Received Store Response (Success)" in done.stdout + done.stderr
    (received,) = node.accepted
    assert received.calling_ae == "CR1"
    assert received.header == read_header(film)
    assert dcmread(received.path).PixelData == dcmread(film).PixelData


def test_storescu_with_a_user_identity(node: Node, tmp_path: Path) -> None:
    film = write_film(tmp_path, "identity")
    done = run(tool("storescu"), "-v", "-usr", "me", "-pwd", "secret", "127.0.0.1", node.port, film)
    assert done.returncode == 0, done.stderr
    assert len(node.accepted) == 1


def test_dcmsend_after_contexts_of_another_service(node: Node, tmp_path: Path) -> None:
    film = write_film(tmp_path, "dcmsend")
    asked = run(tool("findscu"), "-W", "-k", "0008,0052=STUDY", "127.0.0.1", node.port)
    assert asked.returncode != 0, "a worklist is not served here"
    done = run(tool("dcmsend"), "-v", "127.0.0.1", node.port, film)
    assert done.returncode == 0, done.stderr
    assert len(node.accepted) == 1


@pytest.mark.parametrize("extra", ["role", "role both", "identity", "operations", "extended", "common"])
def test_pynetdicom_with_extended_negotiation(node: Node, tmp_path: Path, extra: str) -> None:
    film = dcmread(write_film(tmp_path, "extended"))
    entity = AE(ae_title="PYNETDICOM")
    entity.add_requested_context(film.SOPClassUID, uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ext_neg=[_extra(extra, film.SOPClassUID)])
    assert association.is_established
    assert [(context.as_scu, context.as_scp) for context in association.accepted_contexts] == [(True, False)]
    assert association.send_c_store(film).Status == 0x0000
    association.release()


def _extra(name: str, sop_class: uid.UID) -> object:
    """An item of extended negotiation (PS3.7 D.3.3)."""
    if name.startswith("role"):
        return build_role(sop_class, scu_role=True, scp_role="both" in name)
    if name == "identity":
        identity = UserIdentityNegotiation()
        identity.user_identity_type, identity.positive_response_requested = 2, True
        identity.primary_field, identity.secondary_field = b"me", b"secret"
        return identity
    if name == "operations":
        operations = AsynchronousOperationsWindowNegotiation()
        operations.maximum_number_operations_invoked = operations.maximum_number_operations_performed = 5
        return operations
    if name == "extended":
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid, extended.service_class_application_information = sop_class, b"\2\0\3\0\1\0"
        return extended
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = sop_class, uid.UID("1.2.840.10008.4.2")
    return common


@pytest.mark.parametrize("pdu", ["4096", "131072"])
def test_storescu_repeats_over_one_association(node: Node, tmp_path: Path, pdu: str) -> None:
    film = write_film(tmp_path, "repeated")
    done = run(
        tool("storescu"), "-xe", "--max-pdu", pdu, "--max-send-pdu", pdu, "--repeat", "5", "--invent-instance",
        "127.0.0.1", node.port, film,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(node.accepted) == len({received.header.sop_instance_uid for received in node.accepted}) == 5


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda row: row.name)
def test_our_own_scu_stores_every_syntax_byte_for_byte(node: Node, tmp_path: Path, syntax: TransferSyntax) -> None:
    film = write_film(tmp_path, "own", syntax=syntax.uid)
    (sent,) = scu.send("127.0.0.1", node.port, [film], called_ae="XRAYQ")
    assert (sent.path, sent.status) == (film, 0x0000)
    (received,) = node.accepted
    assert received.header == read_header(film)
    assert dcmread(received.path).PixelData == dcmread(film).PixelData


def test_echo_beyond_descriptor_1023(node: Node, many_files: None) -> None:
    with ExitStack() as stack:
        while stack.enter_context(Path(os.devnull).open()).fileno() < 1024:
            pass
        scu.echo("127.0.0.1", node.port, called_ae="XRAYQ")


def test_our_own_scu_echoes_and_says_when_nobody_listens(node: Node) -> None:
    scu.echo("127.0.0.1", node.port, called_ae="XRAYQ")
    port = node.port
    node.gateway.stop()
    with pytest.raises(PeerUnavailable):
        scu.echo("127.0.0.1", port, called_ae="XRAYQ", timeout=2)


@pytest.mark.parametrize("sop_class", FILM_CLASSES, ids=FILM_CLASSES.get)
def test_pynetdicom(node: Node, tmp_path: Path, sop_class: str) -> None:
    film = dcmread(write_film(tmp_path, "pynetdicom", SOPClassUID=sop_class))
    entity = AE(ae_title="PYNETDICOM")
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.add_requested_context(sop_class, uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ae_title="XRAYQ")
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    assert association.send_c_store(film).Status == 0x0000
    film.SOPInstanceUID = ""
    association.release()
    assert [received.calling_ae for received in node.accepted] == ["PYNETDICOM"]
