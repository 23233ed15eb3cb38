"""C-ECHO and C-STORE as SCU."""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.pdu import A_RELEASE_RQ
from pynetdicom.presentation import build_context

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.dimse import C_ECHO_RQ, NO_DATA_SET, command_set, decode_command, encode_pdus, number, uid_value
from dicom_gateway.errors import SUCCESS, Abort, CallingRejected, NoTls, PeerGone, PeerUnavailable, Rejected
from dicom_gateway.kept_answers import keep_answers
from dicom_gateway.negotiation import DEFAULT_MAX_PDU
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_gateway.requesting import ASSOCIATE_AC, ASSOCIATE_RJ, LARGEST_PDU, Offer, request_pdu
from dicom_gateway.tls_wire import TlsWire, reason_of
from dicom_gateway.wire import Wire, connect

P_DATA = 0x04
CALLING = (1, 1, 3)
REJECTIONS: dict[tuple[int, ...], str] = {
    CALLING: "does not let the calling AE title {calling} in",
    (1, 1, 7): "does not answer to the AE title {called}",
    (2, 3, 2): "takes no more associations now",
}
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
ECHO_CONTEXT = 1
"""Id that `request_pdu` gives the first."""
ECHO = ((0x0100, C_ECHO_RQ), (0x0110, 1), (0x0800, NO_DATA_SET))
"""Element and value of a C-ECHO-RQ (PS3.7 9.3.5.1), after its SOP Class."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    path: Path
    status: int | None
    """DIMSE status of the C-STORE-RSP; None when the peer accepts no such context or gave no answer."""
    comment: str


def echo(
    host: str,
    port: int,
    *,
    called_ae: str,
    calling_ae: str = "XRAYQ-SCU",
    timeout: float = 5.0,
    tls: ssl.SSLContext | None = None,
) -> None:
    """C-ECHO, all of it within `timeout` seconds, but for the look-up of the name.

    Raises PeerUnavailable, Rejected and NoTls among it.

    Over a socket of our own: pynetdicom waits in select(), which knows no descriptor above 1023, and a gateway with
    a thousand peers asks itself.

    Args:
        tls: over TLS, as client.
    """
    end = time.monotonic() + timeout
    try:
        with connect(host, port, timeout) as connection:
            connection.setblocking(True)
            wire = TlsWire(connection, timeout, tls, server=host) if tls else Wire(connection, timeout)
            status = _echo(wire, end - time.monotonic(), called_ae, calling_ae)
    except NoTls as failed:
        raise NoTls(f"no TLS with {host}:{port}: {failed}") from None
    except ssl.SSLError as error:  # TLS 1.3: whether our certificate is good enough is said behind the handshake
        raise NoTls(f"no TLS with {host}:{port}: {reason_of(error)}") from None
    except Rejected as rejected:
        raise type(rejected)(f"{host}:{port} {rejected}") from None
    except ConnectionRefusedError:
        raise PeerUnavailable(f"nobody listens on {host}:{port}") from None
    except socket.gaierror:
        raise PeerUnavailable(f"no host {host} is known") from None
    except (OSError, Abort, PeerGone):
        status = None
    if status != SUCCESS:
        more = ", which may not take our certificate" if tls else ""
        raise PeerUnavailable(f"no answer to C-ECHO from {host}:{port}{more}")


def send(
    host: str,
    port: int,
    paths: Sequence[Path],
    *,
    called_ae: str,
    calling_ae: str = "XRAYQ-SCU",
    timeout: float = 30.0,
) -> Iterator[Sent]:
    """C-STORE each Part 10 file over one association, bytes as they are on disk, yielding each answer.

    Raises:
        PeerUnavailable: no association.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True
    offered: dict[str, list[str]] = {}
    for path in paths:
        meta = read_file_meta_info(path)
        pair = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        if pair[1] not in offered.setdefault(pair[0], []):
            offered[pair[0]].append(pair[1])
    contexts = [build_context(sop_class, syntax) for sop_class, syntaxes in offered.items() for syntax in syntaxes]
    association = _entity(calling_ae, timeout).associate(
        host,
        port,
        contexts=contexts[:128],
        ae_title=called_ae,
        evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: keep_answers(event.assoc))],
    )
    if not association.is_established:
        raise PeerUnavailable(f"no association with {called_ae} at {host}:{port}")
    try:
        for path in paths:
            try:
                answer = association.send_c_store(path)
            except (ValueError, RuntimeError):  # context not accepted, or the association is gone
                yield Sent(path=path, status=None, comment="not accepted")
                continue
            status = answer.get("Status")
            yield Sent(path=path, status=status, comment=str(answer.get("ErrorComment", "")))
    finally:
        if association.is_established:
            association.release()


def _echo(wire: Wire, timeout: float, called_ae: str, calling_ae: str) -> int | None:
    """The status of the C-ECHO-RSP; None for any other answer."""
    wire.expect_all_within(timeout)
    try:
        wire.secure()
    except PeerGone as gone:
        raise NoTls(str(gone)) from None
    except OSError:
        raise NoTls("closed") from None
    wire.send(request_pdu([Offer(sop_class=VERIFICATION)], called_ae=called_ae, calling_ae=calling_ae))
    kind, answer = _answer(wire, timeout)
    if kind == ASSOCIATE_RJ:
        why = tuple(answer[1:4])
        words = REJECTIONS.get(why, f"rejects the association ({'/'.join(map(str, why))})")
        raise (CallingRejected if why == CALLING else Rejected)(words.format(called=called_ae, calling=calling_ae))
    if kind != ASSOCIATE_AC:
        return None
    command = command_set(((0x0002, uid_value(VERIFICATION)), *((tag, number(value)) for tag, value in ECHO)))
    wire.send(encode_pdus(command, ECHO_CONTEXT, DEFAULT_MAX_PDU, is_command=True))
    kind, answer = _answer(wire, timeout)
    if kind != P_DATA:
        return None
    wire.send(A_RELEASE_RQ().encode())
    _answer(wire, timeout)
    status: int | None = decode_command(answer[6:]).get("Status")
    return status


def _answer(wire: Wire, timeout: float) -> tuple[int, bytes]:
    kind, length = wire.read_pdu_header(timeout)
    if length > LARGEST_PDU:
        raise PeerGone
    return kind, wire.read_exactly(length)


def _entity(calling_ae: str, timeout: float) -> AE:
    entity = AE(ae_title=calling_ae)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = timeout
    entity.maximum_pdu_size = 128 * 1024
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    return entity
