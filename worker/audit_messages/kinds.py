"""One function for each kind of audit message (PS3.15 A.5.3), with what that part of the standard asks for.

`user_authentication` has no event in the trail yet: it is for a page on which people sign in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from worker.audit_messages import codes
from worker.audit_messages.codes import Code
from worker.audit_messages.message import (
    PATIENT,
    PERSON,
    REPORT,
    SECURITY_RESOURCE,
    SYSTEM,
    AuditMessage,
    Outcome,
    Participant,
    Subject,
)

NOT_KNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A node or process of the network."""

    user: str
    """UserID."""
    ae_title: str = ""
    host: str = ""
    """Name or address, "" where it is not known."""

    def as_participant(self, *roles: Code, requestor: bool = False) -> Participant:
        titles = (self.ae_title,) if self.ae_title else ()
        return Participant(user=self.user, ae_titles=titles, requestor=requestor, roles=roles, access_point=self.host)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Instances of one study, and so of one patient."""

    uid: str
    """"" where the object did not say."""
    patient: str
    """Patient ID, or a word that says why there is none."""
    sop_classes: Mapping[str, int]

    @property
    def subjects(self) -> tuple[Subject, Subject]:
        study = Subject(
            id=self.uid or NOT_KNOWN, id_type=codes.STUDY_UID, type=SYSTEM, role=REPORT, sop_classes=self.sop_classes
        )
        patient = Subject(id=self.patient, id_type=codes.PATIENT_NUMBER, type=PERSON, role=PATIENT)
        return study, patient


def application_activity(at: datetime, process: Peer, *, name: str, started: bool) -> AuditMessage:
    """A.5.3.1: a process began, or ended."""
    what = replace(process.as_participant(codes.APPLICATION), name=name)
    return AuditMessage(
        event=codes.APPLICATION_ACTIVITY,
        type=codes.APPLICATION_START if started else codes.APPLICATION_STOP,
        action="E",
        at=at,
        participants=(what,),
    )


def instances_accessed(at: datetime, user: Peer, study: Study, *, action: str = "R") -> AuditMessage:
    """A.5.3.6: a person looked at instances, or changed them."""
    return AuditMessage(
        event=codes.INSTANCES_ACCESSED,
        action=action,
        at=at,
        participants=(user.as_participant(requestor=True),),
        subjects=study.subjects,
    )


def instances_transferred(
    at: datetime, *, sender: Peer, receiver: Peer, study: Study, action: str, fetched: bool = False
) -> AuditMessage:
    """A.5.3.7: instances came, or were sent. Who asked for that is the requestor: the sender, but where we fetched.

    Args:
        action: C where the receiver had none of them, U where it had others under their UIDs, R where it had them, and
            where we cannot know because they are somebody else's to keep.
        fetched: by C-MOVE or C-GET of the receiver.
    """
    return AuditMessage(
        event=codes.INSTANCES_TRANSFERRED,
        action=action,
        at=at,
        participants=(
            sender.as_participant(codes.SOURCE, requestor=not fetched),
            receiver.as_participant(codes.DESTINATION, requestor=fetched),
        ),
        subjects=study.subjects,
    )


def export(at: datetime, *, sender: Peer, address: str, study: Study) -> AuditMessage:
    """A.5.3.4: what was found in a study left as a message that is no DICOM.

    Args:
        address: a URI, `mailto:` among them.
    """
    mail = address.startswith("mailto:")
    media = Participant(
        user=address,
        roles=(codes.DESTINATION_MEDIA,),
        access_point=address.removeprefix("mailto:"),
        media=codes.EMAIL if mail else codes.URI_MEDIA,
    )
    return AuditMessage(
        event=codes.EXPORT,
        action="R",
        at=at,
        participants=(sender.as_participant(codes.SOURCE, requestor=True), media),
        subjects=study.subjects,
    )


def query(at: datetime, *, asking: Peer, asked: Peer, sop_class: str, keys: bytes, syntax: str) -> AuditMessage:
    """A.5.3.10: a C-FIND.

    Args:
        keys: the identifier, in the transfer syntax with the UID `syntax`.
    """
    what = Subject(
        id=sop_class,
        id_type=codes.SOP_CLASS_UID,
        type=SYSTEM,
        role=REPORT,
        query=keys,
        details=(("TransferSyntax", syntax.encode()),),
    )
    return AuditMessage(
        event=codes.QUERY,
        action="E",
        at=at,
        participants=(
            asking.as_participant(codes.SOURCE, requestor=True),
            asked.as_participant(codes.DESTINATION),
        ),
        subjects=(what,),
    )


def security_alert(
    at: datetime, *, reporter: Peer, type: Code, outcome: Outcome, subject: Subject, by: Peer | None = None
) -> AuditMessage:
    """A.5.3.11.

    Args:
        by: whose doing it is, where that is known.
    """
    return AuditMessage(
        event=codes.SECURITY_ALERT,
        type=type,
        action="E",
        at=at,
        outcome=outcome,
        participants=(reporter.as_participant(), *([by.as_participant()] if by else [])),
        subjects=(subject,),
    )


def alerted(id: str, id_type: Code, description: str) -> Subject:
    """What an alert is about."""
    details = (("Alert Description", description.encode()),)
    return Subject(id=id, id_type=id_type, type=SYSTEM, role=SECURITY_RESOURCE, details=details)


def user_authentication(at: datetime, user: Peer, node: Peer, *, login: bool, outcome: Outcome) -> AuditMessage:
    """A.5.3.12: a person logged in or out, or tried to. `user.host` is needed."""
    return AuditMessage(
        event=codes.USER_AUTHENTICATION,
        type=codes.LOGIN if login else codes.LOGOUT,
        action="E",
        at=at,
        outcome=outcome,
        participants=(user.as_participant(requestor=True), node.as_participant()),
    )
