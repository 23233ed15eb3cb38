"""A-ASSOCIATE as acceptor (PS3.8 9.3.2 to 9.3.4): what the peer asks for, and our answer. No socket in here.

What can be understood is served: a presentation context that cannot is refused alone, and the others work.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from pydicom.config import IGNORE
from pydicom.uid import UID, ImplicitVRLittleEndian

from dicom_gateway import items
from dicom_gateway.contexts import STORAGE_COMMITMENT, VERIFICATION, choose_syntax, is_storage
from dicom_gateway.errors import Abort, AbortReason
from dicom_gateway.items import Item
from dicom_gateway.options import GatewayOptions
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_gateway.peers import ALL, Right

FIXED_BYTES = 68
"""Of the PDU behind its header: protocol version, both titles and what is reserved (PS3.8 Table 9-11)."""
CALLED, CALLING, ANSWERED_AS_IT_CAME = slice(4, 20), slice(20, 36), slice(4, 68)
"""Where they stand in there. The last comes back in the A-ASSOCIATE-AC (PS3.8 Table 9-17)."""
NO_TITLE = "?"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
DEFAULT_MAX_PDU, LEAST_MAX_PDU = 16382, 8
"""Of a peer that announces none, or one in which no byte has room behind the header of its value; bytes."""
NO_CLASS = "(no SOP class)"
MOST_REFUSED = 128
"""Presentation contexts that a peer may propose (PS3.8 9.3.2.2), and refused ones that are told of."""


class Reject(Enum):
    """Result, source and reason of A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    CALLED_AE = (1, 1, 7)
    CALLING_AE = (1, 1, 3)
    CONTEXT_NAME = (1, 1, 2)
    LOCAL_LIMIT = (2, 3, 2)


class Result(IntEnum):
    """What was answered to a presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    """The peer has no right to it: see `peers.Right`."""
    CONTEXT_ID = 2
    """No reason: the id is even, or another context has it. The standard has no word for that."""
    ABSTRACT_SYNTAX = 3
    TRANSFER_SYNTAX = 4


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A presentation context of the peer."""

    context_id: int
    """0 where there is none to read; to be odd."""
    abstract_syntax: str
    """"" where it is missing or no UID."""
    transfer_syntaxes: dict[str, bytes]
    """UID -> as it came: devices pad, and know it again by that."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """An A-ASSOCIATE-RQ."""

    calling_ae: str
    called_ae: str
    answered_as_it_came: bytes
    application_context: bytes
    """As it came, b"" without one."""
    contexts: list[Proposed]
    max_pdu: int
    """Longest P-DATA-TF that the peer takes, bytes."""
    role: tuple[bool, bool] | None
    """Whether it proposes to be SCU, and SCP, of storage commitment; None where it says nothing: then it is SCU
    (PS3.7 D.3.3.4)."""


@dataclass(frozen=True, kw_only=True)
class RefusedContext:
    """A presentation context that was not accepted."""

    context_id: int
    sop_class: str
    """Its name, where the standard has one, its UID, or NO_CLASS."""
    result: Result


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What was agreed on."""

    contexts: dict[int, tuple[str, str]]
    """Presentation context ID -> SOP Class and transfer syntax."""
    refused: list[RefusedContext]
    """At most MOST_REFUSED."""
    asks: bool
    """Whether the peer may ask for our commitment, as its SCU."""
    reports: bool
    """Whether it may report what it commits to, as its SCP."""
    pdu: bytes
    """The A-ASSOCIATE-AC."""


def titles(fixed: bytes) -> tuple[str, str]:
    """Calling and called AE title, from the first FIXED_BYTES behind the PDU's header."""
    return _title(fixed[CALLING]), _title(fixed[CALLED])


def decode_request(body: bytes) -> Request:
    """What follows the PDU's header. Raises Abort where lengths contradict it."""
    variable, whole = items.read(body[FIXED_BYTES:])
    if len(body) < FIXED_BYTES or not whole:
        raise Abort(AbortReason.INVALID_PARAMETER, "A-ASSOCIATE-RQ: an item is longer than the PDU")
    calling_ae, called_ae = titles(body)
    user = [item for value in items.of_kind(variable, Item.USER_INFORMATION) for item in items.read(value)[0]]
    announced = [int.from_bytes(value) for value in items.of_kind(user, Item.MAXIMUM_LENGTH) if len(value) == 4]
    max_pdu = announced[0] if announced else 0
    return Request(
        calling_ae=calling_ae,
        called_ae=called_ae,
        answered_as_it_came=body[ANSWERED_AS_IT_CAME],
        application_context=next(iter(items.of_kind(variable, Item.APPLICATION_CONTEXT)), b""),
        contexts=[_proposed(value) for value in items.of_kind(variable, Item.PRESENTATION_CONTEXT)],
        max_pdu=max_pdu if max_pdu >= LEAST_MAX_PDU else DEFAULT_MAX_PDU,
        role=_role(items.of_kind(user, Item.ROLE_SELECTION)),
    )


def fault_of(request: Request, options: GatewayOptions) -> Reject | None:
    """Why this peer is not served, None when it may be."""
    if items.uid(request.application_context) != APPLICATION_CONTEXT:
        return Reject.CONTEXT_NAME
    if options.require_called_ae and request.called_ae != options.ae_title:
        return Reject.CALLED_AE
    if options.calling_aes and request.calling_ae not in options.calling_aes:
        return Reject.CALLING_AE
    return None


