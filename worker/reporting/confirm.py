"""Whether a PACS holds what it was sent: many results at once, over one association.

It is asked for storage commitment where it takes that, and by C-FIND where it takes that; either answer will do. Its
report may come later, to the gateway (`worker.reporting.held`).

    takes neither                       its status of the C-STORE counts
    says of each object that it is there    confirmed
    has no such object                  sent again, three times at most
    no answer yet                       asked again, until the result is too old: unconfirmed

Any of it may be repeated: who dies in between leaves the errand, and the next asks again.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, insert, select, update

from dicom_gateway.asking import Asking, asking
from dicom_gateway.commitment import (
    CommitmentReport,
    ObjectReference,
    new_transaction_uid,
    request_commitment,
    take_report,
)
from dicom_gateway.contexts import STORAGE_COMMITMENT, STUDY_ROOT_FIND
from dicom_gateway.errors import SUCCESS, PeerUnavailable, in_hexadecimal
from dicom_gateway.find_object import find_object
from dicom_gateway.heard import Heard
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import database_time, reading, time_of, writing
from worker.db.tables import commitment, instance, sent_object
from worker.queue import errands
from worker.queue.errands import Errand
from worker.reporting import faults, held, reported, waiting
from worker.reporting.adapters.adapter import Opened, SendOptions
from worker.reporting.destinations import Destination, StoreDestination
from worker.reporting.unconfirmed import Asked, ConfirmOptions, Said, follow
from worker.reporting.waiting import CONFIRM, WaitingResult

log = logging.getLogger("xrayq.report")

MOST_AT_ONCE = 100
"""Results of one association."""
ANSWERED_KEPT = timedelta(days=1)
"""For which a transaction is known after its report: a PACS that lost our answer sends it again."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What asks, made once for each worker. Its methods may be called from several threads."""

    database: Engine
    send: SendOptions
    options: ConfirmOptions = field(default_factory=ConfirmOptions)

    def ask_due(self, destination: Destination, opened: Opened = lambda _: None) -> str | None:
        """Ask about what is due, at most MOST_AT_ONCE results. None where nothing was, else why some answer is missing,
        "" for none."""
        taken = self._take(waiting.goes_to([destination.name]))
        if not taken:
            return None
        asked = self._read(taken)
        if not asked:
            return ""
        if self.send.confirm and isinstance(destination, StoreDestination):
            said = self._ask(destination, asked, opened)
        else:
            said = Said(status_counts={row.id for one in asked for row in one.objects})
        self._settle(asked, said)
        return said.reason

    def leave(self, destinations: Sequence[str]) -> int:
        """Results at other destinations than these are ended when they are old enough: nobody asks there any more.

        Until then they are left as they are: another worker's settings may be newer. Returns how many were ended.
        Transactions as old are forgotten, and those that were reported on ANSWERED_KEPT ago.
        """
        now = time_of(self.database)
        oldest = now - timedelta(hours=self.send.hours)
        done = (commitment.c.asked_at < oldest) | (commitment.c.answered_at < now - ANSWERED_KEPT)
        with writing(self.database) as connection:
            connection.execute(delete(commitment).where(done))
        taken = self._take(~waiting.goes_to(destinations), waiting.written_before(oldest))
        self._settle(self._read(taken), Said(reason=faults.NOT_CONFIGURED))
        return len(taken)

    def _take(self, *which: ColumnElement[bool]) -> list[Errand]:
        return errands.take_batch(
            self.database,
            (CONFIRM,),
            *which,
            now=time_of(self.database),
            lease_seconds=self.send.lease_seconds,
            most=MOST_AT_ONCE,
        )

    def _read(self, taken: Sequence[Errand]) -> list[Asked]:
        found = []
        with reading(self.database) as connection:
            for one in taken:
                try:
                    waits = waiting.read(one)
                except ValueError:  # another release wrote it, and its workers take it when our lease passes
                    log.error("result not confirmed", extra={"reason": faults.UNREADABLE, "attempt": one.attempt})
                    continue
                asked = Asked(taken=one, waits=waits, objects=())
                rows = select(sent_object, instance.c.study_instance_uid).join(instance).where(asked.key.objects)
                found.append(replace(asked, objects=tuple(connection.execute(rows).all())))
        return found

    def _ask(self, destination: StoreDestination, asked: Sequence[Asked], opened: Opened) -> Said:
        said, begun = Said(), time.monotonic()
        reports: list[str] = []

        def record(report: CommitmentReport) -> None:
            held.record_report(self.database, report, destination.called_ae, Actor.WORKER)
            reports.append(report.transaction_uid)

        def report(heard: Heard) -> tuple[int, str]:
            return take_report(heard.command, heard.data, heard.syntax, record)

        try:
            with asking(
                destination.host,
                destination.port,
                (STORAGE_COMMITMENT, STUDY_ROOT_FIND),
                called_ae=destination.called_ae,
                calling_ae=self.send.calling_ae,
                report=report,
                timeout=self.send.answer_seconds,
                total=self.send.send_seconds,
                opened=opened,
                tls=self.send.tls_for(destination),
            ) as peer:
                if not (peer.takes(STORAGE_COMMITMENT) or peer.takes(STUDY_ROOT_FIND)):
                    said.status_counts = {row.id for one in asked for row in one.objects}
                if peer.takes(STORAGE_COMMITMENT):
                    self._commit(peer, destination, asked, said, reports)
                if peer.takes(STUDY_ROOT_FIND):
                    self._find(peer, asked, said, until=begun + self.send.send_seconds - self.send.answer_seconds)
        except PeerUnavailable as failure:
            said.reason = str(failure)
        return said

    def _commit(
        self, peer: Asking, destination: Destination, asked: Sequence[Asked], said: Said, reports: list[str]
    ) -> None:
        """The transaction is written first: its report may be here before the answer to the N-ACTION."""
        transaction, now = new_transaction_uid(), time_of(self.database)
        again = timedelta(seconds=self.options.ask_again_seconds)
        objects = [
            row
            for one in asked
            for row in one.objects
            if row.committed_at is None
            and (
                row.failure_reason is not None
                or one.waits.committing_since is None
                or now - one.waits.committing_since >= again
            )
        ]
        if not objects:
            said.reason = faults.NO_REPORT
            return
        uids = [row.sop_instance_uid for row in objects]
        row = {"transaction_uid": transaction, "destination": destination.name, "asked": uids, "asked_at": now}
        with writing(self.database) as connection:
            connection.execute(insert(commitment).values(row))
        seconds = self.send.answer_seconds
        status = request_commitment(peer, transaction, [_reference(row) for row in objects], seconds=seconds)
        if status != SUCCESS:
            with writing(self.database) as connection:
                connection.execute(delete(commitment).where(commitment.c.transaction_uid == transaction))
            said.reason = faults.NO_ANSWER if status is None else f"{faults.COMMITMENT}{in_hexadecimal(status)}"
            return
        said.committing_since, said.committing = now, {row.id for row in objects}
        peer.listen(self.options.report_seconds, lambda: transaction in reports)
        if transaction not in reports:
            said.reason = faults.NO_REPORT

    def _find(self, peer: Asking, asked: Sequence[Asked], said: Said, *, until: float) -> None:
        """
        Args:
            until: of the monotonic clock. After it nothing more is asked: each question has its whole time.
        """
        for one in asked:
            for row in one.objects:
                if row.found_at is not None or peer.over:
                    continue
                if time.monotonic() >= until:
                    said.unasked.add(row.id)
                    continue
                said.asked_by_find = True
                answer = find_object(peer, _reference(row), seconds=self.send.answer_seconds)
                if answer.found:
                    said.found.add(row.id)
                elif answer.status == SUCCESS:
                    said.missing.add(row.id)
                elif answer.status is not None:
                    said.reason = f"{faults.QUERY}{in_hexadecimal(answer.status)}"
        if peer.over:
            said.reason = faults.NO_ANSWER

    def _settle(self, asked: Sequence[Asked], said: Said) -> None:
        with writing(self.database) as connection:
            reported.lock(connection, [one.waits.instance for one in asked])
            now = database_time(connection)
            _keep(connection, asked, sent_object.c.found_at, said.found, now)
            _keep(connection, asked, sent_object.c.status_counts_at, said.status_counts, now)
            done, events = held.confirm(connection, [one.key for one in asked], Actor.WORKER)
            for one in asked:
                if one.key not in done:
                    events += follow(connection, one, said, now, send=self.send, options=self.options)
            if said.asked_by_find and self.send.queries_on_record:
                events.append(_queried(asked[0].waits.destination))
            trail.record_all(connection, events)
        if done:
            log.info("results confirmed", extra={"subject": asked[0].waits.destination, "count": len(done)})
        if len(done) < len(asked):
            extra = {"subject": asked[0].waits.destination, "count": len(asked) - len(done), "reason": said.reason}
            log.info("results not confirmed yet", extra=extra)


def begin(connection: Connection, waits: WaitingResult, now: datetime) -> None:
    """A result was sent, and is to be confirmed. In the transaction that records the sending."""
    waiting.add(connection, CONFIRM, replace(waits, reason="", committing_since=None), now)


def _keep(connection: Connection, asked: Sequence[Asked], column: Any, ids: set[int], now: datetime) -> None:
    """Of objects that were not sent again meanwhile."""
    for one in asked:
        for row in one.objects:
            if row.id in ids:
                same = (sent_object.c.id == row.id) & (sent_object.c.sent_at == row.sent_at)
                connection.execute(update(sent_object).where(same, column.is_(None)).values({column.name: now}))


def _queried(destination: str) -> dict[str, Any]:
    """One event for all questions of an association: they differ in the values of their keys alone."""
    keys = {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "", "SeriesInstanceUID": "", "SOPInstanceUID": ""}
    detail = {"destination": destination, "sop_class": STUDY_ROOT_FIND, "keys": keys}
    return trail.event(action=Action.QUERIED, instance_id=None, actor=Actor.WORKER, detail=detail)


def _reference(row: Row[Any]) -> ObjectReference:
    return ObjectReference(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
    )
