"""Reports of storage commitment that we owe on one association: many devices wait for them there, and take no other.

A report is sent while the peer rests. What it sends meanwhile goes first, its release too: then the report goes another
way (PS3.4 J.3.3 lets it come on any association).
"""

from collections import deque
from collections.abc import Iterator, Mapping

from pydicom.dataset import Dataset

from dicom_gateway.committing import CommitmentAnswer, OwedReport, event
from dicom_gateway.dimse import N_EVENT_REPORT_RQ, encode_data, encode_request, status_of
from dicom_gateway.wire import Wire

REST_SECONDS, NO_SECONDS = 0.1, 0.001
"""Silence of the peer before we begin, and before each further part of the work."""


class OwedReports:
    """One after the other: the next is sent when the peer has answered the last."""

    def __init__(self, wire: Wire, contexts: Mapping[int, tuple[str, str]], max_pdu: int) -> None:
        """
        Args:
            contexts, max_pdu: as of `Messages`.
        """
        self._wire = wire
        self._contexts = contexts
        self._max_pdu = max_pdu
        self._waiting: deque[tuple[int, OwedReport]] = deque()
        self._steps: Iterator[CommitmentAnswer | None] | None = None
        """Of the first that waits."""
        self._sent: OwedReport | None = None
        self._message_id = 0

    def add(self, context_id: int, owed: OwedReport) -> None:
        """
        Args:
            context_id: of the presentation context of the question.
        """
        self._waiting.append((context_id, owed))

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which `go_on` is to be called; None where there is nothing to do."""
        if not self._waiting or self._sent:
            return None
        return NO_SECONDS if self._steps else REST_SECONDS

    def go_on(self) -> None:
        """Do a part of the work, at most as much as one film takes; at its end send the report. Raises OSError."""
        context_id, owed = self._waiting[0]
        self._steps = self._steps or owed.steps()
        for answer in self._steps:
            if answer is None:
                return
            self._forget()
            self._sent = owed
            self._send(context_id, answer)
            return
        self._forget()

    def answered(self, command: Dataset) -> None:
        """
        Args:
            command: of an N-EVENT-REPORT-RSP.
        """
        if self._sent and command.get("MessageIDBeingRespondedTo") == self._message_id:
            self._sent.reported(status_of(command))
            self._sent = None

    def leave(self) -> None:
        """The association is over."""
        for owed in (self._sent, *(owed for _, owed in self._waiting)):
            if owed:
                owed.leave()

    def _forget(self) -> None:
        self._waiting.popleft()
        self._steps = None

    def _send(self, context_id: int, answer: CommitmentAnswer) -> None:
        self._message_id = self._message_id % 0xFFFF + 1
        elements, said = event(answer)
        data = encode_data(said, self._contexts[context_id][1])
        about = {"message_id": self._message_id, "context_id": context_id, "max_pdu": self._max_pdu}
        self._wire.send(encode_request(N_EVENT_REPORT_RQ, elements, data, **about))