def accept(
    request: Request,
    options: GatewayOptions,
    *,
    commits: bool = False,
    reports: bool = False,
    rights: Collection[Right] = ALL,
) -> Accepted:
    """
    Args:
        commits: N-ACTIONs of storage commitment are served: of a peer that is its SCU, and has the right to ask.
        reports: N-EVENT-REPORTs of it are taken: from a peer that proposes to be SCP, or that says nothing of its role
            and is one of `reporting_aes`.
        rights: of the peer. What it has no right to is refused here, and not by a status of each message (0x0124, PS3.7
            9.1.1.1.9): before a film has travelled, and in a way that a test of the destination shows.
    """
    commits &= Right.COMMIT in rights and (request.role is None or request.role[0])
    reports &= request.calling_ae in options.reporting_aes if request.role is None else request.role[1]
    contexts: dict[int, tuple[str, str]] = {}
    answers: dict[int, tuple[Result, bytes]] = {}
    refused: list[RefusedContext] = []
    for asked in request.contexts:
        result, syntax = _choose(asked, commitment=commits or reports, rights=rights)
        if result is Result.ACCEPTANCE and asked.context_id in contexts:
            result = Result.CONTEXT_ID  # of those that share an id, the first that can be served is
        if result is Result.ACCEPTANCE:
            contexts[asked.context_id] = asked.abstract_syntax, syntax
            answers[asked.context_id] = result, asked.transfer_syntaxes[syntax]
            continue
        answers.setdefault(asked.context_id, (result, ImplicitVRLittleEndian.encode()))  # not to be looked at
        if len(refused) < MOST_REFUSED:
            refused.append(
                RefusedContext(context_id=asked.context_id, sop_class=class_name(asked.abstract_syntax), result=result)
            )
    taken = any(sop_class == STORAGE_COMMITMENT for sop_class, _ in contexts.values())
    roles = [items.role(STORAGE_COMMITMENT, scu=commits, scp=reports)] if taken and request.role else []
    return Accepted(
        contexts=contexts,
        refused=refused,
        asks=commits,
        reports=reports,
        pdu=_accept_pdu(request, answers, options.max_pdu, roles),
    )


def reject_pdu(rejection: Reject) -> bytes:
    """The A-ASSOCIATE-RJ."""
    return struct.pack(">BxLxBBB", 0x03, 4, *rejection.value)


def class_name(sop_class: str) -> str:
    """For people: its name where PS3.6 has one, else its UID, a stranger's word of at most 64 digits and dots."""
    return UID(sop_class, validation_mode=IGNORE).name if sop_class else NO_CLASS


def _choose(asked: Proposed, *, commitment: bool, rights: Collection[Right]) -> tuple[Result, str]:
    """What becomes of a presentation context, and in which transfer syntax."""
    needed = Right.ECHO if asked.abstract_syntax == VERIFICATION else Right.STORE
    if needed not in rights and (needed is Right.ECHO or is_storage(asked.abstract_syntax)):
        return Result.USER_REJECTION, ""
    if asked.abstract_syntax == STORAGE_COMMITMENT and not commitment and Right.COMMIT not in rights:
        return Result.USER_REJECTION, ""
    syntax = choose_syntax(asked.abstract_syntax, asked.transfer_syntaxes, commitment=commitment)
    if syntax is None:
        return Result.ABSTRACT_SYNTAX, ""
    if not syntax:
        return Result.TRANSFER_SYNTAX, ""
    return (Result.ACCEPTANCE, syntax) if asked.context_id % 2 else (Result.CONTEXT_ID, "")


def _role(roles: list[bytes]) -> tuple[bool, bool] | None:
    """See `Request`."""
    found = (items.read_role(value) for value in roles)
    return next(((scu, scp) for sop_class, scu, scp in found if sop_class == STORAGE_COMMITMENT), None)


def _proposed(value: bytes) -> Proposed:
    """Id, three reserved bytes, and items (PS3.8 Table 9-13)."""
    found, _ = items.read(value[4:])
    abstract = next(iter(items.of_kind(found, Item.ABSTRACT_SYNTAX)), b"")
    syntaxes = {items.uid(value): value for value in items.of_kind(found, Item.TRANSFER_SYNTAX)}
    return Proposed(
        context_id=value[0] if value else 0,
        abstract_syntax=items.uid(abstract),
        transfer_syntaxes={uid: value for uid, value in syntaxes.items() if uid},
    )


def _accept_pdu(
    request: Request, answers: dict[int, tuple[Result, bytes]], max_pdu: int, roles: Sequence[bytes]
) -> bytes:
    """PS3.8 Table 9-17. An id that is even, or could not be read, has no answer: a requestor trips over it."""
    contexts = [
        struct.pack(">BxBx", context_id, result) + items.make(Item.TRANSFER_SYNTAX, syntax)
        for context_id, (result, syntax) in answers.items()
        if context_id % 2
    ]
    information = (
        items.make(Item.MAXIMUM_LENGTH, max_pdu.to_bytes(4)),
        items.make(Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode()),
        items.make(Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION.encode()),
        *(items.make(Item.ROLE_SELECTION, role) for role in roles),
    )
    body = b"".join(
        (
            struct.pack(">Hxx", 1),  # protocol version
            request.answered_as_it_came,
            items.make(Item.APPLICATION_CONTEXT, request.application_context),
            *(items.make(Item.PRESENTATION_CONTEXT_RESULT, context) for context in contexts),
            items.make(Item.USER_INFORMATION, b"".join(information)),
        )
    )
    return struct.pack(">BxL", 0x02, len(body)) + body


def _title(field: bytes) -> str:
    """An AE title that fits a log line and a database column.

    Devices pad with NUL, or send letters of their own alphabet: each byte that DICOM does not allow becomes `?`.
    """
    text = field.split(b"\0")[0].decode("latin-1")
    return (
        "".join(character if " " <= character <= "~" and character != "\\" else "?" for character in text).strip()
        or NO_TITLE
    )
