"""The payload of one request (PS3.18 10.5.1), part for part: each whole one is kept before the next is read.

It runs in a thread, piece by piece as they come from the network; no film is in memory as a whole.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from dicom_gateway.contexts import FILM_CLASSES
from dicom_gateway.errors import (
    SUCCESS,
    Malformed,
    NoSpace,
    QuarantineFull,
    Refusal,
    StoreUnavailable,
    TooFast,
    TooLarge,
    Truncated,
    in_hexadecimal,
)
from dicom_gateway.negotiation import class_name
from dicom_gateway.observer import Observer, tell
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected
from dicom_gateway.pushed import PushedFile
from dicom_gateway.spool import Spool
from dicom_gateway.store_response import InstanceAnswer
from worker.http_push.media_types import is_file

log = logging.getLogger("xrayq.push")

MOST_PARTS = 10_000
MOST_BYTES = 64 << 30


class PayloadFault(Enum):
    """What ended a request before its payload did: HTTP status where nothing was kept, refusal of the rest, words."""

    NO_MULTIPART = (400, Malformed, "the payload is not made of parts with the boundary that was named")
    CUT = (400, Truncated, "the payload ends before its closing boundary")
    EMPTY = (400, Truncated, "the payload has no part")
    SLOW = (408, Truncated, "the payload came too slowly")
    GONE = (400, Truncated, "the peer went away")
    TOO_MANY = (413, TooLarge, f"more than {MOST_PARTS} parts")
    TOO_LARGE = (413, TooLarge, f"more than {MOST_BYTES >> 30} GiB")

    def __init__(self, status: int, refusal: type[Refusal], words: str) -> None:
        self.status, self.refusal, self.words = status, refusal, words


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Where instances go, as `dicom_gateway.scp.Gateway` has it."""

    spool: Spool
    accept: Callable[[Received | OtherObject], None]
    observer: Observer
    called_ae: str
    keep_other_objects: bool


class RequestBody:
    """Ends with `end` and `discard`, or with `discard` alone. `answers` has what became of each part so far."""

    def __init__(self, intake: Intake, boundary: bytes, *, sent_by: Connected, study: str) -> None:
        """
        Args:
            study: Study Instance UID of the path; "": any.
        """
        self.answers: list[InstanceAnswer] = []
        self.fault: PayloadFault | None = None
        self._intake = intake
        self._sent_by = sent_by
        self._study = study
        self._size = 0
        self._parts = 0
        self._ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._file: PushedFile | None = None
        """Of the part that comes just now."""
        self._lock = threading.Lock()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_file,
                "on_part_data": self._write,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """The next bytes. Returns when every part that ended in them is durable and committed, or refused."""
        with self._lock:
            self._size += len(piece)
            if self._size > MOST_BYTES:
                self.fault = PayloadFault.TOO_LARGE
            if self.fault:
                return
            try:
                self._parser.write(piece)
            except FormParserError:  # its text quotes the payload
                self.fault = PayloadFault.NO_MULTIPART

    def end(self, fault: PayloadFault | None = None) -> None:
        """Nothing more comes. What is not whole has failed."""
        with self._lock:
            self.fault = self.fault or fault
            if not self.fault and not self._ended:
                self.fault = PayloadFault.CUT
            if not self.fault and not self._parts:
                self.fault = PayloadFault.EMPTY
            if self._file and self.fault:
                self._file.know()
                self._refuse(self._file, self.fault.refusal(), time.monotonic())
            elif self.fault:
                self.answers.append(InstanceAnswer(sop_class_uid="", sop_instance_uid="", refusal=self.fault.refusal()))

    def discard(self) -> None:
        """Remove what is not whole."""
        with self._lock:
            if self._file:
                self._file.discard()
                self._file = None

    @property
    def kept(self) -> int:
        """Instances that are durable and committed."""
        return sum(answer.refusal is None for answer in self.answers)

    @property
    def status(self) -> int:
        """Of the answer (PS3.18 Table 10.5.3-1)."""
        refusals = [answer.refusal for answer in self.answers if answer.refusal]
        if self.kept:
            return 202 if refusals else 200
        if self.fault:
            return self.fault.status
        return (
            503
            if any(isinstance(refusal, NoSpace | StoreUnavailable | TooFast | QuarantineFull) for refusal in refusals)
            else 409
        )

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            self.fault = PayloadFault.TOO_MANY
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _begin_file(self) -> None:
        if not self.fault:
            self._file = PushedFile(
                self._intake.spool,
                keep_other_objects=self._intake.keep_other_objects,
                study=self._study,
                refusal=None if is_file(self._headers) else Malformed(),
            )

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file:
            self._file.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        file, started = self._file, time.monotonic()
        if file is None:
            return
        try:
            arrived = file.keep(calling_ae=self._sent_by.calling_ae, called_ae=self._intake.called_ae)
            self._intake.accept(replace(arrived, sent_by=self._sent_by))
        except Refusal as refusal:
            self._refuse(file, refusal, started)
            return
        self._file = None
        if isinstance(arrived, Received):
            tell(self._intake.observer.kept, self._sent_by.calling_ae)
        self._answer(file, None, started)

    def _end(self) -> None:
        self._ended = True

    def _refuse(self, file: PushedFile, refusal: Refusal, started: float) -> None:
        file.discard()
        self._file = None
        log.warning(
            "STOW refused",
            extra={
                "calling_ae": self._sent_by.calling_ae,
                "called_ae": self._intake.called_ae,
                "peer": self._sent_by.address,
                "sop_class": class_name(file.sop_class_uid),
                "status": in_hexadecimal(refusal.status),
                "reason": refusal.comment,
            },
        )
        if file.sop_instance_uid and file.sop_class_uid in FILM_CLASSES:
            who = self._sent_by.calling_ae
            tell(self._intake.observer.film_refused, who, file.sop_instance_uid, refusal.status)
        self._answer(file, refusal, started)

    def _answer(self, file: PushedFile, refusal: Refusal | None, started: float) -> None:
        status = refusal.status if refusal else SUCCESS
        tell(self._intake.observer.stored, self._sent_by.calling_ae, status, file.size, time.monotonic() - started)
        self.answers.append(
            InstanceAnswer(sop_class_uid=file.sop_class_uid, sop_instance_uid=file.sop_instance_uid, refusal=refusal)
        )
