"""Rows of the audit trail as audit messages.

    what happened                       message                          how many
    a film came, again, or revised      DICOM Instances Transferred      one for each sender and study of a batch
    a result went to a PACS             DICOM Instances Transferred      likewise, for each destination and study
    a person looked at a film           DICOM Instances Accessed         one for each person, film and ten minutes
    a result went as a message          Export                           one
    we asked a PACS what it holds       Query                            one for each association
    peers were not let in               Security Alert                   one for each AE title and minute
    the trail or a score is not whole   Security Alert, major            one
    the bundle in service changed       Security Alert, informative      one
    a peer was added, changed, removed  Security Alert, informative      one
    a process began or ended            Application Activity             one

What no part of PS3.15 A.5.3 has a message for, such as a score, a study that is complete, or C-STOREs that were
refused, makes none: the trail has it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from worker.audit.actions import Action
from worker.audit_messages import codes, kinds
from worker.audit_messages.codes import Code
from worker.audit_messages.kinds import NOT_KNOWN, Peer, Study, alerted
from worker.audit_messages.message import AuditMessage, Outcome, Source, Subject
from worker.audit_messages.transfers import CAME, PatientOf, Transfers, pacs
from worker.db.tables import audit_event, instance

log = logging.getLogger("xrayq.audit")

BUNDLES = {
    Action.BUNDLE_ACTIVATED: "bundle activated",
    Action.BUNDLE_SHADOWED: "bundle scores beside the live one",
    Action.BUNDLE_RETIRED: "bundle retired",
}
PEERS = {
    Action.PEER_ADDED: "peer added",
    Action.PEER_CHANGED: "peer changed",
    Action.PEER_REMOVED: "peer removed",
}
TRAIL = "urn:xrayq:audit-trail"
MOST_WORDS = 1000
"""Characters of a description. A stranger can choose some of what is counted in a minute."""


def rows_between(connection: Connection, after: int, until: int) -> Sequence[Row[Any]]:
    """The rows behind `after`, up to and with `until`, each with what messages say of its film."""
    film = instance.c
    return connection.execute(
        select(
            audit_event,
            film.study_instance_uid,
            film.sop_class_uid,
            film.called_ae,
            film.backfilled,
            film.digest.label("film"),
        )
        .outerjoin(instance, film.id == audit_event.c.instance_id)
        .where(audit_event.c.id > after, audit_event.c.id <= until)
        .order_by(audit_event.c.id)
    ).all()


def messages_of(
    connection: Connection, rows: Sequence[Row[Any]], source: Source, patient_of: PatientOf
) -> list[AuditMessage]:
    """In the order of the trail; a transfer stands where its last instance does. The same rows give the same messages.

    A row that cannot be read, which another release wrote, is logged and left out.
    """
    transfers, others = Transfers(source, patient_of), []
    for row in rows:
        try:
            if row.action in CAME:
                transfers.came(row)
            elif row.action == Action.RESULT_SENT and _is_pacs(row.detail["destination"]):
                transfers.sent(connection, row)
            elif message := _message(row, source, patient_of):
                others.append((row.id, message))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.error("no audit message of a row", extra={"action": row.action, "reason": type(error).__name__})
    return [message for _, message in sorted([*others, *transfers.messages()], key=lambda pair: pair[0])]


def _is_pacs(destination: str) -> bool:
    return not ("://" in destination or destination.startswith("mailto:"))


def _message(row: Row[Any], source: Source, patient_of: PatientOf) -> AuditMessage | None:
    """Of one row by itself; None where there is no message for it."""
    detail, us = row.detail, Peer(user=row.actor, host=source.name)
    match row.action:
        case Action.RESULT_SENT:
            study = Study(uid=row.study_instance_uid, patient=patient_of(row.film), sop_classes={})
            return kinds.export(row.at, sender=us, address=detail["destination"], study=study)
        case Action.FILM_VIEWED:
            seen = Study(uid=row.study_instance_uid, patient=patient_of(row.film), sop_classes={row.sop_class_uid: 1})
            return kinds.instances_accessed(row.at, Peer(user=row.actor), seen)
        case Action.QUERIED:
            keys, syntax = _identifier(detail["keys"])
            asking, asked = replace(us, ae_title=source.ae_title), pacs(detail["destination"])
            return kinds.query(
                row.at, asking=asking, asked=asked, sop_class=detail["sop_class"], keys=keys, syntax=syntax
            )
        case Action.NOT_ASSOCIATED:
            return _not_let_in(row, Peer(user="gateway", host=source.name))
        case Action.TRAIL_NOT_WHOLE:
            return _altered(row, us, detail["fault"])
        case Action.ALARM_RAISED if detail["rule"] == "trail_broken":
            return _altered(row, us, "the check of the night found the audit trail, or a score, altered")
        case Action.BUNDLE_ACTIVATED | Action.BUNDLE_SHADOWED | Action.BUNDLE_RETIRED:
            about = f"urn:xrayq:bundle:{detail['new'] or detail['old']}"
            subject = alerted(about, codes.URI, BUNDLES[Action(row.action)])
            return _alert(row, us, codes.SOFTWARE_CONFIGURATION, Outcome.SUCCESS, subject)
        case Action.PEER_ADDED | Action.PEER_CHANGED | Action.PEER_REMOVED:
            subject = alerted(detail["calling_ae"], codes.NODE_ID, PEERS[Action(row.action)])
            return _alert(row, us, codes.SECURITY_CONFIGURATION, Outcome.SUCCESS, subject)
        case Action.PROCESS_STARTED | Action.PROCESS_STOPPED:
            process = Peer(user=f"{detail['pid']}@{detail['host']}", host=detail["host"])
            started = row.action == Action.PROCESS_STARTED
            return kinds.application_activity(row.at, process, name=f"xrayq {row.actor}", started=started)
    return None


def _not_let_in(row: Row[Any], reporter: Peer) -> AuditMessage:
    """What was counted in a minute under one AE title. `addresses` are missing where a release before counted."""
    title = "" if row.actor.startswith("(") else row.actor  # (no AE title given), (further AE titles)
    addresses = row.detail.get("addresses", {})
    words = f"associations not let in, by reason: {_counts(row.detail['reasons'])}"
    words += f"; by address: {_counts(addresses)}" if addresses else ""
    where = next(iter(addresses), "") if len(addresses) == 1 else ""
    by = Peer(user=title or NOT_KNOWN, ae_title=title, host=where)
    subject = alerted(where or title or NOT_KNOWN, codes.NODE_ID, words[:MOST_WORDS])
    return _alert(row, reporter, codes.NODE_AUTHENTICATION, Outcome.MINOR, subject, by)


def _altered(row: Row[Any], reporter: Peer, fault: str) -> AuditMessage:
    """Only who went past xrayq can have done it."""
    subject = alerted(TRAIL, codes.URI, fault[:MOST_WORDS])
    return _alert(row, reporter, codes.USE_OF_RESTRICTED_FUNCTION, Outcome.MAJOR, subject)


def _alert(
    row: Row[Any], reporter: Peer, type: Code, outcome: Outcome, subject: Subject, by: Peer | None = None
) -> AuditMessage:
    return kinds.security_alert(row.at, reporter=reporter, type=type, outcome=outcome, subject=subject, by=by)


def _identifier(keys: dict[str, str]) -> tuple[bytes, str]:
    """Keyword -> value, as the data set of a C-FIND-RQ, and its transfer syntax."""
    from pydicom.dataset import Dataset  # 0.6 s, for `xrayq status` and the relay as long as nobody asked a PACS
    from pydicom.uid import ImplicitVRLittleEndian
    from pynetdicom.dsutils import encode

    asked = Dataset()
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    encoded = encode(asked, True, True)
    if encoded is None:
        raise ValueError("keys that cannot be encoded")
    return encoded, ImplicitVRLittleEndian


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())
