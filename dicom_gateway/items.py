"""The items of an A-ASSOCIATE-RQ (PS3.8 9.3.2, Annex D; PS3.7 D.3.3), read one by one and never beyond their end.

Devices write items that the standard does not know, too long, too short or padded. What can be read is read, the rest
is passed over.
"""

import struct
from enum import IntEnum

from dicom_gateway.values import is_valid_uid


class Item(IntEnum):
    """Types of items; those without a word here are passed over, as is every type that has no name here."""

    APPLICATION_CONTEXT = 0x10
    """Must be DICOM's one."""
    PRESENTATION_CONTEXT = 0x20
    """Its id, an abstract syntax, transfer syntaxes."""
    PRESENTATION_CONTEXT_RESULT = 0x21
    """Only in an A-ASSOCIATE-AC."""
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    """Holds those that follow."""
    MAXIMUM_LENGTH = 0x51
    """The longest P-DATA-TF that the peer takes."""
    IMPLEMENTATION_CLASS = 0x52
    ASYNCHRONOUS_OPERATIONS = 0x53
    """No answer means one operation at a time (PS3.7 D.3.3.3)."""
    ROLE_SELECTION = 0x54
    """A SOP Class, and whether the requestor is its SCU and its SCP. Without an answer it is SCU (PS3.7 D.3.3.4)."""
    IMPLEMENTATION_VERSION = 0x55
    EXTENDED_NEGOTIATION = 0x56
    """No answer means that nothing was extended (PS3.7 D.3.3.5)."""
    COMMON_EXTENDED_NEGOTIATION = 0x57
    """Has no answer (PS3.7 D.3.3.6)."""
    USER_IDENTITY = 0x58
    """No answer means that it was not looked at (PS3.7 D.3.3.7)."""


def read(data: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Type and value of each item, up to the first that is longer than what is left; and whether none was. NULs behind
    the last one are padding."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while position + 4 <= len(data):
        kind, length = struct.unpack_from(">BxH", data, position)
        end = position + 4 + length
        if end > len(data):
            return found, False
        found.append((kind, data[position + 4 : end]))
        position = end
    return found, not any(data[position:])


def of_kind(found: list[tuple[int, bytes]], kind: Item) -> list[bytes]:
    """The values of one type."""
    return [value for own_kind, value in found if own_kind == kind]


def uid(value: bytes) -> str:
    """A UID, which devices pad with NUL or space; "" where it is none."""
    text = value.strip(b"\0 ").decode("latin-1")
    return text if is_valid_uid(text) else ""


def make(kind: Item, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def role(sop_class: str, *, scu: bool, scp: bool) -> bytes:
    """An item of role selection: length of the UID, the UID, a byte each for SCU and SCP (PS3.7 D.3.3.4.1)."""
    return struct.pack(">H", len(sop_class)) + sop_class.encode() + bytes((scu, scp))


def read_role(value: bytes) -> tuple[str, bool, bool]:
    """As `role`, back; a UID of "" where it cannot be read."""
    end = 2 + int.from_bytes(value[:2])
    if len(value) != end + 2:
        return "", False, False
    return uid(value[2:end]), value[end] == 1, value[end + 1] == 1
