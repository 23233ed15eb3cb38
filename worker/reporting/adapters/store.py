"""C-STORE of the objects of a result to a PACS."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dicom_gateway.errors import PeerUnavailable, in_hexadecimal
from dicom_gateway.store_objects import StoreAnswer, store_objects
from worker.bounded import within
from worker.db.tables import sent_object
from worker.errors import Undelivered
from worker.reporting import faults
from worker.reporting.adapters.adapter import Opened, Outgoing, SendOptions
from worker.reporting.destinations import StoreDestination
from worker.reporting.objects import Make
from worker.reporting.perhaps import ObjectName
from worker.reporting.waiting import WaitingResult

PICTURE_FAULTS = (faults.NO_PICTURE, faults.NO_BUNDLE)
PICTURE_ATTEMPTS = 4
"""A picture that could not be had so often in a row keeps the report back no longer, which is after 70 s."""
SAID = ("committed_at", "found_at", "status_counts_at", "failure_reason")
"""Columns for what a destination says of an object later: of one that is sent again it is asked anew."""


@dataclass(frozen=True, kw_only=True)
class MadeObject:
    """An object and what identifies its bytes."""

    content: Dataset
    digest: str
    """SHA-256 of the data set in its own transfer syntax, without preamble and file meta."""
    without: str = ""
    """Why no picture goes with it, a code of `faults`."""

    @property
    def object_name(self) -> ObjectName:
        made = self.content
        return ObjectName(
            sop_class_uid=str(made.SOPClassUID),
            sop_instance_uid=str(made.SOPInstanceUID),
            series_instance_uid=str(made.SeriesInstanceUID),
        )


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """An object that the destination holds."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    digest: str
    status: int
    """Of the C-STORE-RSP: 0, or a warning."""
    without: str = ""
    """As of `MadeObject`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*([in_hexadecimal(self.status)] if self.status else []), *([self.without] if self.without else []))

    def keep(self, connection: Connection, waits: WaitingResult, now: datetime) -> None:
        key = {
            "instance_id": waits.instance,
            "bundle_digest": waits.bundle.digest,
            "destination": waits.destination,
            "sop_instance_uid": self.sop_instance_uid,
        }
        values = {
            "sop_class_uid": self.sop_class_uid,
            "series_instance_uid": self.series_instance_uid,
            "digest": self.digest,
            "sent_at": now,
            "status": self.status,
        } | dict.fromkeys(SAID)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        new = dialect.insert(sent_object).values(key | values)
        connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=values))


@dataclass(frozen=True, kw_only=True)
class StoreAdapter:
    """A structured report and a secondary capture, over one association."""

    destination: StoreDestination
    objects: Make
    options: SendOptions

    def make(self, outgoing: Outgoing) -> list[MadeObject]:
        without = ""
        try:
            made = self.objects(outgoing.result, outgoing.film, picture=True)
        except Undelivered as failure:
            without = str(failure)
            if without not in PICTURE_FAULTS or not _waited_for_picture(outgoing):
                raise
            made = self.objects(outgoing.result, outgoing.film, picture=False)
        return [MadeObject(content=content, digest=_digest(content), without=without) for content in made]

    def send(self, made: Sequence[MadeObject], opened: Opened) -> list[SentObject]:
        answers = self._answers([one.content for one in made], opened)
        if reason := faults.of_answers(answers, len(made)):
            raise Undelivered(reason, nothing_arrived=all(answer.refused for answer in answers))
        return [_sent(one, answer) for one, answer in zip(made, answers, strict=True)]

    def _answers(self, objects: Sequence[Dataset], opened: Opened) -> list[StoreAnswer]:
        options, destination = self.options, self.destination
        send = partial(
            store_objects,
            destination.host,
            destination.port,
            objects,
            called_ae=destination.called_ae,
            calling_ae=options.calling_ae,
            timeout=options.answer_seconds,
            total=options.send_seconds,
            opened=opened,
            tls=options.tls_for(destination),
        )
        try:
            return within(2 * options.send_seconds, send)
        except PeerUnavailable as failure:
            raise Undelivered(str(failure), nothing_arrived=True) from None  # no association
        except TimeoutError:
            raise Undelivered(faults.NO_ANSWER) from None


def _waited_for_picture(outgoing: Outgoing) -> bool:
    return outgoing.attempt >= PICTURE_ATTEMPTS and outgoing.waits.reason in PICTURE_FAULTS


def _digest(made: Dataset) -> str:
    syntax = made.file_meta.TransferSyntaxUID
    encoded = encode(made, syntax.is_implicit_VR, syntax.is_little_endian)
    if encoded is None:
        raise ValueError("a data set that cannot be encoded")
    return hashlib.sha256(encoded).hexdigest()


def _sent(made: MadeObject, answer: StoreAnswer) -> SentObject:
    assert answer.status is not None  # `faults.of_answers` has no fault to tell
    return SentObject(
        **asdict(made.object_name),
        digest=made.digest,
        status=answer.status,
        without=made.without,
    )
