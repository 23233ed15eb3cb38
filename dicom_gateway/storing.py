"""What becomes of each C-STORE of an association, whoever opened it: durable and accepted, or refused with a status.

Ours as acceptor (`messages`), and one that we opened to fetch films with C-GET (`asking`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset

from dicom_gateway import negotiation
from dicom_gateway.contexts import FILM_CLASSES
from dicom_gateway.errors import SUCCESS, Refusal, in_hexadecimal
from dicom_gateway.observer import Observer, tell
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected
from dicom_gateway.spool import Spool
from dicom_gateway.store import Store
from dicom_gateway.values import one_uid

log = logging.getLogger("xrayq.gateway")

NOBODY = Connected(calling_ae="", address="")


@dataclass(frozen=True, kw_only=True)
class Storing:
    spool: Spool
    accept: Callable[[Received | OtherObject], None]
    """Called with each durable film, and each other object: success is answered only when it returns. It raises
    Refusal else."""
    observer: Observer = field(default_factory=Observer)
    keep_other_objects: bool = False
    """Store also what can never be a film."""
    sent_by: Connected = NOBODY
    called_ae: str = ""
    """Of who receives."""

    @property
    def peer(self) -> dict[str, object]:
        """For a line of the log."""
        return {"calling_ae": self.sent_by.calling_ae, "called_ae": self.called_ae, "peer": self.sent_by.address}

    def begin(self, command: Dataset, context: tuple[str, str], *, has_data: bool) -> Store:
        """A request.

        Args:
            context: SOP Class and transfer syntax of its presentation context.
            has_data: the command announces a data set.
        """
        store = Store(command, context, self.spool, keep_other_objects=self.keep_other_objects)
        store.begin(has_data=has_data)
        return store

    def end(self, store: Store, command: Dataset, sop_class: str) -> tuple[int, str]:
        """Its last byte is here. The status that answers it, and its comment.

        Args:
            sop_class: of its presentation context.
        """
        started = time.monotonic()
        try:
            received = store.keep(calling_ae=self.sent_by.calling_ae, called_ae=self.called_ae)
            self.accept(replace(received, sent_by=self.sent_by))
        except Refusal as refusal:
            store.discard()
            self._log_refusal(command, sop_class, refusal)
            return self._answered(store, started, refusal.status, refusal.comment)
        except Exception:
            store.discard()
            raise
        if isinstance(received, Received):
            tell(self.observer.kept, self.sent_by.calling_ae)
        log.debug(  # the line of the film is written by whoever took it, and knows its id
            "stored",
            extra={
                "calling_ae": self.sent_by.calling_ae,
                "digest": received.digest[:12],
                "commit_ms": round((time.monotonic() - started) * 1e3, 1),
            },
        )
        return self._answered(store, started, SUCCESS)

    def _log_refusal(self, command: Dataset, sop_class: str, refusal: Refusal) -> None:
        log.warning(
            "C-STORE refused",
            extra={
                **self.peer,
                "sop_class": negotiation.class_name(sop_class),
                "status": in_hexadecimal(refusal.status),
                "reason": refusal.comment,  # as the peer gets it; never a word of the data set
            },
        )
        uid = one_uid(command, "AffectedSOPInstanceUID")
        if uid and sop_class in FILM_CLASSES:
            tell(self.observer.film_refused, self.sent_by.calling_ae, uid, refusal.status)

    def _answered(self, store: Store, started: float, status: int, comment: str = "") -> tuple[int, str]:
        """Told also when the peer does not take the answer: it stands."""
        tell(self.observer.stored, self.sent_by.calling_ae, status, store.size, time.monotonic() - started)
        return status, comment
