"""Whatever reads bytes of a stranger. `run` raises for a fault alone: what the reader may raise is caught here."""

import atexit
import logging
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import commitment, items, negotiation, requesting
from dicom_gateway.asking import UNSERVED, Asking
from dicom_gateway.association import Association
from dicom_gateway.contexts import STORAGE_COMMITMENT, STUDY_ROOT_GET, TRANSFER_SYNTAXES
from dicom_gateway.dimse import Response, command_set, decode_command, encode_response, number, values
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import Abort, PeerGone, PixelError, Refusal, Rejected
from dicom_gateway.few_lines import FewLines
from dicom_gateway.header import read_header
from dicom_gateway.observer import Observer
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import EVERYBODY
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.querying import PENDING
from dicom_gateway.retrieving import Retrieval, Wanted
from dicom_gateway.spool import INCOMING, Spool
from dicom_gateway.storing import Storing
from dicom_gateway.wire import Wire
from tests.phantoms import chest_film, chest_pixels
from tests.protocol import raw
from worker.reporting.hl7 import acknowledgement

OPTIONS = GatewayOptions(host="", port=0, max_pdu=16384, network_timeout=1.0)
ANSWERS = range(0x02, 0x08)
"""PDU types that an acceptor may send."""
LONGEST_SESSION = 128 << 10
"""Bytes: all of it has to fit the buffer of a socket that nobody reads yet."""
MOST_PIXELS = 1 << 20
FETCHING = requesting.Agreed(
    contexts={1: (STUDY_ROOT_GET, ExplicitVRLittleEndian), raw.STORE_CONTEXT: (raw.DX, ExplicitVRLittleEndian)},
    max_pdu=16384,
)
OFFERS = (requesting.Offer(sop_class=raw.DX), requesting.Offer(sop_class=STORAGE_COMMITMENT, as_scp=True))


@dataclass(frozen=True, kw_only=True)
class Target:
    reads: str
    seeds: Callable[[], list[bytes]]
    """Inputs that are in order: what is tried begins with them."""
    run: Callable[[bytes], None]
    longest: int
    """Bytes of an input."""
    round_cases: int = 200_000
    """In one process: atheris keeps some memory of each, most where the most lines are reached."""


class _NoReport:
    """On a request for storage commitment: never due here."""

    def steps(self) -> Iterator[None]:
        return iter(())

    def reported(self, status: int | None) -> None:
        """Never."""

    def leave(self) -> None:
        """Nothing is owed."""


FAR_REPORT = _NoReport()


def request(body: bytes) -> None:
    """An A-ASSOCIATE-RQ, without its header. What is agreed on was asked for, and the answer can be read."""
    try:
        asked = negotiation.decode_request(body)
    except Abort:
        return
    if negotiation.fault_of(asked, OPTIONS):
        return
    accepted = negotiation.accept(asked, OPTIONS)
    assert all(context_id % 2 for context_id in accepted.contexts)
    _, whole = items.read(accepted.pdu[6 + negotiation.FIXED_BYTES :])
    assert whole


def answer(body: bytes) -> None:
    """What answers our own A-ASSOCIATE-RQ: its type, then the body."""
    try:
        agreed = requesting.read_answer(body[0] if body else 0, body[1:], OFFERS)
    except (PeerGone, Rejected):
        return
    assert 0 < agreed.max_pdu <= requesting.LARGEST_PDU


def command(body: bytes) -> None:
    """The values of a P-DATA-TF, each as a command set."""
    try:
        for context_id, _, fragment in values(memoryview(body)):
            asked = decode_command(bytes(fragment))
            encode_response(Response.to(asked, status=0), context_id, 16384)
    except Abort:
        pass


def session(sent: bytes) -> None:
    """All that a peer sends until it closes. Every answer is a PDU, and nothing half is left in the spool."""
    ours, theirs = socket.socketpair()
    spool, kept = _spool(), list[Received | OtherObject]()
    with theirs, _errors_logged() as failed:
        theirs.sendall(sent[:LONGEST_SESSION])
        theirs.shutdown(socket.SHUT_WR)
        Association(
            Wire(ours, 1.0),
            address="",
            options=OPTIONS,
            spool=spool,
            accept=kept.append,
            asked=lambda _: FAR_REPORT,
            committed=lambda *_: None,
            standing=lambda _: EVERYBODY,
            admit=lambda *_: "",
            stopping=lambda: False,
            observer=Observer(),
            few_lines=FewLines(logging.getLogger("xrayq.fuzz")),
        ).serve()
        _read_answers(theirs)
    assert not failed, failed
    _nothing_half(spool, kept)


def fetched(sent: bytes) -> None:
    """All that a PACS sends on the association of a C-GET. Nothing half is left in the spool."""
    (ours, theirs), spool, kept = socket.socketpair(), _spool(), list[Received | OtherObject]()
    wanted = Wanted(study_instance_uid="2.25.1", series_instance_uid="2.25.2", sop_instance_uids=("2.25.3",))
    with theirs, ours:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        peer = Asking(Wire(ours, 1.0), FETCHING, lambda _: UNSERVED, Storing(spool=spool, accept=kept.append))
        Retrieval(peer, seconds=1.0).get(wanted)
        peer.leave()
    _nothing_half(spool, kept)


def header(film: bytes) -> None:
    """A Part 10 file, at the door."""
    with suppress(Refusal):
        read_header(_file(film), most_inflated=MOST_PIXELS)


def pixels(film: bytes) -> None:
    """A Part 10 file, in the decoder."""
    path = _file(film)
    try:
        read_header(path, most_inflated=MOST_PIXELS)
        shown = read_radiograph(path, max_pixels=MOST_PIXELS)
    except (Refusal, PixelError):
        return
    assert shown.pixels.size <= MOST_PIXELS


