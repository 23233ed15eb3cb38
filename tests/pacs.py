"""A PACS for results: it keeps what it is sent, commits to it, finds it, and answers as a test wants it to."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,  # type: ignore[attr-defined]
)

from dicom_gateway.commitment import WELL_KNOWN_INSTANCE
from dicom_gateway.kept_answers import keep_answers

TAKEN = (Comprehensive3DSRStorage, MultiFrameTrueColorSecondaryCaptureImageStorage)


@dataclass(kw_only=True)
class Pacs:
    """What it holds and how it answers."""

    port: int
    title: str = "PACS"
    kept: list[Dataset] = field(default_factory=list)
    """Every object that came, in order, a second sending too."""
    statuses: list[int] = field(default_factory=list)
    """Of the next C-STOREs, first one first; then 0."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by the first C-STORE, before it is answered."""
    callers: list[str] = field(default_factory=list)
    """Calling AE title of each association."""
    silent: threading.Event | None = None
    """Until it is set no C-STORE is answered."""

    commits: str = ""
    """How it reports on storage commitment: on the `same` association, on an `other` to `reports_to`, or `never`; "":
    it does not take that class."""
    late: bool = False
    """Its report on the `same` association comes after the next request, and before the answer to that."""
    reports_to: int = 0
    """Port of a gateway, for `other`."""
    role: bool = True
    """Whether it proposes there to be SCP (PS3.7 D.3.3.4)."""
    lost: set[str] = field(default_factory=set)
    """SOP Instance UIDs that it took, and neither commits to nor finds."""
    failure_reason: int = 0x0112
    """Of those, in its reports."""
    action_status: int = 0
    find_status: int = 0
    asked_to_commit: list[Dataset] = field(default_factory=list)
    """The data set of each N-ACTION."""
    asked_to_find: list[Dataset] = field(default_factory=list)
    reports: list[int | None] = field(default_factory=list)
    """The status that answered each N-EVENT-REPORT; None: no answer."""
    _due: list[tuple[Association, Dataset]] = field(default_factory=list)
    """Where an N-ACTION came that it has to report on there, and its data set."""

    @property
    def uids(self) -> list[str]:
        return [str(kept.SOPInstanceUID) for kept in self.kept]

    def _store(self, event: evt.Event) -> int:
        self.asked.set()
        if self.silent:
            self.silent.wait(60)
        status = self.statuses.pop(0) if self.statuses else 0
        if status in (0, 0xB000, 0x0111):
            kept = event.dataset
            kept.file_meta = event.file_meta
            self.kept.append(kept)
        return status

    def _action(self, event: evt.Event) -> tuple[int, None]:
        asked = event.action_information
        self.asked_to_commit.append(asked)
        if self.action_status == 0 and self.commits == "other":
            threading.Thread(target=self.report, args=(asked,), daemon=True).start()
        elif self.action_status == 0 and self.commits == "same":
            self._due.append((event.assoc, asked))
        return self.action_status, None

    def _accepted(self, event: evt.Event) -> None:
        """pynetdicom's own way to send a report waits for the next message of any kind, and takes a request that comes
        meanwhile for its answer. So on the same association the thread that serves it sends the report."""
        association = event.assoc
        self.callers.append(association.requestor.ae_title)
        serve = association._serve_request

        def served(message: Any, context_id: int) -> None:
            if isinstance(message, N_EVENT_REPORT):
                self.reports.append(message.Status)
                return
            if not isinstance(message, N_ACTION):
                self._send_due(association)
            serve(message, context_id)
            if not self.late:
                self._send_due(association)

        association._serve_request = served

    def _send_due(self, association: Association) -> None:
        contexts = {one.abstract_syntax: one for one in association.accepted_contexts}
        for one in [one for one in self._due if one[0] is association]:
            self._due.remove(one)
            said, event_type = self._said(one[1])
            context = contexts[StorageCommitmentPushModel]
            syntax = context.transfer_syntax[0]
            content = encode(said, syntax.is_implicit_VR, syntax.is_little_endian)
            assert content is not None
            request = N_EVENT_REPORT()
            request.MessageID, request.EventTypeID, request.EventInformation = 1, event_type, BytesIO(content)
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = context.abstract_syntax, WELL_KNOWN_INSTANCE
            association.dimse.send_msg(request, context.context_id)

    def _said(self, asked: Dataset) -> tuple[Dataset, int]:
        """The report on an N-ACTION's data set, and its Event Type ID."""
        said = Dataset()
        said.TransactionUID = asked.TransactionUID
        held, failed = [], []
        for item in asked.ReferencedSOPSequence:
            uid = str(item.ReferencedSOPInstanceUID)
            if uid in self.uids and uid not in self.lost:
                held.append(item)
            else:
                item.FailureReason = self.failure_reason
                failed.append(item)
        if held:
            said.ReferencedSOPSequence = held
        if failed:
            said.FailedSOPSequence = failed
        return said, 2 if failed else 1

    def report(self, asked: Dataset) -> None:
        """The N-EVENT-REPORT on an N-ACTION's data set, on an association of its own."""
        said, event_type = self._said(asked)
        own = self.calls()
        status, _ = own.send_n_event_report(said, event_type, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
        self.reports.append(status.get("Status"))
        own.release()

    def calls(self) -> Association:
        """An association with the gateway, for a report."""
        entity = AE(ae_title=self.title)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        found = entity.associate(
            "127.0.0.1",
            self.reports_to,
            contexts=[build_context(StorageCommitmentPushModel)],
            ae_title="XRAYQ",
            ext_neg=[role] if self.role else [],
            evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: keep_answers(event.assoc))],
        )
        assert found.is_established
        if not self.role:  # pynetdicom itself would not send it, other peers do
            found._accepted_cx[1]._as_scp = True
        return found

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        self.asked_to_find.append(asked)
        if self.find_status:
            yield self.find_status, None
            return
        names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        for kept in self.kept:
            same = all(getattr(kept, name) == asked.get(name) for name in names)
            if same and kept.SOPInstanceUID not in self.lost:
                yield 0xFF00, asked
                return


@contextmanager
def pacs(
    port: int,
    *,
    title: str = "PACS",
    silent: threading.Event | None = None,
    implicit_only: bool = False,
    commits: str = "",
    finds: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Pacs]:
    """It listens until the block ends.

    Args:
        tls: it speaks TLS.
        commits: as of `Pacs`.
        finds: whether it takes C-FIND.
    """
    found = Pacs(port=port, title=title, silent=silent, commits=commits)
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    syntaxes = [ImplicitVRLittleEndian] if implicit_only else [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    for sop_class in TAKEN:
        entity.add_supported_context(sop_class, syntaxes)
    if commits:
        entity.add_supported_context(StorageCommitmentPushModel, syntaxes)
    if finds:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, syntaxes)
    server = entity.start_server(
        ("127.0.0.1", port),
        block=False,
        ssl_context=tls,
        evt_handlers=[
            (evt.EVT_C_STORE, found._store),
            (evt.EVT_N_ACTION, found._action),
            (evt.EVT_C_FIND, lambda event: found.find(event)),  # a test may put another in its place
            (evt.EVT_ACCEPTED, found._accepted),
        ],
    )
    try:
        yield found
    finally:
        if silent:
            silent.set()
        server.shutdown()
