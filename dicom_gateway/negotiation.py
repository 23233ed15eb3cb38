"""A-ASSOCIATE as acceptor (PS3.8 9.3.2 to 9.3.4): what the peer asks for, and our answer. No socket in here.

pynetdicom decodes, negotiates presentation contexts and encodes.
"""

from dataclasses import dataclass
from enum import Enum

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from dicom_gateway.contexts import choose
from dicom_gateway.header import is_valid_uid
from dicom_gateway.options import GatewayOptions
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_gateway.wire import Abort, AbortReason

TITLES, TITLE_BYTES = (10, 26), 16
"""Where the called and the calling AE title begin in the PDU (PS3.8 Table 9-11)."""
NO_TITLE = "?"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ACCEPTANCE, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4
"""Results of a presentation context (PS3.8 Table 9-18)."""
DEFAULT_MAX_PDU = 16382
"""Of a peer that announces none, bytes."""


class Reject(Enum):
    """Result, source and reason of A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    CALLED_AE = (1, 1, 7)
    CALLING_AE = (1, 1, 3)
    CONTEXT_NAME = (1, 1, 2)
    LOCAL_LIMIT = (2, 3, 2)


@dataclass(frozen=True, kw_only=True)
class Request:
    """An A-ASSOCIATE-RQ."""

    calling_ae: str
    called_ae: str
    titles: bytes
    """Both, as they came: the A-ASSOCIATE-AC gives them back (PS3.8 9.3.3)."""
    primitive: A_ASSOCIATE


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What was agreed on."""

    contexts: dict[int, tuple[str, str]]
    """Presentation context ID -> SOP Class and transfer syntax."""
    peer_max_pdu: int
    """Longest P-DATA-TF that the peer takes, bytes."""
    pdu: bytes
    """The A-ASSOCIATE-AC."""


def decode_request(pdu: bytes) -> Request:
    """Raises Abort when it cannot be decoded."""
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(_readable(pdu))
        primitive = request.to_primitive()
    except Exception as error:  # noqa: BLE001 - pynetdicom lets any error of its parsers through
        raise Abort(AbortReason.INVALID_PARAMETER, f"A-ASSOCIATE-RQ: {type(error).__name__}") from None
    return Request(
        calling_ae=primitive.calling_ae_title.strip(),
        called_ae=primitive.called_ae_title.strip(),
        titles=pdu[TITLES[0] : TITLES[-1] + TITLE_BYTES],
        primitive=primitive,
    )


def fault_of(request: Request, options: GatewayOptions) -> Reject | None:
    """Why this peer is not served, None when it may be."""
    if request.primitive.application_context_name != APPLICATION_CONTEXT:
        return Reject.CONTEXT_NAME
    if options.require_called_ae and request.called_ae != options.ae_title:
        return Reject.CALLED_AE
    if options.calling_aes and request.calling_ae not in options.calling_aes:
        return Reject.CALLING_AE
    return None


def accept(request: Request, max_pdu: int) -> Accepted:
    """`max_pdu`: longest P-DATA-TF that we take, bytes."""
    asked = request.primitive
    results = [_answer(one) for one in asked.presentation_context_definition_list]
    peer_max_pdu = 0
    for notification in asked.user_information:
        if isinstance(notification, MaximumLengthNotification):
            peer_max_pdu = notification.maximum_length_received
    return Accepted(
        contexts={
            context.context_id: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in results
            if context.result == 0 and context.context_id is not None
        },
        peer_max_pdu=peer_max_pdu or DEFAULT_MAX_PDU,
        pdu=_accept_pdu(request, results, max_pdu),
    )


def _answer(asked: PresentationContext) -> PresentationContext:
    """PS3.8 9.3.3.2. There must be a transfer syntax, which says nothing where the context is refused."""
    offered = [str(one) for one in asked.transfer_syntax if is_valid_uid(str(one))]
    chosen = choose(str(asked.abstract_syntax or ""), offered)
    answer = PresentationContext()
    answer.context_id, answer.abstract_syntax = asked.context_id, asked.abstract_syntax
    answer.result = NO_ABSTRACT_SYNTAX if chosen is None else ACCEPTANCE if chosen else NO_TRANSFER_SYNTAX
    answer.transfer_syntax = [UID(chosen or next(iter(offered), ImplicitVRLittleEndian))]
    return answer


def reject_pdu(rejection: Reject) -> bytes:
    """The A-ASSOCIATE-RJ."""
    pdu = A_ASSOCIATE_RJ()
    pdu.result, pdu.source, pdu.reason_diagnostic = rejection.value
    return bytes(pdu.encode())


def _accept_pdu(request: Request, results: list[PresentationContext], max_pdu: int) -> bytes:
    asked, answer = request.primitive, A_ASSOCIATE()
    answer.application_context_name = asked.application_context_name
    answer.calling_ae_title, answer.called_ae_title = asked.calling_ae_title, asked.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = results
    largest, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    largest.maximum_length_received = max_pdu
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version.implementation_version_name = IMPLEMENTATION_VERSION
    answer.user_information = [largest, implementation, version]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    encoded = bytes(pdu.encode())
    return encoded[: TITLES[0]] + request.titles + encoded[TITLES[-1] + TITLE_BYTES :]


def _readable(pdu: bytes) -> bytes:
    """The PDU with AE titles that pynetdicom takes, and that fit a log line and a database column.

    Devices pad with NUL, or send letters of their own alphabet: each byte that DICOM does not allow becomes `?`.
    """
    if len(pdu) < TITLES[-1] + TITLE_BYTES:
        return pdu
    readable = bytearray(pdu)
    for start in TITLES:
        title = pdu[start : start + TITLE_BYTES].split(b"\0")[0].decode("latin-1")
        allowed = "".join(one if " " <= one <= "~" and one != "\\" else "?" for one in title).strip() or NO_TITLE
        readable[start : start + TITLE_BYTES] = allowed.ljust(TITLE_BYTES).encode()
    return bytes(readable)
