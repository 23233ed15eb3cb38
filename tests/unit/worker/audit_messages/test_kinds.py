"""Each kind of audit message, against the schema of PS3.15 A.5.1; and that the schema can fail."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from lxml import etree
from pydicom.sr.codedict import codes as standard

from tests.audit_repository import valid
from worker.audit_messages import codes, kinds
from worker.audit_messages.codes import Code
from worker.audit_messages.kinds import Peer, Study, alerted
from worker.audit_messages.message import AuditMessage, Outcome, Source, access_point_type, to_xml

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
US = Peer(user="gateway", ae_title="XRAYQ", host="gateway1")
CT = Peer(user="CR1", ae_title="CR1", host="10.0.0.7")
STUDY = Study(uid="1.2.3", patient="withheld", sop_classes={"1.2.840.10008.5.1.4.1.1.1.1": 2})
KINDS: dict[str, AuditMessage] = {
    "started": kinds.application_activity(AT, US, name="xrayq gateway", started=True),
    "stopped": kinds.application_activity(AT, US, name="xrayq gateway", started=False),
    "accessed": kinds.instances_accessed(AT, Peer(user="reader@site", host="10.0.0.9"), STUDY),
    "transferred": kinds.instances_transferred(AT, sender=CT, receiver=US, study=STUDY, action="C"),
    "exported": kinds.export(AT, sender=US, address="mailto:chest@hospital.example", study=STUDY),
    "posted": kinds.export(AT, sender=US, address="https://hook.example#1a2b3c4d", study=STUDY),
    "query": kinds.query(AT, asking=US, asked=CT, sop_class="1.2.3", keys=b"\x08\0", syntax="1.2.840.10008.1.2"),
    "alert": kinds.security_alert(
        AT,
        reporter=US,
        type=codes.NODE_AUTHENTICATION,
        outcome=Outcome.MINOR,
        subject=alerted("10.0.0.7", codes.NODE_ID, "NO_TLS 3"),
        by=CT,
    ),
    "login": kinds.user_authentication(AT, CT, US, login=True, outcome=Outcome.MINOR),
}


def xml(message: AuditMessage) -> bytes:
    return to_xml(message, Source(name="relay1", site="St. Elsewhere"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_valid(kind: str) -> None:
    assert valid(xml(KINDS[kind]))


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: root.remove(root.find("AuditSourceIdentification")),
        lambda root: root.remove(root.find("EventIdentification")),
        lambda root: root.find("EventIdentification").set("EventOutcomeIndicator", "1"),
        lambda root: root.find("EventIdentification").set("EventDateTime", "yesterday"),
        lambda root: root.find(".//EventID").attrib.pop("originalText"),
        lambda root: root.find("ActiveParticipant").attrib.pop("UserIsRequestor"),
        lambda root: root.find(".//ParticipantObjectName").getparent().remove(root.find(".//ParticipantObjectName")),
        lambda root: root.find(".//SOPClass").attrib.pop("NumberOfInstances"),
        lambda root: root.append(etree.Element("Comment")),
    ],
)
def test_what_is_harmed_is_not(harm: Callable[[etree._Element], object]) -> None:
    root = etree.fromstring(xml(KINDS["transferred"]))
    harm(root)
    assert not valid(etree.tostring(root))


def test_codes_are_those_of_the_standard() -> None:
    ours = [code for code in vars(codes).values() if isinstance(code, Code) and code.system == "DCM"]
    known = {}
    for group in (400, 401, 402, 403, 404, 405):
        collection = getattr(standard, f"cid{group}")
        known |= {getattr(collection, name).value: getattr(collection, name).meaning for name in collection.dir()}
    assert {code.value: code.meaning for code in ours} == {code.value: known[code.value] for code in ours}


def test_a_message_stays_short_enough_for_a_datagram() -> None:
    """A.6: repositories take 32,768 bytes at least. Each text is as long as a stranger can make it."""
    classes = {f"1.2.{number:060}": 1 for number in range(500)}
    wild = Study(uid="1" * 64, patient="P" * 64, sop_classes=classes)
    made = xml(kinds.instances_transferred(AT, sender=CT, receiver=US, study=wild, action="C"))
    assert valid(made)
    assert len(made) < 8192
    assert sum(map(int, etree.fromstring(made).xpath("//SOPClass/@NumberOfInstances"))) == 500


@pytest.mark.parametrize(
    ("where", "type"), [("10.0.0.7", "2"), ("::1", "2"), ("pacs.example", "1"), ("a@b", "4"), ("mllp://ris:1", "5")]
)
def test_access_points(where: str, type: str) -> None:
    assert access_point_type(where) == type


def test_a_strangers_words_stay_words() -> None:
    """A title with markup, and one with characters that XML has no place for."""
    wild = Peer(user='</AuditMessage>"&\x00\ud800', ae_title="A\x0bB", host="10.0.0.7")
    made = xml(kinds.instances_transferred(AT, sender=wild, receiver=US, study=STUDY, action="C"))
    assert valid(made)
    users = etree.fromstring(made).xpath("//ActiveParticipant/@UserID")
    assert users == ['</AuditMessage>"&\ufffd\ufffd', "gateway"]
