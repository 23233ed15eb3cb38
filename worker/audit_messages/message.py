"""An audit message as a value, and its XML (PS3.15 A.5.1)."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from ipaddress import ip_address
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from worker.audit_messages.codes import Code

NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 (2.2) has no place for. Titles and names are a stranger's words."""
MOST_CLASSES = 20
PERSON, SYSTEM = "1", "2"
"""Participant Object Type Code."""
PATIENT, REPORT, SECURITY_RESOURCE = "1", "3", "13"
"""Participant Object Type Code Role (A.5.1.2.2)."""
APPLICATION_SERVER = "4"
"""Audit Source Type Code (A.5.1.2.1)."""


class Outcome(IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR = 4
    """It failed, and what protects us held."""
    MAJOR = 12
    """What protects us may have failed."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who reports. The same in every message of an installation."""

    name: str
    """AuditSourceID, and the machine's name in the network."""
    ae_title: str = ""
    """By which we call others."""
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """Who took an active part."""

    user: str
    ae_titles: tuple[str, ...] = ()
    name: str = ""
    requestor: bool = False
    roles: tuple[Code, ...] = ()
    access_point: str = ""
    """A host's name, an IP address, a mail address or a URI; "" where it is not known."""
    media: Code | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What it happened to: a study, a patient, a node. ParticipantObjectIdentification."""

    id: str
    id_type: Code
    type: str
    role: str
    name: str = ""
    query: bytes | None = None
    """In place of the name."""
    details: tuple[tuple[str, bytes], ...] = ()
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    """SOP Class UID -> instances. The MOST_CLASSES most frequent are named, the others are one number: a stranger can
    send any."""


@dataclass(frozen=True, kw_only=True)
class AuditMessage:
    event: Code
    type: Code | None = None
    action: str
    """C, R, U, D or E."""
    at: datetime
    outcome: Outcome = Outcome.SUCCESS
    participants: tuple[Participant, ...]
    subjects: tuple[Subject, ...] = ()


def to_xml(message: AuditMessage, source: Source) -> bytes:
    """UTF-8, without an XML declaration. The same message gives the same bytes."""
    root = Element("AuditMessage")
    happened = SubElement(
        root,
        "EventIdentification",
        EventActionCode=message.action,
        EventDateTime=message.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(message.outcome.value),
    )
    _coded(happened, "EventID", message.event)
    if message.type:
        _coded(happened, "EventTypeCode", message.type)
    for participant in message.participants:
        _participant(root, participant)
    ids = {"AuditSourceID": _clean(source.name)}
    if source.site:
        ids = {"AuditEnterpriseSiteID": _clean(source.site)} | ids
    from_ = SubElement(root, "AuditSourceIdentification", ids)
    SubElement(from_, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})
    for subject in message.subjects:
        _subject(root, subject)
    return ElementTree.tostring(root, encoding="unicode").encode()


def _participant(root: Element, participant: Participant) -> None:
    values = {"UserID": _clean(participant.user)}
    if participant.ae_titles:
        values["AlternativeUserID"] = f"AETITLES={';'.join(map(_clean, participant.ae_titles))}"
    if participant.name:
        values["UserName"] = _clean(participant.name)
    values["UserIsRequestor"] = str(participant.requestor).lower()
    if participant.access_point:
        values["NetworkAccessPointID"] = _clean(participant.access_point)
        values["NetworkAccessPointTypeCode"] = access_point_type(participant.access_point)
    made = SubElement(root, "ActiveParticipant", values)
    for role in participant.roles:
        _coded(made, "RoleIDCode", role)
    if participant.media:
        _coded(SubElement(made, "MediaIdentifier"), "MediaType", participant.media)


def _subject(root: Element, subject: Subject) -> None:
    made = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(subject.id),
        ParticipantObjectTypeCode=subject.type,
        ParticipantObjectTypeCodeRole=subject.role,
    )
    _coded(made, "ParticipantObjectIDTypeCode", subject.id_type)
    if subject.query is None:
        SubElement(made, "ParticipantObjectName").text = _clean(subject.name)
    else:
        SubElement(made, "ParticipantObjectQuery").text = b64encode(subject.query).decode()
    for kind, value in subject.details:
        SubElement(made, "ParticipantObjectDetail", type=kind, value=b64encode(value).decode())
    if subject.sop_classes:
        described = SubElement(made, "ParticipantObjectDescription")
        by_number = sorted(subject.sop_classes.items(), key=lambda one: (-one[1], one[0]))
        for uid, number in by_number[:MOST_CLASSES]:
            SubElement(described, "SOPClass", UID=_clean(uid), NumberOfInstances=str(number))
        if others := sum(number for _, number in by_number[MOST_CLASSES:]):
            SubElement(described, "SOPClass", NumberOfInstances=str(others))


def access_point_type(where: str) -> str:
    """NetworkAccessPointTypeCode: 1 a machine's name, 2 an IP address, 4 a mail address, 5 a URI."""
    try:
        ip_address(where)
    except ValueError:
        return "5" if "://" in where else "4" if "@" in where else "1"
    return "2"


def _coded(parent: Element, name: str, code: Code) -> None:
    SubElement(parent, name, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning})


def _clean(text: str) -> str:
    return NO_XML.sub("\ufffd", text)
