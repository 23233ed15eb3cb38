"""What a C-MOVE or C-GET came to (PS3.4 Tables C.4-2 and C.4-3, PS3.7 9.1.3 and 9.1.4): numbers, and a reason in words.

What a PACS says is no proof that a film is here, or is not: some count wrong, and some say success of nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.dimse import decode_data
from dicom_gateway.errors import SUCCESS, in_hexadecimal
from dicom_gateway.heard import Heard
from dicom_gateway.values import integer, is_valid_uid

PENDING, SOME_FAILED, CANCELLED = 0xFF00, 0xB000, 0xFE00
UNABLE, NONE_SENT = "unable_to_process", "none_sent"
FAULT_OF: dict[int, str] = {
    SOME_FAILED: "some_failed",
    CANCELLED: "cancelled",
    0xA701: "not_counted",
    0xA702: "out_of_resources",
    0xA801: "destination_unknown",
    0xA900: "identifier_refused",
    0x0122: "not_served",
    0x0124: "not_authorised",
}
RETRIEVE_FAULTS: dict[str, str] = {
    "not_accepted": "it accepts no such retrieval by us: let our AE title retrieve there (Study Root)",
    "no_films": "it does not let us be SCP of any class of films (C-GET): fetch by C-MOVE",
    "no_answer": "it did not answer to the end",
    NONE_SENT: "it says success, and that it sent nothing",
    "sent_fewer": "it says success, and that it sent fewer than were asked for: it may not have the others",
    "sent_more": "it sent more than was asked for",
    "some_failed": "it could not send some of the films",
    "cancelled": "it was told to stop, or stopped by itself",
    "not_counted": "out of resources: it could not count what was asked for",
    "out_of_resources": "out of resources: it could not send",
    "destination_unknown": "it does not know our AE title as a destination: add it there, with our host and port",
    "identifier_refused": "it takes no such question",
    "not_served": "it serves no such retrieval",
    "not_authorised": "it does not let us retrieve: allow it for our AE title there",
    UNABLE: "it was unable to do it: some say so of a film that they lack, or of a destination that they do not know",
}
"""Code of a fault -> why it is one, and what to do. Others are retrieve_0xHHHH: see `retrieve_fault_in_words`."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sub-operations, as the last answer that had them says; None each where none had."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    """Sent, and answered with a warning."""

    @property
    def sent(self) -> int | None:
        return None if self.completed is None else self.completed + (self.warning or 0)

    @property
    def tried(self) -> int | None:
        return None if self.sent is None else self.sent + (self.failed or 0)


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """How a retrieval ended."""

    status: int | None
    """Of the last answer; None where the PACS did not answer to the end."""
    wanted: int
    """So many were asked for."""
    counts: Counts
    """The PACS's own. Where it was asked for one film after the other: of these questions."""
    failed_uids: frozenset[str] = frozenset()
    """Those wanted that it names as failed (0008,0058). Many name none."""
    here: frozenset[str] = frozenset()
    """Those wanted that came on our association, and were accepted. None by C-MOVE: they come by one of the PACS's."""
    stopped: bool = False
    """We told it to stop."""
    sent_more: bool = False
    """Because it sent more than was wanted."""

    @property
    def fault(self) -> str:
        """ "" where it says that it sent all; else a key of RETRIEVE_FAULTS, or retrieve_0xHHHH."""
        if self.sent_more:
            return "sent_more"
        if self.status is None:
            return "no_answer"
        if self.status == SUCCESS:
            fewer = self.counts.tried is not None and self.counts.tried < self.wanted
            return NONE_SENT if self.counts.sent == 0 else "sent_fewer" if fewer else ""
        if self.status & 0xF000 == 0xC000:
            return UNABLE
        return FAULT_OF.get(self.status, f"retrieve_{in_hexadecimal(self.status)}")


def retrieve_fault_in_words(fault: str) -> str:
    """Of `Retrieved.fault`, and of RetrieveFailed."""
    if fault.startswith("retrieve_"):
        return f"it answered with status {fault.removeprefix('retrieve_')}"
    return RETRIEVE_FAULTS.get(fault, fault)


def counts_of(response: Dataset, before: Counts) -> Counts:
    """What a response says, and of what it does not say what an earlier one did."""

    def said(kind: str, earlier: int | None) -> int | None:
        found = integer(response, f"NumberOf{kind}Suboperations")
        return earlier if found is None else found

    return Counts(
        remaining=said("Remaining", before.remaining),
        completed=said("Completed", before.completed),
        failed=said("Failed", before.failed),
        warning=said("Warning", before.warning),
    )


def failed_uids(response: Heard) -> frozenset[str]:
    """Failed SOP Instance UID List (0008,0058) of the last response; empty where there is none to read."""
    try:
        named = decode_data(response.data, response.syntax).get("FailedSOPInstanceUIDList") or ()
        several = [named] if isinstance(named, str) else list(named)
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        return frozenset()
    return frozenset(uid for uid in map(str, several) if is_valid_uid(uid))


def may_refuse_lists(answer: Retrieved) -> bool:
    """Whether a PACS that was asked with a list of UIDs may not know lists: it has a fault with the question, finds
    nothing, or finds one alone."""
    first_alone = answer.status == SUCCESS and answer.counts.tried == 1
    return first_alone or answer.fault in (NONE_SENT, "not_counted", "identifier_refused", UNABLE)


def joined(each: Sequence[tuple[str, Retrieved]], *, wanted: int, before: Retrieved | None) -> Retrieved:
    """Questions for one film each, as one.

    Args:
        each: SOP Instance UID and what came of it.
        wanted: so many were to be asked for.
        before: what came of the list, if that was tried.
    """
    answers = [answer for _, answer in each]
    good = sum(not answer.fault for answer in answers)
    last = answers[-1] if answers else None
    status = last.status if last else CANCELLED
    if status is not None and good and len(each) == wanted:
        status = SUCCESS if good == wanted else SOME_FAILED
    return Retrieved(
        status=status,
        wanted=wanted,
        counts=Counts(remaining=wanted - len(each), completed=good, failed=len(each) - good, warning=0),
        failed_uids=frozenset(uid for uid, answer in each if answer.fault),
        here=frozenset().union(*(answer.here for answer in (*answers, *filter(None, (before,))))),
        stopped=last is None or last.stopped,
        sent_more=any(answer.sent_more for answer in answers),
    )
