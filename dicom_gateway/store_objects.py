"""C-STORE of objects that we made, as SCU: one association, every step of it with an end.

A peer may accept and then hang, or read so slowly that it never ends. pynetdicom waits without limit where it writes
to a socket, in a thread that keeps the process alive; so the socket itself gets a time limit, and whoever stops can
close it.
"""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import STATUS_SUCCESS, STATUS_WARNING, code_to_category

from dicom_gateway.errors import HandshakeFailed, PeerGone, PeerUnavailable, Rejected
from dicom_gateway.kept_answers import keep_answers
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_gateway.tls_wire import TlsWire
from dicom_gateway.wire import connect

LARGEST_PDU = 128 * 1024
CONNECT_SECONDS = 10.0
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
DUPLICATE = 0x0111
"""Duplicate SOP Instance (PS3.7 Annex C): the peer holds an object under this UID. Ours is always the same there."""

STATUSES = (
    (0xA700, "out of resources"),
    (0xA900, "the object does not match its SOP class"),
    (0xC000, "it cannot understand the object"),
    (0x0122, "it takes no such SOP class"),
    (0x0124, "not authorised"),
)
"""What a status means (PS3.4 Table B.2-1, PS3.7 Annex C); in the first three the last two digits are the peer's."""


@dataclass(frozen=True, kw_only=True)
class StoreAnswer:
    """What the peer said to one object."""

    sop_instance_uid: str
    status: int | None
    """DIMSE status of the C-STORE-RSP; None where the peer takes no such object, or did not answer."""
    asked: bool = True
    """False where the peer accepted no presentation context for it."""

    @property
    def held(self) -> bool:
        """Whether the peer says that it has the object: success, a warning, or that it had it already."""
        if self.status is None:
            return False
        return self.status == DUPLICATE or code_to_category(self.status) in (STATUS_SUCCESS, STATUS_WARNING)

    @property
    def refused(self) -> bool:
        """Whether it is known that the peer did not take it: it was not sent, or its status says so."""
        return not self.asked or (self.status is not None and not self.held)


def meaning_of(status: int) -> str:
    """What a status that is no success says, "" where no table of the standard has it."""
    ranges = (status, status & 0xFF00, status & 0xF000)
    return next((words for known, words in STATUSES if known in ranges), "")


def store_objects(
    host: str,
    port: int,
    objects: Sequence[Dataset],
    *,
    called_ae: str,
    calling_ae: str,
    timeout: float = 30.0,
    total: float = 120.0,
    opened: Callable[[Callable[[], None]], None] = lambda _: None,
    tls: SSLContext | None = None,
) -> list[StoreAnswer]:
    """C-STORE each object over one association; the answers, in their order, up to the first that is missing.

    Objects that are not compressed are offered in Explicit and Implicit VR Little Endian, and coded as the peer likes.

    Args:
        objects: with `file_meta.TransferSyntaxUID`.
        timeout: seconds for the answer to the association, and for each write to the network.
        total: seconds for the answer to an object, whose bytes may take long; after so many no further one is sent.
        opened: is handed what closes the connection at once, from any thread.
        tls: over TLS, as client.

    Raises:
        Rejected: the peer rejects the association.
        PeerUnavailable: there is no association for another reason. The text is a code.
    """
    end = time.monotonic() + total
    association = _associate(
        host,
        port,
        objects,
        _entity(calling_ae, timeout, total),
        called_ae=called_ae,
        timeout=timeout,
        opened=opened,
        tls=tls,
    )
    answers: list[StoreAnswer] = []
    try:
        for made in objects:
            answer = _store(association, made)
            answers.append(answer)
            if (answer.asked and answer.status is None) or time.monotonic() > end:
                break
    finally:
        if association.is_established:
            association.release()
        _close(association)
    return answers


def _entity(calling_ae: str, timeout: float, total: float) -> AE:
    entity = AE(ae_title=calling_ae)
    entity.acse_timeout = timeout
    entity.connection_timeout = min(timeout, CONNECT_SECONDS)
    entity.dimse_timeout = entity.network_timeout = total  # begins before the bytes are on their way
    entity.maximum_pdu_size = LARGEST_PDU
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    return entity


def _associate(
    host: str,
    port: int,
    objects: Sequence[Dataset],
    entity: AE,
    *,
    called_ae: str,
    timeout: float,
    opened: Callable[[Callable[[], None]], None],
    tls: SSLContext | None,
) -> Association:
    reached = False

    def connected(event: evt.Event) -> None:
        nonlocal reached
        reached = True
        keep_answers(event.assoc)
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.settimeout(timeout)
        opened(lambda: _close(event.assoc))

    try:
        association = entity.associate(
            host,
            port,
            contexts=_contexts(objects),
            ae_title=called_ae,
            evt_handlers=[(evt.EVT_CONN_OPEN, connected)],
            tls_args=(tls, host) if tls else None,
        )
    except (socket.gaierror, UnicodeError):
        raise PeerUnavailable("unknown_host") from None
    except OSError:
        raise PeerUnavailable("no_connection") from None
    if association.is_established:
        return association
    _close(association)
    answer = association.acceptor.primitive
    if association.is_rejected and isinstance(answer, A_ASSOCIATE):
        raise Rejected(f"rejected_{answer.result}_{answer.result_source}_{answer.diagnostic}")
    if tls and not reached:  # pynetdicom does not say why a handshake fails
        _shake_hands(host, port, tls, min(timeout, CONNECT_SECONDS))
    raise PeerUnavailable("aborted" if reached else "no_connection")


def _shake_hands(host: str, port: int, tls: SSLContext, seconds: float) -> None:
    """Raises PeerUnavailable where there is no TLS with the peer."""
    try:
        with connect(host, port, seconds) as connection:
            connection.setblocking(True)
            wire = TlsWire(connection, seconds, tls, server=host)
            wire.expect_all_within(seconds)
            wire.secure()
            wire.close()
    except HandshakeFailed as failed:
        raise PeerUnavailable(failed.code) from None
    except PeerGone:
        raise PeerUnavailable("no_tls") from None
    except socket.gaierror:
        raise PeerUnavailable("unknown_host") from None
    except OSError:
        raise PeerUnavailable("no_connection") from None


def _contexts(objects: Sequence[Dataset]) -> list[PresentationContext]:
    """One for each SOP class and coding. Raises ValueError for more than 128, which no film has."""
    offered: dict[tuple[str, ...], PresentationContext] = {}
    for made in objects:
        syntax = made.file_meta.TransferSyntaxUID
        syntaxes = UNCOMPRESSED if syntax in UNCOMPRESSED else (syntax,)
        key = (made.SOPClassUID, *syntaxes)
        offered.setdefault(key, build_context(made.SOPClassUID, list(syntaxes)))
    return list(offered.values())


def _store(association: Association, made: Dataset) -> StoreAnswer:
    uid = str(made.SOPInstanceUID)
    try:
        answer = association.send_c_store(made)
    except ValueError:  # no accepted context
        return StoreAnswer(sop_instance_uid=uid, status=None, asked=False)
    except (RuntimeError, OSError):  # the association is gone
        return StoreAnswer(sop_instance_uid=uid, status=None)
    return StoreAnswer(sop_instance_uid=uid, status=answer.get("Status"))


def _close(association: Association) -> None:
    """A peer that does not take the end of the association keeps neither thread nor socket of ours."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)
