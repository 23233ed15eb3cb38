"""Storage commitment (PS3.4 Annex J): a peer is asked whether it holds objects for good, and says so in a report.

The report is an N-EVENT-REPORT, on the association of the question or on one that the peer opens to us: read here in
both cases.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.asking import Asking
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.dimse import N_ACTION_RQ, decode_data, more_items_than, number, uid_value
from dicom_gateway.errors import SUCCESS, NoSuchEvent, ReportRefusal, ReportTooLarge, UnreadableReport
from dicom_gateway.values import is_valid_uid

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1
"""Action Type ID (PS3.4 Table J.3-1)."""
MOST_OBJECTS = 10_000
"""Of a request or a report."""
ALL_HELD, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 Table J.3-2)."""
MOST_BYTES = 1 << 20
"""Of a report's data set on an association of the peer's: that on 1,000 objects has 130 KB."""
PROCESSING_FAILURE, NO_SUCH_OBJECT, CLASS_CONFLICT, DUPLICATE_TRANSACTION = 0x0110, 0x0112, 0x0119, 0x0131
FAILURES: dict[int, str] = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_OBJECT: "it has no such object",
    0x0213: "it lacks resources",
    0x0122: "it commits to no object of this SOP class",
    CLASS_CONFLICT: "it has the object under another SOP class",
    DUPLICATE_TRANSACTION: "the transaction UID is in use",
}
"""Failure Reason (0008,1197), PS3.3 C.14.1.1."""


@dataclass(frozen=True, kw_only=True)
class ObjectReference:
    """An object that a peer was sent."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What a peer says of the objects of one transaction."""

    transaction_uid: str
    held: frozenset[str]
    """SOP Instance UIDs."""
    failed: dict[str, int]
    """SOP Instance UID -> Failure Reason, a key of FAILURES or the peer's own number."""
    sop_classes: dict[str, str]
    """SOP Instance UID -> Referenced SOP Class UID, of both; "" where it names none or two."""


def new_transaction_uid() -> str:
    """Never used before (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def request_commitment(
    peer: Asking, transaction_uid: str, objects: Sequence[ObjectReference], *, seconds: float
) -> int | None:
    """N-ACTION (PS3.4 J.3.2). The status that answers it; None where none came in so many seconds.

    0x0000 promises a report, and says nothing of the objects yet.
    """
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = [_referenced(wanted) for wanted in objects]
    elements = (
        (0x0003, uid_value(STORAGE_COMMITMENT)),
        (0x1001, uid_value(WELL_KNOWN_INSTANCE)),
        (0x1008, number(REQUEST)),
    )
    peer.send(STORAGE_COMMITMENT, N_ACTION_RQ, elements, asked)
    answer = peer.hear(seconds)
    return None if answer is None else answer.command.get("Status")


def take_report(
    command: Dataset, data: bytes | None, syntax: str, record: Callable[[CommitmentReport], None]
) -> tuple[int, str]:
    """The status that answers an N-EVENT-REPORT-RQ, and its comment.

    A transaction that is not known is answered with success: whoever reports on it could do nothing better another
    time, and PS3.4 J.3.3 has no status for it.

    Args:
        data: its data set; None where that is too large.
        record: keeps what it says. Only when it returns success is answered; it raises ReportRefusal else.
    """
    try:
        record(_read(command, data, syntax))
    except ReportRefusal as refusal:
        return refusal.status, refusal.comment
    return SUCCESS, ""


def _read(command: Dataset, data: bytes | None, syntax: str) -> CommitmentReport:
    """Raises ReportRefusal."""
    if command.get("EventTypeID") not in (ALL_HELD, SOME_FAILED):
        raise NoSuchEvent
    if data is None:
        raise ReportTooLarge
    if more_items_than(MOST_OBJECTS, data):
        raise ReportTooLarge
    try:
        said = decode_data(data, syntax)
        transaction = str(said.get("TransactionUID") or "")
        named, lost = (said.get(keyword) or () for keyword in ("ReferencedSOPSequence", "FailedSOPSequence"))
        held = {_uid(item) for item in named}
        failed = {_uid(item): _reason(item) for item in lost}
        sop_classes = _sop_classes([*named, *lost])
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        raise UnreadableReport from None
    if not (is_valid_uid(transaction) and (held or failed)) or "" in held or "" in failed:
        raise UnreadableReport
    return CommitmentReport(
        transaction_uid=transaction, held=frozenset(held - failed.keys()), failed=failed, sop_classes=sop_classes
    )


def _referenced(wanted: ObjectReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = wanted.sop_class_uid
    item.ReferencedSOPInstanceUID = wanted.sop_instance_uid
    return item


def _uid(item: Dataset) -> str:
    """ "" where it is none."""
    named = str(item.get("ReferencedSOPInstanceUID") or "")
    return named if is_valid_uid(named) else ""


def _sop_classes(items: Sequence[Dataset]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, sop_class = _uid(item), str(item.get("ReferencedSOPClassUID") or "")
        found[name] = sop_class if found.get(name, sop_class) == sop_class else ""
    return found


def _reason(item: Dataset) -> int:
    reason = item.get("FailureReason")
    return reason if isinstance(reason, int) else PROCESSING_FAILURE
