"""From the audit trail to the repository, on both databases: in order, at least once, the same bytes each time."""

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lxml import etree
from sqlalchemy import update

from tests.audit_repository import DIES, AuditRepository, valid, xml_of
from tests.integration.audit_messages.conftest import OPTIONS, Site
from tests.services import typed_in
from worker.audit.actions import Action
from worker.audit.trail import verify
from worker.audit_messages import feed
from worker.audit_messages.patients import Patients
from worker.db.session import writing
from worker.db.tables import audit_event, instance
from worker.receiving.refusals import Refusals
from worker.web.looks import record_look
from worker.web.people import Person, WebRole
from worker.web.signing_in import sessions, users
from worker.web.signing_in.failures import Failures
from worker.web.signing_in.sessions import Lengths


def of(message: bytes, path: str) -> list[str]:
    return [str(found) for found in xml_of(message).xpath(path)]


def test_films_of_a_study_are_one_message(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    site.film("bb", study="1.2.4")
    site.film("ccc")
    assert site.send() == 1
    first, second = repository.came  # each where its last film stands in the trail
    assert of(second, "//ParticipantObjectIdentification/@ParticipantObjectID") == ["1.2.3", "withheld"]
    assert of(second, "//SOPClass/@NumberOfInstances") == ["2"]
    assert of(first, "//ParticipantObjectIdentification/@ParticipantObjectID") == ["1.2.4", "withheld"]
    assert of(second, "//ActiveParticipant/RoleIDCode/@csd-code") == ["110153", "110152"]
    assert of(second, "//ActiveParticipant/@NetworkAccessPointID") == ["10.0.0.7", "relay1.example"]
    assert of(second, "//ActiveParticipant/@AlternativeUserID") == ["AETITLES=CR1", "AETITLES=XRAYQ"]
    assert second.startswith(b"<85>1 ")
    assert b" relay1.example xrayq - DICOM+RFC3881 - \xef\xbb\xbf<AuditMessage>" in second
    assert site.send() == 0
    assert site.stands().waiting == 0


def test_of_what_a_backfill_fetched_we_are_the_requestor(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    with writing(site.database) as connection:
        connection.execute(update(instance).values(backfilled=True))
    site.film("bb")
    site.film("a")  # again, and nobody knows who asked
    site.send()
    requestor = "//ActiveParticipant/@UserIsRequestor"
    assert [of(message, requestor) for message in repository.came] == [
        ["false", "true"],
        ["true", "false"],
        ["true", "false"],
    ]
    assert all(valid(etree.tostring(xml_of(message))) for message in repository.came)


def test_people_who_sign_in_and_who_try(site: Site, repository: AuditRepository) -> None:
    now, lengths = datetime.now(UTC), Lengths(whole=timedelta(hours=1), idle=timedelta(hours=1))
    users.add(site.database, "jones", WebRole.READER, "a long password", actor="operator:root")
    Failures(site.database).tell("wrong_password", address="10.0.0.9", person="jones")
    jones = Person(name="jones", role=WebRole.READER)
    id = sessions.start(site.database, jones, lengths, address="10.0.0.9", now=now)
    sessions.end(site.database, id, address="")
    site.send()
    assert all(valid(etree.tostring(xml_of(message))) for message in repository.came)
    added, *others = repository.came
    assert of(added, "//ParticipantObjectIdentification/@ParticipantObjectID") == ["urn:xrayq:user:jones"]
    assert [of(message, "//EventID/@csd-code") for message in others] == [["110114"]] * 3
    assert [of(message, "//EventTypeCode/@csd-code") for message in others] == [["110122"], ["110122"], ["110123"]]
    assert [of(message, "//@EventOutcomeIndicator") for message in others] == [["4"], ["0"], ["0"]]
    assert [of(message, "//ActiveParticipant/@UserID") for message in others] == [["operator:jones", "web"]] * 3
    assert [of(message, "//ActiveParticipant/@NetworkAccessPointID")[0] for message in others] == [
        *("10.0.0.9", "10.0.0.9", "unknown")
    ]


def test_the_same_film_and_a_corrected_one(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    site.film("a")
    site.film("b", PatientID="ANOTHER")  # under the same UID
    site.send()
    assert [of(message, "//@EventActionCode") for message in repository.came] == [["C"], ["R"], ["U"]]


def test_what_may_be_lost_is_sent_again_as_it_was(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    repository.does = [DIES]
    assert site.send() == 1
    assert (site.stands().failures, site.stands().waiting) == (1, 1)
    site.film("bb")  # comes too late for the batch that is on its way
    assert site.send() == 0, "not before its time"
    site.later()
    assert site.send() == 2
    again, of_second = repository.came
    assert of(again, "//SOPClass/@NumberOfInstances") == ["1"]
    assert of(of_second, "//SOPClass/@NumberOfInstances") == ["1"]
    assert (site.stands().failures, site.stands().reason, site.stands().waiting) == (0, "", 0)


def test_a_relay_that_dies_in_between_leaves_the_batch_to_the_next(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    taken = feed.take(site.database, OPTIONS)
    assert taken
    assert feed.take(site.database, OPTIONS) is None, "another relay waits for the lease"
    site.film("bb")
    site.later()
    retaken = feed.take(site.database, OPTIONS)
    assert retaken
    assert (retaken.after, retaken.until) == (taken.after, taken.until)
    feed._send(site.database, taken, site.to, OPTIONS)  # the one that was thought dead goes on
    assert site.stands().waiting == 2, "and moves nothing, for the lease is another's"
    feed._send(site.database, retaken, site.to, OPTIONS)
    assert site.stands().waiting == 1
    assert repository.came[0] == repository.came[1]


def test_a_thousand_strangers_are_a_few_alerts(site: Site, repository: AuditRepository) -> None:
    refused = Refusals()
    for number in range(1000):
        refused.rejected("STRANGER", "CALLING_AE", f"10.1.{number // 250}.{number % 250}")
        refused.rejected("", "NO_TLS", "10.9.9.9")
    refused.write(site.database)
    site.send()
    nameless, stranger = repository.came
    assert nameless.startswith(b"<84>1 ")
    assert of(nameless, "//@ParticipantObjectID") == ["10.9.9.9"]
    assert of(stranger, "//@ParticipantObjectID") == ["STRANGER"]
    assert of(stranger, "//EventTypeCode/@originalText") == ["Node Authentication"]
    words = b64decode(of(stranger, "//ParticipantObjectDetail/@value")[0]).decode()
    assert words.startswith("associations not let in, by reason: CALLING_AE 1000; by address: (further addresses) 990")


def test_every_event_of_the_trail_makes_a_valid_message_or_none(site: Site, repository: AuditRepository) -> None:
    site.film("a")
    details: dict[Action, dict[str, object]] = {
        Action.PROCESS_STARTED: {"pid": 7, "host": "gateway1"},
        Action.PROCESS_STOPPED: {"pid": 7, "host": "gateway1"},
        Action.BUNDLE_ACTIVATED: {"old": None, "new": "ab" * 32},
        Action.TRAIL_NOT_WHOLE: {"fault": "row 7: its content was altered"},
        Action.ALARM_RAISED: {"rule": "trail_broken"},
        Action.QUERIED: {
            "destination": "tls:PACS@[::1]:2762",
            "sop_class": "1.2.840.10008.5.1.4.1.2.2.1",
            "keys": {"QueryRetrieveLevel": "STUDY", "StudyDate": "20261127", "ModalitiesInStudy": "DX"},
        },
        Action.STUDY_COMPLETE: {},
        Action.BUNDLE_RETIRED: {},  # another release left something out
    }
    for action, detail in details.items():
        site.record(action, detail)
    site.send()
    assert repository.events() == [
        "DICOM Instances Transferred",
        "Application Activity",
        "Application Activity",
        "Security Alert",
        "Security Alert",
        "Security Alert",
        "Query",
    ]
    assert all(valid(etree.tostring(xml_of(message))) for message in repository.came)
    assert [message[:4] for message in repository.came] == [b"<85>"] * 4 + [b"<82>"] * 2 + [b"<85>"]


def test_a_look_at_a_film_is_an_access(site: Site, repository: AuditRepository) -> None:
    key = site.film("a")
    for actor in ("operator:alex", "operator:kim", "operator:alex"):
        record_look(site.database, actor, key)
    site.send()
    assert repository.events() == ["DICOM Instances Transferred", *["DICOM Instances Accessed"] * 2]
    _, first, second = repository.came
    assert [of(message, "//ActiveParticipant/@UserID") for message in (first, second)] == [
        ["operator:alex"],
        ["operator:kim"],
    ]
    assert of(first, "//@EventActionCode") == ["R"]
    assert of(first, "//ParticipantObjectIdentification/@ParticipantObjectID") == ["1.2.3", "withheld"]
    assert of(first, "//SOPClass/@NumberOfInstances") == ["1"]
    assert verify(site.database).whole
    assert all(valid(etree.tostring(xml_of(message))) for message in repository.came)


def test_a_patient_is_named_where_the_site_wants_it_alone(site: Site, repository: AuditRepository) -> None:
    site.options = replace(OPTIONS, patient_of=Patients(site.spool))
    site.film("a", PatientID="MRN-0815")
    site.send()
    assert of(repository.came[0], "//ParticipantObjectIdentification[2]/@ParticipantObjectID") == ["MRN-0815"]
    site.film("bb", study="1.2.4", PatientID="MRN-0816")
    for film in Path(site.spool.root).rglob("*"):
        if film.is_file():
            film.write_bytes(b"gone")
    site.send()
    assert of(repository.came[1], "//ParticipantObjectIdentification[2]/@ParticipantObjectID") == ["unknown"]


def test_who_finds_the_trail_altered_tells_the_repository(
    site: Site, repository: AuditRepository, database_url: str, tmp_path: Path
) -> None:
    site.film("a")
    with writing(site.database) as connection:
        connection.execute(update(audit_event).values(actor="SOMEBODY"))
    with typed_in(tmp_path, database_url=database_url, audit_to="syslog-udp://127.0.0.1:514") as xrayq:
        assert xrayq("audit", "verify")[0] == 1
    site.send()
    (alert,) = [message for message in repository.came if b"Security Alert" in message]
    assert alert.startswith(b"<82>")
    words = b64decode(of(alert, "//ParticipantObjectDetail/@value")[0]).decode()
    assert words == "the audit trail is broken after 0 whole rows: row 1: its content was altered"
