"""Storage commitment as SCP (PS3.4 Annex J): a peer asks whether we hold objects for good, and gets a report.

Its N-ACTION is answered with success once the request is kept. The report is an N-EVENT-REPORT: on the association of
the question while the peer rests there, else on one that we open to it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset

from dicom_gateway.asking import Asking
from dicom_gateway.commitment import ALL_HELD, MOST_OBJECTS, REQUEST, SOME_FAILED, WELL_KNOWN_INSTANCE
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.dimse import N_EVENT_REPORT_RQ, decode_data, more_items_than, number, status_of, uid_value
from dicom_gateway.errors import (
    SUCCESS,
    NoSuchAction,
    NoSuchClass,
    NoSuchObject,
    RequestRefusal,
    RequestTooLarge,
    UnreadableRequest,
)
from dicom_gateway.values import is_valid_uid

MOST_BYTES = 2 << 20
"""Of a request's data set: that on 10,000 objects has 1.4 MB."""
WARNINGS = (0x0107, 0x0116)
"""Statuses of an N-EVENT-REPORT-RSP with which the peer took the report all the same (PS3.7 C.4)."""


@dataclass(frozen=True, kw_only=True)
class CommitmentRequest:
    """What a peer asks about."""

    transaction_uid: str
    calling_ae: str
    """The AE title that asks, and is reported to."""
    objects: Mapping[str, str]
    """SOP Instance UID -> SOP Class UID, as the peer names them."""


@dataclass(frozen=True, kw_only=True)
class CommitmentAnswer:
    """What is reported on a request."""

    transaction_uid: str
    objects: Mapping[str, str]
    """As of the request."""
    failed: Mapping[str, int]
    """SOP Instance UID -> Failure Reason, of those that we do not hold."""


class OwedReport(Protocol):
    """A report that we owe to a peer whose association is open. One thread calls it."""

    def steps(self) -> Iterator[CommitmentAnswer | None]:
        """None after each part of the work, the answer at the end. Ends without one where another sends the report."""

    def reported(self, status: int | None) -> None:
        """The peer answered the report with this status; None: without one."""

    def leave(self) -> None:
        """The association ended before that: the report goes another way."""


Keep = Callable[[CommitmentRequest], OwedReport]
"""Keeps a request for good. Only when it returns success is answered; it raises RequestRefusal else."""


def take_request(
    command: Dataset, data: bytes | None, syntax: str, calling_ae: str, keep: Keep
) -> tuple[int, str, OwedReport | None]:
    """The status that answers an N-ACTION-RQ, its comment, and what we owe then.

    The same transaction may come again: who did not get our answer asks once more, and is reported to once more.

    Args:
        data: its data set; None where that is too large.
    """
    try:
        return SUCCESS, "", keep(_read(command, data, syntax, calling_ae))
    except RequestRefusal as refusal:
        return refusal.status, refusal.comment, None


def was_taken(status: int | None) -> bool:
    """Whether a peer that answers a report with this status has it."""
    return status == SUCCESS or status in WARNINGS


def event(answer: CommitmentAnswer) -> tuple[list[tuple[int, bytes]], Dataset]:
    """An N-EVENT-REPORT-RQ (PS3.4 J.3.3): elements of its command set, without Command Field, Message ID and Command
    Data Set Type; and its data set."""
    elements = [
        (0x0002, uid_value(STORAGE_COMMITMENT)),
        (0x1000, uid_value(WELL_KNOWN_INSTANCE)),
        (0x1002, number(SOME_FAILED if answer.failed else ALL_HELD)),
    ]
    said = Dataset()
    said.TransactionUID = answer.transaction_uid
    held = [_item(uid, of_class) for uid, of_class in answer.objects.items() if uid not in answer.failed]
    failed = [_item(uid, answer.objects[uid], reason) for uid, reason in answer.failed.items()]
    if held:
        said.ReferencedSOPSequence = held
    if failed:
        said.FailedSOPSequence = failed
    return elements, said


def report(peer: Asking, answer: CommitmentAnswer, *, seconds: float) -> int | None:
    """Send the report on an association that we opened. The status that answers it; None where none came in so many
    seconds."""
    elements, said = event(answer)
    peer.send(STORAGE_COMMITMENT, N_EVENT_REPORT_RQ, elements, said)
    heard = peer.hear(seconds)
    return None if heard is None else status_of(heard.command)


def _read(command: Dataset, data: bytes | None, syntax: str, calling_ae: str) -> CommitmentRequest:
    """Raises RequestRefusal."""
    if command.get("RequestedSOPClassUID") != STORAGE_COMMITMENT:
        raise NoSuchClass
    if command.get("RequestedSOPInstanceUID") != WELL_KNOWN_INSTANCE:
        raise NoSuchObject
    if command.get("ActionTypeID") != REQUEST:
        raise NoSuchAction
    if data is None:
        raise RequestTooLarge
    if more_items_than(MOST_OBJECTS, data):
        raise RequestTooLarge
    try:
        asked = decode_data(data, syntax)
        transaction = str(asked.get("TransactionUID") or "")
        items = asked.get("ReferencedSOPSequence") or ()
        if len(items) > MOST_OBJECTS:
            raise RequestTooLarge
        named = {(str(item.get("ReferencedSOPInstanceUID")), str(item.get("ReferencedSOPClassUID"))) for item in items}
    except RequestRefusal:
        raise
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        raise UnreadableRequest from None
    objects = dict(sorted(named))
    uids = (transaction, *objects, *objects.values())
    if not objects or len(objects) < len(named) or not all(map(is_valid_uid, uids)):
        raise UnreadableRequest
    return CommitmentRequest(transaction_uid=transaction, calling_ae=calling_ae, objects=objects)


def _item(sop_instance_uid: str, sop_class_uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item
