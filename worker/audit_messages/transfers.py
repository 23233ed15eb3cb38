"""Films that came and results that were sent, as one message for each way and study: DICOM Instances Transferred.

A message for each film would be thousands a day that say the same, and PS3.15 A.5.3.7 lets one name a study with the
number of its instances. One for each association is no choice: an association may bring studies of many patients, a
message only one, and many peers open one for each film.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from worker.audit.actions import Action
from worker.audit_messages import kinds
from worker.audit_messages.kinds import Peer, Study
from worker.audit_messages.message import AuditMessage, Source
from worker.db.tables import sent_object

CAME = {Action.RECEIVED: "C", Action.REVISION: "U", Action.DUPLICATE: "R"}
"""Action of the trail -> action of A.5.3.7."""

PatientOf = Callable[[str], str]
"""The Patient ID of a film in the spool, by its digest; a word where there is none."""


@dataclass(kw_only=True)
class Transfer:
    """Instances of one study on one way, as they are counted."""

    action: str
    sender: Peer
    receiver: Peer
    fetched: bool
    """The receiver asked for them: a backfill of ours."""
    study: str
    film: str
    """Digest of one of its films."""
    last: Row[Any]
    sop_classes: Counter[str] = field(default_factory=Counter)


class Transfers:
    """Of one batch of the trail."""

    def __init__(self, source: Source, patient_of: PatientOf) -> None:
        self._source = source
        self._patient_of = patient_of
        self._found: dict[tuple[str, ...], Transfer] = {}

    def came(self, row: Row[Any]) -> None:
        action, address = CAME[Action(row.action)], str(row.detail.get("peer", ""))
        sender = Peer(user=row.actor, ae_title=row.actor, host=address)
        receiver = Peer(user="gateway", ae_title=row.called_ae, host=self._source.name)
        fetched = bool(row.backfilled) and row.action != Action.DUPLICATE  # which anybody may have sent
        self._add(row, action, sender, receiver, {row.sop_class_uid: 1}, fetched=fetched)

    def sent(self, connection: Connection, row: Row[Any]) -> None:
        """Whether a PACS had them already is its own to say: R (A.5.3.7)."""
        sender = Peer(user="worker", ae_title=self._source.ae_title, host=self._source.name)
        objects = sent_object.c
        which = (
            objects.instance_id == row.instance_id,
            objects.bundle_digest == row.detail["bundle"],
            objects.destination == row.detail["destination"],
        )
        classes = connection.execute(select(objects.sop_class_uid).where(*which)).scalars()
        self._add(row, "R", sender, pacs(row.detail["destination"]), Counter(classes))

    def messages(self) -> list[tuple[int, AuditMessage]]:
        """Each with the last row that it tells of."""
        return [(transfer.last.id, self._message(transfer)) for transfer in self._found.values()]

    def _add(
        self,
        row: Row[Any],
        action: str,
        sender: Peer,
        receiver: Peer,
        sop_classes: dict[str, int],
        *,
        fetched: bool = False,
    ) -> None:
        key = (action, *_who(sender), *_who(receiver), row.study_instance_uid, str(fetched))
        begun = Transfer(
            action=action,
            sender=sender,
            receiver=receiver,
            fetched=fetched,
            study=row.study_instance_uid,
            film=row.film,
            last=row,
        )
        transfer = self._found.setdefault(key, begun)
        transfer.last = row
        transfer.sop_classes.update(sop_classes)

    def _message(self, transfer: Transfer) -> AuditMessage:
        study = Study(uid=transfer.study, patient=self._patient_of(transfer.film), sop_classes=transfer.sop_classes)
        return kinds.instances_transferred(
            transfer.last.at,
            sender=transfer.sender,
            receiver=transfer.receiver,
            study=study,
            action=transfer.action,
            fetched=transfer.fetched,
        )


def pacs(destination: str) -> Peer:
    """Of AE@host:port, with or without tls: before it."""
    title, _, where = destination.removeprefix("tls:").partition("@")
    host = where.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return Peer(user=title, ae_title=title, host=host)


def _who(peer: Peer) -> tuple[str, str, str]:
    return peer.user, peer.ae_title, peer.host
