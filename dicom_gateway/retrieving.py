"""C-MOVE and C-GET as SCU (PS3.4 C.4.2 and C.4.3), Study Root: films that a PACS has, fetched by their UIDs.

    C-MOVE   the PACS sends them to an AE title that it knows, by an association of its own: the gateway takes them
    C-GET    it sends them on the association of the question: they go into the spool as those of the gateway

Never a whole study or series: at IMAGE level, with a list of SOP Instance UIDs (PS3.4 C.2.2.2.2). A PACS that may not
take a list is asked for one film at a time, and one that sends more than was wanted is told to stop (C-CANCEL), as at
the end of every wait.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from dicom_gateway.asking import Asking
from dicom_gateway.contexts import FILM_CLASSES, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.dimse import C_GET_RQ, C_MOVE_RQ, RESPONSE_BIT, number, status_of, title_value, uid_value
from dicom_gateway.errors import RetrieveFailed
from dicom_gateway.heard import Heard
from dicom_gateway.retrieve_answer import (
    NONE_SENT,
    PENDING,
    Counts,
    Retrieved,
    counts_of,
    failed_uids,
    joined,
    may_refuse_lists,
)
from dicom_gateway.values import is_valid_uid

ANY = math.inf
LOW = 2
"""Priority (PS3.7 E.1): who fetches old films stands in nobody's way. Most PACSs do not look at it."""
MOST_INSTANCES = 500
"""Of one list: a value of UIDs has at most 64 KiB in Explicit VR."""
CANCEL_SECONDS = 10.0
"""From our C-CANCEL to the last answer: a film on its way comes to its end. Then the association is given up."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Films of one series. Raises ValueError where one is no UID, or there are none or more than MOST_INSTANCES."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]

    def __post_init__(self) -> None:
        uids = (self.study_instance_uid, self.series_instance_uid, *self.sop_instance_uids)
        if not (all(map(is_valid_uid, uids)) and 0 < len(self.sop_instance_uids) <= MOST_INSTANCES):
            raise ValueError("no list of UIDs")


@dataclass(frozen=True, kw_only=True)
class _Operation:
    sop_class: str
    field: int
    """Command Field of the request."""
    elements: tuple[tuple[int, bytes], ...] = ()
    """Of its command set, beside those of every request."""


class Retrieval:
    """Retrievals from one PACS, one after the other over an open association.

    That is made by `asking` with STUDY_ROOT_MOVE, or with STUDY_ROOT_GET and `storing`.
    """

    def __init__(
        self,
        peer: Asking,
        *,
        seconds: float,
        until: float = math.inf,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            seconds: longest silence. A PACS may say nothing while it sends a film, and fetches it from a tape before.
            until: of the monotonic clock. Then the PACS is told to stop. The association needs CANCEL_SECONDS more.
            stop: looked at four times a second: True tells the PACS to stop.
        """
        self._peer = peer
        self._seconds = seconds
        self._until = until
        self._stop = stop
        self._takes_lists = True

    def move(self, wanted: Wanted, *, to_ae: str) -> Retrieved:
        """The PACS is to send them to an AE title. Raises RetrieveFailed where it was not asked."""
        destination = (0x0600, title_value(to_ae))
        return self._retrieve(_Operation(sop_class=STUDY_ROOT_MOVE, field=C_MOVE_RQ, elements=(destination,)), wanted)

    def get(self, wanted: Wanted) -> Retrieved:
        """They come on this association. Raises RetrieveFailed where it was not asked."""
        if self._peer.takes(STUDY_ROOT_GET) and not any(map(self._peer.takes, FILM_CLASSES)):
            raise RetrieveFailed("no_films")
        return self._retrieve(_Operation(sop_class=STUDY_ROOT_GET, field=C_GET_RQ), wanted)

    def _retrieve(self, operation: _Operation, wanted: Wanted) -> Retrieved:
        if not self._peer.takes(operation.sop_class):
            raise RetrieveFailed("not_accepted")
        if self._peer.over:
            raise RetrieveFailed("no_answer")
        if len(wanted.sop_instance_uids) == 1:
            return self._ask(operation, wanted)
        answer = self._ask(operation, wanted) if self._takes_lists else None
        if answer and not may_refuse_lists(answer):
            return answer
        each: list[tuple[str, Retrieved]] = []
        for uid in wanted.sop_instance_uids:
            if self._peer.over or self._is_to_stop():
                break
            alone = self._ask(operation, replace(wanted, sop_instance_uids=(uid,)))
            if answer and not each and alone.fault and alone.fault == answer.fault != NONE_SENT:
                return answer  # the list was not why
            each.append((uid, alone))
        got = joined(each, wanted=len(wanted.sop_instance_uids), before=answer)
        if answer and (got.counts.sent or 0) > (answer.counts.sent or 0):
            self._takes_lists = False
        return got

    def _ask(self, operation: _Operation, wanted: Wanted) -> Retrieved:
        asked = Dataset()
        asked.QueryRetrieveLevel = "IMAGE"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = wanted.study_instance_uid, wanted.series_instance_uid
        asked.SOPInstanceUID = list(wanted.sop_instance_uids)
        self._peer.here.clear()
        own = ((0x0002, uid_value(operation.sop_class)), (0x0700, number(LOW)))
        self._peer.send(operation.sop_class, operation.field, (*own, *operation.elements), asked)
        most, uids = len(wanted.sop_instance_uids), frozenset(wanted.sop_instance_uids)
        counts, last = self._answers(operation, Counts(), most, self._is_to_stop)
        stopped = last is None and not self._peer.over
        if last is None:
            self._peer.cancel(operation.sop_class)
        if stopped:
            end = time.monotonic() + CANCEL_SECONDS
            counts, last = self._answers(operation, counts, ANY, lambda: time.monotonic() >= end)
        self._peer.over |= last is None  # whatever it still sends is not waited for
        return Retrieved(
            status=status_of(last.command) if last else None,
            wanted=most,
            counts=counts,
            failed_uids=failed_uids(last) & uids if last else frozenset(),
            here=uids & self._peer.here,
            stopped=stopped,
            sent_more=max(counts.tried or 0, len(self._peer.here)) > most,
        )

    def _answers(
        self, operation: _Operation, counts: Counts, most: float, stop: Callable[[], bool]
    ) -> tuple[Counts, Heard | None]:
        """Numbers, and the last answer; None before, where it is to stop, or more than `most` films were sent.

        What answers another question ends the association.
        """
        while heard := self._peer.hear(self._seconds, lambda: stop() or len(self._peer.here) > most):
            if heard.command.CommandField != operation.field | RESPONSE_BIT:
                self._peer.over = True
                break
            if status_of(heard.command) != PENDING:
                return counts_of(heard.command, replace(counts, remaining=None)), heard
            counts = counts_of(heard.command, counts)
            if (counts.tried or 0) > most:
                break
        return counts, None

    def _is_to_stop(self) -> bool:
        return time.monotonic() >= self._until or self._stop()
