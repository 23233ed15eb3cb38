"""Who wants to know what the gateway does, to count it. The gateway itself counts nothing."""

import logging
from collections.abc import Callable

log = logging.getLogger("xrayq.gateway")

NO_REQUEST, NO_PLACE, NO_TLS = "NO_REQUEST", "NO_PLACE", "NO_TLS"
NOT_PROVEN, NO_RIGHT = "NOT_PROVEN", "NO_RIGHT"
"""Why a peer was not let in, where no A-ASSOCIATE-RJ could say so."""
PEER_LIMIT, UNKNOWN_LIMIT, UNKNOWN = "PEER_LIMIT", "UNKNOWN_LIMIT", "UNKNOWN_"
"""Why a peer was not let in, by the table of peers; the last with the name of an `Unknown`."""
USED = "used"
"""A presentation context that was refused was used all the same: the association is aborted."""


class Observer:
    """Called from each association's own thread, between the peer's messages: every method must return at once.

    Called before the answer is sent, so what a peer has been told is counted, whatever ends the gateway then.

    AE titles are a stranger's words, at most 16 characters, printable.
    """

    def accepted(self, calling_ae: str) -> None:
        """An association is about to be accepted."""

    def unknown(self, calling_ae: str, why: str, entry: str) -> None:
        """A peer is not in the table of peers, or not as it came; asked once for each association.

        Args:
            why: name of an `Unknown`.
            entry: of an `Entry`: what became of it.
        """

    def rejected(self, calling_ae: str, reason: str, address: str = "") -> None:
        """A peer was not let in.

        Args:
            calling_ae: "" where it did not say who it is, or that cannot be read.
            reason: name of a `Reject`; UNKNOWN and the name of an `Unknown`; PEER_LIMIT: it has as many associations as
                its row allows; UNKNOWN_LIMIT: unknown peers have as many as they may, all together; NO_REQUEST: what
                came is no A-ASSOCIATE-RQ, or was not whole in time; NO_PLACE: closed unheard, there were too many;
                NO_TLS: the handshake failed; NOT_PROVEN: by web, without a token or a certificate that lets it in;
                NO_RIGHT: by web, and its row does not let it store.
            address: of the peer, an IP address; "" where it is not known.
        """

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:
        """A presentation context was not accepted; at most once in an association for the same class and reason.

        Args:
            sop_class: its name where the standard has one, else its UID, at most 64 digits and dots: a stranger's word;
                `negotiation.NO_CLASS` where what was proposed is no UID.
            reason: `abstract_syntax`: no class that is stored here; `transfer_syntax`: none that is taken;
                `user_rejection`: the peer has no right to it; `context_id`: even, or another one's; `used`: see USED.
        """

    def aborted(self, calling_ae: str) -> None:
        """A peer that spoke ended neither by release nor by rejection; "" when it did not say who it is."""

    def kept(self, calling_ae: str) -> None:
        """A film is kept, and its success is about to be answered. Not told of other objects: anything is one."""

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        """A C-STORE is about to be answered, of a film or of another object.

        Args:
            status: DIMSE status of the C-STORE-RSP.
            size: bytes of the data set that came.
            seconds: from its last byte to the response.
        """

    def film_refused(self, calling_ae: str, sop_instance_uid: str, status: int) -> None:
        """A C-STORE of a class that may be a film is about to be refused; told beside `stored`.

        Args:
            sop_instance_uid: valid, and a stranger's word.
            status: DIMSE status of the C-STORE-RSP.
        """

    def asked_to_commit(self, calling_ae: str, status: int) -> None:
        """A request for our storage commitment is about to be answered.

        Args:
            status: DIMSE status of the N-ACTION-RSP.
        """


class Observers(Observer):
    """Several, one after the other."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def accepted(self, calling_ae: str) -> None:
        for observer in self._observers:
            tell(observer.accepted, calling_ae)

    def unknown(self, calling_ae: str, why: str, entry: str) -> None:
        for observer in self._observers:
            tell(observer.unknown, calling_ae, why, entry)

    def rejected(self, calling_ae: str, reason: str, address: str = "") -> None:
        for observer in self._observers:
            tell(observer.rejected, calling_ae, reason, address)

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:
        for observer in self._observers:
            tell(observer.context_refused, calling_ae, sop_class, reason)

    def aborted(self, calling_ae: str) -> None:
        for observer in self._observers:
            tell(observer.aborted, calling_ae)

    def kept(self, calling_ae: str) -> None:
        for observer in self._observers:
            tell(observer.kept, calling_ae)

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        for observer in self._observers:
            tell(observer.stored, calling_ae, status, size, seconds)

    def film_refused(self, calling_ae: str, sop_instance_uid: str, status: int) -> None:
        for observer in self._observers:
            tell(observer.film_refused, calling_ae, sop_instance_uid, status)

    def asked_to_commit(self, calling_ae: str, status: int) -> None:
        for observer in self._observers:
            tell(observer.asked_to_commit, calling_ae, status)


def tell(hook: Callable[..., None], *values: object) -> None:
    """Call an observer's method. One that fails is logged, and hurts no association."""
    try:
        hook(*values)
    except Exception as error:  # noqa: BLE001 - whatever it does, films are received
        log.error("observer failed", extra={"reason": type(error).__name__})
