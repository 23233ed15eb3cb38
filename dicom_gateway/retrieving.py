"""C-MOVE and C-GET as SCU (PS3.4 C.4.2 and C.4.3), Study Root: films that a PACS has, fetched by their UIDs.

    C-MOVE   the PACS sends them to an AE title that it knows, by an association of its own: the gateway takes them
    C-GET    it sends them on the association of the question: they go into the spool as those of the gateway

Never a whole study or series: at IMAGE level, with a list of SOP Instance UIDs (PS3.4 C.2.2.2.2). A PACS that does
not take a list is asked for one film at a time. Every wait has an end; then it is told to stop (C-CANCEL).
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pydicom.dataset import Dataset

from dicom_gateway.asking import Asking
from dicom_gateway.contexts import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.dimse import C_GET_RQ, C_MOVE_RQ, RESPONSE_BIT, number, status_of, uid_value
from dicom_gateway.errors import RetrieveFailed
from dicom_gateway.heard import Heard
from dicom_gateway.retrieve_answer import Counts, Retrieved, counts_of, failed_uids, is_pending
from dicom_gateway.values import is_valid_uid

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
            seconds: longest silence. A PACS may say nothing while it sends a film, and get it from a tape before.
            until: of the monotonic clock. Then the PACS is told to stop. The association needs CANCEL_SECONDS more.
            stop: looked at four times a second: True tells the PACS to stop.
        """
        self._peer = peer
        self._seconds = seconds
        self._until = until
        self._stop = stop

    def move(self, wanted: Wanted, *, to_ae: str) -> Retrieved:
        """The PACS is to send them to an AE title. Raises RetrieveFailed where it was not asked."""
        destination = to_ae.encode("ascii")
        return self._retrieve(STUDY_ROOT_MOVE, C_MOVE_RQ, wanted, ((0x0600, destination + b" " * (len(to_ae) % 2)),))

    def get(self, wanted: Wanted) -> Retrieved:
        """They come on this association. Raises RetrieveFailed where it was not asked."""
        return self._retrieve(STUDY_ROOT_GET, C_GET_RQ, wanted, ())

    def _retrieve(
        self, sop_class: str, field: int, wanted: Wanted, elements: tuple[tuple[int, bytes], ...]
    ) -> Retrieved:
        if not self._peer.takes(sop_class):
            raise RetrieveFailed("not_accepted")
        if self._peer.over:
            raise RetrieveFailed("no_answer")
        asked = Dataset()
        asked.QueryRetrieveLevel = "IMAGE"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = wanted.study_instance_uid, wanted.series_instance_uid
        asked.SOPInstanceUID = list(wanted.sop_instance_uids)
        self._peer.here.clear()
        own = ((0x0002, uid_value(sop_class)), (0x0700, number(LOW)))
        self._peer.send(sop_class, field, (*own, *elements), asked)
        counts, last, stopped = self._to_the_end(sop_class, field)
        uids = frozenset(wanted.sop_instance_uids)
        return Retrieved(
            status=status_of(last.command) if last else None,
            **asdict(counts),
            failed_uids=failed_uids(last) & uids if last else frozenset(),
            here=uids & self._peer.here,
            stopped=stopped,
        )

    def _to_the_end(self, sop_class: str, field: int) -> tuple[Counts, Heard | None, bool]:
        """Numbers, the last answer, None where none came, and whether we told it to stop."""
        counts, last = self._answers(field, Counts(), lambda: time.monotonic() >= self._until or self._stop())
        stopped = last is None and not self._peer.over
        if last is None:
            self._peer.cancel(sop_class)
        if stopped:
            end = time.monotonic() + CANCEL_SECONDS
            counts, last = self._answers(field, counts, lambda: time.monotonic() >= end)
        self._peer.over |= last is None  # whatever it still sends is not waited for
        return counts, last, stopped

    def _answers(self, field: int, counts: Counts, stop: Callable[[], bool]) -> tuple[Counts, Heard | None]:
        """Up to the last, or until `stop()`. What answers another question ends the association."""
        while heard := self._peer.hear(self._seconds, stop):
            if heard.command.CommandField != field | RESPONSE_BIT:
                self._peer.over = True
                break
            counts = counts_of(heard.command, counts)
            if not is_pending(heard):
                return counts, heard
        return counts, None
