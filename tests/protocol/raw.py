"""A Storage SCU that can do everything wrong: bytes over a socket, with pynetdicom only to encode an A-ASSOCIATE-RQ."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import PresentationContext, build_context

from dicom_gateway.contexts import VERIFICATION

ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP, ABORT = 0x02, 0x03, 0x04, 0x06, 0x07
RELEASE_RQ = struct.pack(">BxLL", 0x05, 4, 0)
DX = uid.DigitalXRayImageStorageForPresentation
ECHO_CONTEXT, STORE_CONTEXT = 1, 3
C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ = 0x0001, 0x0020, 0x0030


@dataclass(frozen=True)
class Pdu:
    kind: int
    body: bytes


class Peer:
    """One TCP connection, from any of 127.0.0.0/8. `receive` answers None when the gateway has closed it."""

    def __init__(self, port: int, timeout: float = 10.0, buffer: int | None = None, address: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self.socket.bind((address, 0))
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def receive(self) -> Pdu | None:
        try:
            head = self._exactly(6)
            if head is None:
                return None
            kind, length = struct.unpack(">BxL", head)
            body = self._exactly(length)
        except (ConnectionResetError, BrokenPipeError):
            return None
        return None if body is None else Pdu(kind, body)

    def associate(self, **request: Any) -> Pdu:
        """Ask for Verification (context 1) and DX storage (context 3); returns the gateway's answer."""
        self.send(associate_rq(**request))
        answer = self.receive()
        assert answer is not None, "closed instead of an answer to A-ASSOCIATE-RQ"
        return answer

    def response(self) -> Dataset:
        """The command set of the next DIMSE response."""
        command_set = b""
        while True:
            pdu = self.receive()
            assert pdu is not None, "closed instead of a response"
            assert pdu.kind == P_DATA, f"PDU {pdu.kind:#x} {pdu.body!r} instead of a response"
            length, _, control = struct.unpack_from(">LBB", pdu.body)
            command_set += pdu.body[6 : 4 + length]
            if control & 2:
                return decode(BytesIO(command_set), True, True)

    def echo(self, message_id: int = 1) -> int:
        command = command_set(C_ECHO_RQ, message_id, sop_class=VERIFICATION)
        self.send(pdata(pdv(ECHO_CONTEXT, command, is_command=True)))
        return int(self.response().Status)

    def store(self, dataset: bytes, instance: str, **command: Any) -> Dataset:
        """C-STORE in fragments of 16 KB."""
        self.send(store_command(instance, **command), *store_fragments(dataset))
        return self.response()

    def is_closed(self) -> bool:
        """True when nothing more comes; reads whatever was left."""
        while self.receive() is not None:
            pass
        return True

    def _exactly(self, length: int) -> bytes | None:
        got = b""
        while len(got) < length:
            chunk = self.socket.recv(length - len(got))
            if not chunk:
                return None
            got += chunk
        return got


def contexts(syntax: str = uid.ExplicitVRLittleEndian, sop_class: str = DX) -> list[PresentationContext]:
    verification, store = build_context(VERIFICATION), build_context(sop_class, syntax)
    verification.context_id, store.context_id = ECHO_CONTEXT, STORE_CONTEXT
    return [verification, store]


def associate_rq(
    *,
    called: str = "XRAYQ",
    calling: str = "RAW",
    max_pdu: int = 16384,
    context_list: Sequence[PresentationContext] | None = None,
    application: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    request = A_ASSOCIATE()
    request.application_context_name = application
    request.calling_ae_title, request.called_ae_title = calling, called
    request.presentation_context_definition_list = list(context_list or contexts())
    largest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    largest.maximum_length_received = max_pdu
    implementation.implementation_class_uid = uid.UID("1.2.3.4")
    request.user_information = [largest, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def item(kind: int, value: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    return struct.pack(">BxH", kind, len(value)) + value


def context_item(context_id: int, abstract: bytes, *syntaxes: bytes) -> bytes:
    """A presentation context item (PS3.8 9.3.2.2)."""
    sub_items = [item(0x30, abstract), *(item(0x40, syntax) for syntax in syntaxes)]
    return item(0x20, struct.pack(">Bxxx", context_id) + b"".join(sub_items))


APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")


def request_body(
    contexts: bytes,
    information: bytes,
    *,
    application: bytes = APPLICATION,
    version: int = 1,
    reserved: bytes = bytes(32),
    calling: bytes = b"RAW",
) -> bytes:
    """What follows the header of an A-ASSOCIATE-RQ, byte for byte."""
    titles = b"XRAYQ".ljust(16) + calling.ljust(16)
    return struct.pack(">Hxx", version) + titles + reserved + application + contexts + information


def request(body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BxL", 0x01, len(body) if length is None else length) + body


def pdv(context_id: int, fragment: bytes, *, is_command: bool, last: bool = True) -> bytes:
    """A presentation data value item (PS3.8 9.3.5.1)."""
    return struct.pack(">LBB", len(fragment) + 2, context_id, is_command | last << 1) + fragment


def pdata(*values: bytes) -> bytes:
    """A P-DATA-TF PDU (PS3.8 9.3.5)."""
    body = b"".join(values)
    return struct.pack(">BxL", P_DATA, len(body)) + body


def command_set(
    field: int, message_id: int = 1, *, sop_class: str = DX, instance: str | None = None, has_data: bool = False
) -> bytes:
    command = Dataset()
    command.AffectedSOPClassUID = sop_class
    command.CommandField, command.MessageID = field, message_id
    command.CommandDataSetType = 0x0001 if has_data else 0x0101
    if field == C_STORE_RQ:
        command.Priority = 0
        command.AffectedSOPInstanceUID = instance
    body = encode(command, True, True)
    assert body is not None
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def store_command(instance: str, *, sop_class: str = DX, message_id: int = 1, has_data: bool = True) -> bytes:
    command = command_set(C_STORE_RQ, message_id, sop_class=sop_class, instance=instance, has_data=has_data)
    return pdata(pdv(STORE_CONTEXT, command, is_command=True))


def store_fragments(dataset: bytes, size: int = 16000) -> list[bytes]:
    starts = range(0, max(len(dataset), 1), size)
    return [
        pdata(pdv(STORE_CONTEXT, dataset[start : start + size], is_command=False, last=start + size >= len(dataset)))
        for start in starts
    ]


def dataset_bytes(film: Dataset) -> bytes:
    """Explicit VR little endian, without file meta."""
    plain = Dataset()
    plain.update(film)
    encoded = encode(plain, False, True)
    assert encoded is not None
    return encoded
