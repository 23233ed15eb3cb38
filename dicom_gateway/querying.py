"""C-FIND as SCU (PS3.4 C.4.1), Study Root: one question over an open association, and its answers as they come.

Every wait has an end. A peer may answer without one, so that a question ends after so many answers, and at a time.
"""

import math
import time
from collections.abc import Iterator, Mapping
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import decode

from dicom_gateway.asking import Asking
from dicom_gateway.contexts import STUDY_ROOT_FIND
from dicom_gateway.dimse import C_FIND_RQ, RESPONSE_BIT, number, uid_value
from dicom_gateway.errors import SUCCESS, QueryFailed, TooManyMatches, in_hexadecimal
from dicom_gateway.heard import Heard

PENDING = (0xFF00, 0xFF01)
"""The second: some optional keys were not matched (PS3.4 Table C.4-1). So no match is believed without a look."""
OUT_OF_RESOURCES, CANCELLED = 0xA700, 0xFE00
"""How a peer says that it has more matches than it sends. The second without a C-CANCEL of ours: Orthanc does that."""
MOST_ANSWERS = 10_000
MOST_BYTES = 64 << 10
"""Of an answer's data set. One with every key of ours has less than 1 KB."""
CANCEL_SECONDS = 5.0
"""From our C-CANCEL to the last answer. Afterwards the association is given up."""


class Question:
    """One C-FIND, sent when it is made. Iterate once, to the end, before the next question."""

    def __init__(
        self,
        peer: Asking,
        level: str,
        keys: Mapping[str, str],
        *,
        seconds: float,
        until: float = math.inf,
        most: int = MOST_ANSWERS,
    ) -> None:
        """
        Args:
            level: STUDY, SERIES or IMAGE.
            keys: keyword -> value; "" asks for the attribute to be returned.
            seconds: for each answer.
            until: of the monotonic clock, for all of them.
            most: answers that are read. Then the peer is told to stop.
        """
        self._peer = peer
        self._seconds = seconds
        self._until = until
        self._most = most
        self.status: int | None = None
        """Of the last C-FIND-RSP; None where none came."""
        self.too_many = False
        """There are more matches than were read."""
        self.unreadable = 0
        """Answers that could not be read, or were too large."""
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(asked, keyword, value)
        peer.send(STUDY_ROOT_FIND, C_FIND_RQ, ((0x0002, uid_value(STUDY_ROOT_FIND)), (0x0700, number(0))), asked)

    def __iter__(self) -> Iterator[Dataset]:
        """Each match that can be read."""
        for _ in range(self._most):
            heard = self._hear()
            if heard is None:
                return
            match = _read(heard)
            if match is None:
                self.unreadable += 1
            else:
                yield match
        self.too_many = True
        self._cancel()

    def _hear(self) -> Heard | None:
        """The next match; None after the last. A peer that is late or says something else is given up."""
        left = self._until - time.monotonic()
        heard = self._peer.hear(min(self._seconds, left)) if left > 0 else None
        if heard is None or heard.command.CommandField != C_FIND_RQ | RESPONSE_BIT:
            self._give_up()
            return None
        status = heard.command.get("Status")
        if status in PENDING:
            return heard
        self.status = status if isinstance(status, int) else None
        self.too_many = self.status in (OUT_OF_RESOURCES, CANCELLED)
        return None

    def _cancel(self) -> None:
        self._peer.cancel(STUDY_ROOT_FIND)
        self._until = min(self._until, time.monotonic() + CANCEL_SECONDS)
        while self._hear():
            pass
        self.too_many = True

    def _give_up(self) -> None:
        if not self._peer.over:
            self._peer.cancel(STUDY_ROOT_FIND)
        self._peer.over = True  # whatever it still sends is not waited for

    def check(self) -> None:
        """After the last answer: raises QueryFailed, TooManyMatches where there may be more of them."""
        if self.too_many:
            raise TooManyMatches("too_many_matches")
        if self.status is None:
            raise QueryFailed("no_answer")
        if self.status != SUCCESS:
            raise QueryFailed(f"query_{in_hexadecimal(self.status)}")


def _read(heard: Heard) -> Dataset | None:
    if len(heard.data) > MOST_BYTES:
        return None
    try:
        match = decode(BytesIO(heard.data), heard.syntax == ImplicitVRLittleEndian, True)
        return match if isinstance(match, Dataset) else None
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        return None