def report(data: bytes) -> None:
    """The data set of an N-EVENT-REPORT."""
    asked = Dataset()
    asked.EventTypeID = commitment.ALL_HELD
    commitment.take_report(asked, data, ExplicitVRLittleEndian, lambda _: None)


def hl7(message: bytes) -> None:
    """What answers a message to the RIS."""
    acknowledgement.read(message)


def whole_session() -> list[bytes]:
    film = chest_film(pixels=chest_pixels(24, 20))
    data = raw.dataset_bytes(film)
    stored = raw.store_command(film.SOPInstanceUID) + b"".join(raw.store_fragments(data, 700))
    echo = raw.pdata(raw.pdv(raw.ECHO_CONTEXT, raw.command_set(raw.C_ECHO_RQ), is_command=True))
    return [
        raw.associate_rq() + echo + raw.RELEASE_RQ,
        raw.associate_rq() + stored + echo + raw.RELEASE_RQ,
        raw.associate_rq() + stored[:-40],
    ]


def an_answered_get() -> list[bytes]:
    film = chest_film(pixels=chest_pixels(24, 20))
    stored = raw.store_command(film.SOPInstanceUID) + b"".join(raw.store_fragments(raw.dataset_bytes(film), 700))
    ends = [
        raw.pdata(
            raw.pdv(1, command_set([(0x0100, number(0x8010)), *counts, (0x0900, number(status))]), is_command=True)
        )
        for status, counts in ((PENDING[0], [(0x0120, number(1)), (0x1021, number(1))]), (0, []))
    ]
    return [ends[0] + stored + ends[1], stored + stored[:-40]]


@cache
def films() -> list[bytes]:
    """One small film in each transfer syntax that is decoded."""
    film = chest_film(pixels=chest_pixels(40, 36))
    with tempfile.TemporaryDirectory() as folder:
        return [
            save(in_syntax(film, row.uid), Path(folder) / "film.dcm").read_bytes()
            for row in TRANSFER_SYNTAXES
            if row.uid != ExplicitVRLittleEndian
        ] + [save(film, Path(folder) / "film.dcm").read_bytes()]


def a_report() -> list[bytes]:
    said, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = raw.DX, "1.2.3"
    said.TransactionUID, said.ReferencedSOPSequence = "1.2.4", [item]
    return [raw.dataset_bytes(said)]


def an_answer() -> list[bytes]:
    asked = negotiation.decode_request(raw.associate_rq()[6:])
    pdu = negotiation.accept(asked, OPTIONS).pdu
    return [pdu[:1] + pdu[6:], struct.pack(">BxBBB", 3, 1, 1, 7)]


def a_command() -> list[bytes]:
    store = raw.command_set(raw.C_STORE_RQ, instance="1.2.3", has_data=True)
    return [raw.pdv(raw.ECHO_CONTEXT, one, is_command=True) for one in (raw.command_set(raw.C_ECHO_RQ), store)]


TARGETS: dict[str, Target] = {
    "request": Target(reads="A-ASSOCIATE-RQ", seeds=lambda: [raw.associate_rq()[6:]], run=request, longest=8 << 10),
    "answer": Target(reads="A-ASSOCIATE-AC and -RJ", seeds=an_answer, run=answer, longest=4 << 10),
    "command": Target(reads="P-DATA-TF and command sets", seeds=a_command, run=command, longest=4 << 10),
    "session": Target(reads="all PDUs of an association", seeds=whole_session, run=session, longest=16 << 10),
    "fetched": Target(
        reads="all PDUs of a PACS that answers a C-GET", seeds=an_answered_get, run=fetched, longest=16 << 10
    ),
    "report": Target(reads="N-EVENT-REPORT", seeds=a_report, run=report, longest=4 << 10),
    "header": Target(reads="headers of films", seeds=films, run=header, longest=16 << 10),
    "pixels": Target(reads="pixels of films", seeds=films, run=pixels, longest=16 << 10, round_cases=15_000),
    "hl7": Target(
        reads="acknowledgements of HL7",
        seeds=lambda: [b"MSH|^~\\&|RIS||XRAYQ||||ACK|1|P|2.5.1\rMSA|AE|17\rERR|||204^unknown^HL70357|E\r"],
        run=hl7,
        longest=2 << 10,
    ),
}


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="xrayq-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _spool() -> Spool:
    spool = Spool(_folder() / "spool", reserve_bytes=0, max_bytes=1 << 20)
    spool.prepare()
    return spool


def _file(content: bytes) -> Path:
    path = _folder() / "film.dcm"
    path.write_bytes(content)
    return path


def _nothing_half(spool: Spool, kept: list[Received | OtherObject]) -> None:
    """Films that were kept are taken away."""
    for one in kept:
        if isinstance(one, Received):
            one.path.unlink(missing_ok=True)
    assert not list((spool.root / INCOMING).iterdir())


@contextmanager
def _errors_logged() -> Iterator[list[str]]:
    """By the gateway: `serve` lets nothing out, and writes there what it did not expect."""
    found: list[str] = []
    log, handler = logging.getLogger("xrayq.gateway"), logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(f"{record.getMessage()}: {vars(record).get('reason')}")  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)


def _read_answers(peer: socket.socket) -> None:
    answered = b""
    with suppress(ConnectionResetError):  # it closed before it had read all
        while chunk := peer.recv(65536):
            answered += chunk
    while answered:
        kind, length = struct.unpack_from(">BxL", answered)
        assert kind in ANSWERS, kind
        assert len(answered) >= 6 + length
        answered = answered[6 + length :]
