"""DIMSE command sets (PS3.7 6.3.1, 9.3, 10.3): decoded, and as bytes ready for the socket."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import decode, encode

from dicom_gateway.errors import Abort, AbortReason

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ = 0x0001, 0x0010, 0x0020, 0x0021
C_ECHO_RQ, C_CANCEL_RQ = 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP, N_ACTION_RQ = 0x0100, 0x8100, 0x0130
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
RESPONSE_BIT = 0x8000
TOUCHED = (
    *("MessageID", "MessageIDBeingRespondedTo", "CommandField", "CommandDataSetType", "Status"),
    *("AffectedSOPClassUID", "AffectedSOPInstanceUID", "RequestedSOPClassUID", "RequestedSOPInstanceUID"),
    *("ActionTypeID", "EventTypeID"),
)
"""Elements that are looked at: pydicom converts each at its first use, and may fail then."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """The command set of a response; empty UIDs are left out."""

    command_field: int
    message_id: int
    status: int
    comment: str
    """Error Comment (0000,0902), at most 64 characters."""
    sop_class_uid: str
    sop_instance_uid: str

    @classmethod
    def to(cls, command: Dataset, *, status: int, comment: str = "") -> "Response":
        """The response to a request's command set, with its message id and UIDs repeated: Affected ones, which an
        N-ACTION-RQ has as Requested ones (PS3.7 10.3.5)."""
        return cls(
            command_field=int(command.get("CommandField", 0)) | RESPONSE_BIT,
            message_id=int(command.get("MessageID", 0)),
            status=status,
            comment=comment[:64],
            sop_class_uid=str(command.get("AffectedSOPClassUID") or command.get("RequestedSOPClassUID") or ""),
            sop_instance_uid=str(command.get("AffectedSOPInstanceUID") or command.get("RequestedSOPInstanceUID") or ""),
        )


def more_items_than(most: int, data: bytes) -> bool:
    """Whether a data set seems to have more sequence items (PS3.5 7.5): pydicom takes 30 microseconds and 700 bytes for
    each, empty ones too, so that it is asked before."""
    return max(data.count(b"\xfe\xff\x00\xe0"), data.count(b"\xff\xfe\xe0\x00")) > most


def decode_command(encoded: bytes) -> Dataset:
    """A request's command set (implicit little endian), with its elements already converted. Raises Abort."""
    try:
        command = decode(BytesIO(encoded), True, True)
        for keyword in TOUCHED:
            str(command.get(keyword))
    except Exception as error:  # noqa: BLE001 - pydicom lets any error of its parsers through
        raise Abort(AbortReason.INVALID_PARAMETER, f"command set: {type(error).__name__}") from None
    if not isinstance(command.get("CommandField"), int) or not isinstance(command.get("MessageID", 0), int):
        raise Abort(AbortReason.INVALID_PARAMETER, "command set lacks a command")
    return command


def status_of(response: Dataset) -> int | None:
    """None where it has none that can be read."""
    status = response.get("Status")
    return status if isinstance(status, int) else None


def encode_response(response: Response, context_id: int, max_pdu: int) -> bytes:
    """One or more P-DATA-TF PDUs. `max_pdu` is what the peer announced, at least 8 bytes."""
    elements = [
        (0x0002, uid_value(response.sop_class_uid)),
        (0x0100, number(response.command_field)),
        (0x0120, number(response.message_id)),
        (0x0800, number(NO_DATA_SET)),
        (0x0900, number(response.status)),
        (0x0902, _padded(response.comment, b" ")),
        (0x1000, uid_value(response.sop_instance_uid)),
    ]
    return encode_pdus(command_set(elements), context_id, max_pdu, is_command=True)


def encode_request(
    field: int, elements: Iterable[tuple[int, bytes]], data: bytes, *, message_id: int, context_id: int, max_pdu: int
) -> bytes:
    """A request with a data set, as P-DATA-TF PDUs.

    Args:
        field: Command Field.
        elements: the other elements of the command set, but Message ID and Command Data Set Type.
    """
    own = ((0x0100, number(field)), (0x0110, number(message_id)), (0x0800, number(DATA_SET)))
    command = encode_pdus(command_set(sorted((*elements, *own))), context_id, max_pdu, is_command=True)
    return command + encode_pdus(data, context_id, max_pdu, is_command=False)


def encode_data(data: Dataset, syntax: str) -> bytes:
    """A data set in an uncompressed transfer syntax."""
    encoded = encode(data, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    if encoded is None:
        raise ValueError("a data set that cannot be encoded")
    return encoded


def decode_data(encoded: bytes, syntax: str) -> Dataset:
    """As `encode_data`, back. Raises whatever pydicom's parsers do."""
    return decode(BytesIO(encoded), syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)


def command_set(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """Of elements of group 0000, in the order of their tags; empty ones are left out."""
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements if value)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def encode_pdus(message: bytes, context_id: int, max_pdu: int, *, is_command: bool) -> bytes:
    """A command set or a data set as P-DATA-TF PDUs of at most `max_pdu` bytes, at least 8."""
    room = (max_pdu - 6) & ~1
    pdus = []
    for start in range(0, len(message), room):
        fragment = message[start : start + room]
        last = 2 if start + room >= len(message) else 0
        value = struct.pack(">LBB", len(fragment) + 2, context_id, is_command | last) + fragment
        pdus.append(struct.pack(">BxL", 0x04, len(value)) + value)
    return b"".join(pdus)


def values(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Context ID, control header and fragment of each presentation data value of a P-DATA-TF (PS3.8 9.3.5); a PDU may
    carry command and data."""
    position = 0
    while position < len(body):
        if position + 6 > len(body):
            raise Abort(AbortReason.INVALID_PARAMETER, "presentation data value is cut short")
        length, context_id, control = struct.unpack_from(">LBB", body, position)
        end = position + 4 + length
        if length < 2 or end > len(body):
            raise Abort(AbortReason.INVALID_PARAMETER, "presentation data value has a wrong length")
        yield context_id, control, body[position + 6 : end]
        position = end


def uid_value(value: str) -> bytes:
    """Of an element with a UID."""
    return _padded(value, b"\0")


def title_value(ae_title: str) -> bytes:
    """Of an element with an AE title."""
    return _padded(ae_title, b" ")


def number(value: int) -> bytes:
    """Of an element of VR US."""
    return struct.pack("<H", value)


def _padded(value: str, pad: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + pad * (len(encoded) % 2)
