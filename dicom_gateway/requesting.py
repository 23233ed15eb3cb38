"""A-ASSOCIATE as requestor (PS3.8 9.3.2 to 9.3.4): what we ask for, and what the peer answers. No socket in here."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_gateway import items
from dicom_gateway.errors import PeerGone, Rejected
from dicom_gateway.items import Item
from dicom_gateway.negotiation import APPLICATION_CONTEXT, DEFAULT_MAX_PDU, FIXED_BYTES, LEAST_MAX_PDU, Result
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Proposed for each context, unless it says otherwise."""
MOST_OFFERS = 128
"""Ids are odd, and one byte (PS3.8 9.3.2.2)."""
LARGEST_PDU = 64 << 10
"""Bytes that we announce, and the most that we send in one."""
LEAST_RESULT = 5
"""Bytes of a presentation context item of an A-ASSOCIATE-AC that has a transfer syntax."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A presentation context that we propose."""

    sop_class: str
    syntaxes: tuple[str, ...] = SYNTAXES
    as_scp: bool = False
    """We propose to be SCP of the class, and not SCU (PS3.7 D.3.3.4)."""


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What the peer accepted."""

    contexts: dict[int, tuple[str, str]]
    """Presentation context ID -> SOP Class and transfer syntax."""
    max_pdu: int
    """Longest P-DATA-TF that we send, bytes."""


def request_pdu(offers: Sequence[Offer], *, called_ae: str, calling_ae: str) -> bytes:
    """An A-ASSOCIATE-RQ with a presentation context for each, at most MOST_OFFERS; their ids are 1, 3, 5 and so on."""
    contexts = (
        items.make(
            Item.PRESENTATION_CONTEXT,
            struct.pack(">Bxxx", 2 * place + 1)
            + items.make(Item.ABSTRACT_SYNTAX, offer.sop_class.encode())
            + b"".join(items.make(Item.TRANSFER_SYNTAX, syntax.encode()) for syntax in offer.syntaxes),
        )
        for place, offer in enumerate(offers)
    )
    as_scp = dict.fromkeys(offer.sop_class for offer in offers if offer.as_scp)
    information = (
        items.make(Item.MAXIMUM_LENGTH, LARGEST_PDU.to_bytes(4)),
        items.make(Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode()),
        items.make(Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION.encode()),
        *(items.make(Item.ROLE_SELECTION, items.role(sop_class, scu=False, scp=True)) for sop_class in as_scp),
    )
    body = b"".join(
        (
            struct.pack(">Hxx16s16s32x", 1, called_ae.encode().ljust(16), calling_ae.encode().ljust(16)),
            items.make(Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode()),
            *contexts,
            items.make(Item.USER_INFORMATION, b"".join(information)),
        )
    )
    return struct.pack(">BxL", ASSOCIATE_RQ, len(body)) + body


def read_answer(kind: int, body: bytes, offers: Sequence[Offer]) -> Agreed:
    """What the PDU that answers `request_pdu` says. Raises Rejected, and PeerGone where it is no answer.

    A peer that accepts a class and says nothing of our role is taken to accept that too: some do, and take the report.
    """
    if kind == ASSOCIATE_RJ and len(body) == 4:
        raise Rejected("rejected_{}_{}_{}".format(*body[1:]))
    if kind != ASSOCIATE_AC:
        raise PeerGone
    found, _ = items.read(body[FIXED_BYTES:])
    user = [item for value in items.of_kind(found, Item.USER_INFORMATION) for item in items.read(value)[0]]
    roles = map(items.read_role, items.of_kind(user, Item.ROLE_SELECTION))
    not_scp = {sop_class for sop_class, _, scp in roles if not scp}
    contexts: dict[int, tuple[str, str]] = {}
    for value in items.of_kind(found, Item.PRESENTATION_CONTEXT_RESULT):
        if len(value) < LEAST_RESULT or value[2] != Result.ACCEPTANCE:
            continue
        syntax = next(map(items.uid, items.of_kind(items.read(value[4:])[0], Item.TRANSFER_SYNTAX)), "")
        place, odd = divmod(value[0], 2)
        offer = offers[place] if odd and place < len(offers) else None
        if offer and syntax in offer.syntaxes and not (offer.as_scp and offer.sop_class in not_scp):
            contexts[value[0]] = offer.sop_class, syntax
    max_pdu = int.from_bytes(next(iter(items.of_kind(user, Item.MAXIMUM_LENGTH)), b""))
    return Agreed(contexts=contexts, max_pdu=min(max_pdu, LARGEST_PDU) if max_pdu >= LEAST_MAX_PDU else DEFAULT_MAX_PDU)
