"""A modality that asks for storage commitment: the report comes on its association, or on one that we open to it."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_gateway.commitment import WELL_KNOWN_INSTANCE, new_transaction_uid


@dataclass(frozen=True, kw_only=True)
class Report:
    """An N-EVENT-REPORT as it came."""

    event_type: int
    transaction_uid: str
    held: dict[str, str]
    """SOP Instance UID -> SOP Class UID."""
    failed: dict[str, int]
    """SOP Instance UID -> Failure Reason."""
    same_association: bool


@dataclass(kw_only=True)
class Modality:
    """What it was told, and how it answers."""

    title: str = "CR1"
    reports: list[Report] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses of the next reports, first one first; then 0."""

    def asks(self, port: int, *, called: str = "XRAYQ", role: bool = False) -> Association:
        """An association for questions.

        Args:
            role: it proposes to be SCU, and not SCP, which it is without a word too.
        """
        entity = AE(ae_title=self.title)
        found = entity.associate(
            "127.0.0.1",
            port,
            contexts=[build_context(StorageCommitmentPushModel)],
            ae_title=called,
            ext_neg=[build_role(StorageCommitmentPushModel, scu_role=True)] if role else [],
            evt_handlers=[
                (evt.EVT_CONN_OPEN, lambda event: _keep_answers(event.assoc)),
                (evt.EVT_N_EVENT_REPORT, lambda event: self._take(event, same_association=True)),
            ],
        )
        assert found.is_established
        return found

    def request(self, association: Association, objects: Mapping[str, str], transaction: str = "") -> tuple[int, str]:
        """Ask about objects, SOP Instance UID -> SOP Class UID. The status of the answer, and the transaction UID."""
        asked = Dataset()
        asked.TransactionUID = transaction or new_transaction_uid()
        asked.ReferencedSOPSequence = [_item(uid, of_class) for uid, of_class in objects.items()]
        status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
        return int(status.Status), str(asked.TransactionUID)

    @contextmanager
    def listens(
        self, port: int, *, scu: bool | None = False, scp: bool | None = True, tls: ssl.SSLContext | None = None
    ) -> Iterator[None]:
        """It takes reports on associations of others.

        Args:
            scu, scp: what it lets those be that propose a role; None: it says nothing of roles.
        """
        entity = AE(ae_title=self.title)
        entity.require_called_aet = True
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=scu, scp_role=scp)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, lambda event: self._take(event, same_association=False))]
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
        try:
            yield
        finally:
            server.shutdown()

    def _take(self, event: evt.Event, *, same_association: bool) -> tuple[int, None]:
        said = event.event_information
        report = Report(
            event_type=event.event_type,
            transaction_uid=str(said.TransactionUID),
            held={
                str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
                for item in said.get("ReferencedSOPSequence") or ()
            },
            failed={
                str(item.ReferencedSOPInstanceUID): int(item.FailureReason)
                for item in said.get("FailedSOPSequence") or ()
            },
            same_association=same_association,
        )
        status = self.answers.pop(0) if self.answers else 0
        self.reports.append(report)
        return status, None


def _keep_answers(association: Association) -> None:
    """As `dicom_gateway.kept_answers`, and requests are served: our report is one."""
    serve = association._serve_request

    def only_requests(message: Any, context_id: int) -> None:
        if message.MessageIDBeingRespondedTo is None:
            serve(message, context_id)
        else:
            association.dimse.msg_queue.put((context_id, message))

    association._serve_request = only_requests  # type: ignore[method-assign]


def _item(sop_instance_uid: str, sop_class_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item
