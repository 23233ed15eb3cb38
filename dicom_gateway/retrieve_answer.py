"""What a C-MOVE or C-GET came to (PS3.4 Tables C.4-2 and C.4-3, PS3.7 9.1.3 and 9.1.4): numbers, and a reason in words.

What a PACS says is no proof that a film is here, or is not: some count wrong, and some say success of nothing.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.dimse import decode_data, status_of
from dicom_gateway.errors import SUCCESS, in_hexadecimal
from dicom_gateway.heard import Heard
from dicom_gateway.values import integer, is_valid_uid

PENDING, SOME_FAILED, CANCELLED = 0xFF00, 0xB000, 0xFE00
NO_ANSWER, NONE_SENT = "no_answer", "none_sent"
FAULT_OF: dict[int, str] = {
    SOME_FAILED: "some_failed",
    CANCELLED: "cancelled",
    0xA701: "no_count",
    0xA702: "out_of_resources",
    0xA801: "destination_unknown",
    0xA900: "identifier_refused",
    0x0122: "not_served",
    0x0124: "not_authorised",
}
RETRIEVE_FAULTS: dict[str, str] = {
    "not_accepted": "it accepts no retrieval by us: let our AE title do C-MOVE or C-GET there (Study Root)",
    NO_ANSWER: "it did not answer to the end",
    NONE_SENT: "it says success, and that it sent nothing",
    "some_failed": "it could not send some of the films",
    "cancelled": "it was told to stop, or stopped by itself",
    "no_count": "out of resources: it could not count the matches",
    "out_of_resources": "out of resources: it could not send",
    "destination_unknown": "it does not know our AE title as a destination: add it there, with our host and port",
    "identifier_refused": "it takes no such question",
    "not_served": "it serves no such retrieval",
    "not_authorised": "it does not let us retrieve: allow it for our AE title there",
    "unable_to_process": "it was unable to do it; some say only this of a destination that they do not know",
}
"""Code of a fault -> why it is one, and what to do. Others are retrieve_0xHHHH: see `retrieve_fault_in_words`."""


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """How one retrieval ended. The numbers are the PACS's own, of its last answer that had them, else None."""

    status: int | None
    """Of its last answer; None where it did not answer to the end."""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    """Sent, and answered with a warning."""
    failed_uids: frozenset[str] = frozenset()
    """Those wanted that it names as failed (0008,0058). Many name none."""
    here: frozenset[str] = frozenset()
    """Those wanted that came on our association, and were accepted. None by C-MOVE: they come by one of the PACS's."""
    stopped: bool = False
    """We told it to stop."""

    @property
    def sent(self) -> int | None:
        """How many it says that it sent, None where it does not say."""
        return None if self.completed is None else self.completed + (self.warning or 0)

    @property
    def tried(self) -> int | None:
        """How many it says that it tried to send."""
        return None if self.sent is None else self.sent + (self.failed or 0)

    @property
    def fault(self) -> str:
        """ "" where it says that it sent all; else a key of RETRIEVE_FAULTS, or retrieve_0xHHHH."""
        if self.status is None:
            return NO_ANSWER
        if self.status == SUCCESS:
            return NONE_SENT if self.sent == 0 else ""
        if self.status & 0xF000 == 0xC000:
            return "unable_to_process"
        return FAULT_OF.get(self.status, f"retrieve_{in_hexadecimal(self.status)}")


def retrieve_fault_in_words(fault: str) -> str:
    """Of `Retrieved.fault`, and of RetrieveFailed."""
    if fault.startswith("retrieve_"):
        return f"it answered with status {fault.removeprefix('retrieve_')}"
    return RETRIEVE_FAULTS.get(fault, fault)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sub-operations, as one C-MOVE-RSP or C-GET-RSP says; None each where it does not say."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


def is_pending(heard: Heard) -> bool:
    return status_of(heard.command) == PENDING


def counts_of(command: Dataset, before: Counts) -> Counts:
    """What a response says, and of what it does not say what an earlier one did."""

    def said(kind: str, else_: int | None) -> int | None:
        found = integer(command, f"NumberOf{kind}Suboperations")
        return else_ if found is None else found

    return Counts(
        remaining=said("Remaining", before.remaining),
        completed=said("Completed", before.completed),
        failed=said("Failed", before.failed),
        warning=said("Warning", before.warning),
    )


def failed_uids(heard: Heard) -> frozenset[str]:
    """Failed SOP Instance UID List (0008,0058) of the last response; empty where there is none to read."""
    try:
        named = decode_data(heard.data, heard.syntax).get("FailedSOPInstanceUIDList") or ()
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        return frozenset()
    several = [named] if isinstance(named, str) else list(named)
    return frozenset(uid for uid in map(str, several) if is_valid_uid(uid))
