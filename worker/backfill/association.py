"""An association with a PACS over which it is told to send films: to our AE title, or over this one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dicom_gateway.asking import asking
from dicom_gateway.contexts import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.errors import BadCertificate, NoSpace, PeerUnavailable, RetrieveFailed, StoreUnavailable
from dicom_gateway.retrieve_answer import Retrieved
from dicom_gateway.retrieving import CANCEL_SECONDS, Retrieval, Wanted
from dicom_gateway.storing import Storing
from dicom_gateway.tls import client_context
from worker.backfill.films import Batch
from worker.backfill.options import BackfillOptions, Way
from worker.errors import PacsAway
from worker.pacs.options import AskedPacs

NO_RETRIEVAL = "no_retrieval"
NOT_WRITTEN = "spool_not_written"
"""What comes over our association could not be kept: every film would be refused."""
Fetch = Callable[[Batch], Retrieved]


@dataclass(frozen=True, kw_only=True)
class Retrieving:
    """How films are fetched from any PACS."""

    options: BackfillOptions
    storing: Storing
    """Takes what comes over our association: into the spool and the ledger, as the gateway does."""

    @contextmanager
    def opened(
        self, pacs: AskedPacs, way: Way, *, seconds: float, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Fetch]:
        """What asks for a batch, and returns what the PACS said when it had answered; it raises PacsAway where the PACS
        was not asked. Raises PacsAway, also where what it sends could not be kept here.

        Args:
            seconds: for all that is asked; then the PACS is told to stop.
            stop: true, and it is told so at once.
        """
        ask, sop_class = self.options.ask, STUDY_ROOT_MOVE if way is Way.MOVE else STUDY_ROOT_GET
        until = time.monotonic() + seconds
        if way is Way.GET:
            self._must_be_written()
        try:
            with asking(
                pacs.host,
                pacs.port,
                (sop_class,),
                called_ae=pacs.called_ae,
                calling_ae=ask.calling_ae,
                timeout=ask.answer_seconds,
                total=seconds + 2 * CANCEL_SECONDS,
                tls=client_context(ask.tls) if pacs.tls and ask.tls else None,
                storing=self.storing if way is Way.GET else None,
            ) as peer:
                if not peer.takes(sop_class):
                    raise PacsAway(NO_RETRIEVAL)
                retrieval = Retrieval(peer, seconds=self.options.answer_seconds, until=until, stop=stop)

                def fetch(batch: Batch) -> Retrieved:
                    wanted = Wanted(
                        study_instance_uid=batch.study_instance_uid,
                        series_instance_uid=batch.series_instance_uid,
                        sop_instance_uids=tuple(batch.uids.values()),
                    )
                    try:
                        return (
                            retrieval.move(wanted, to_ae=ask.calling_ae) if way is Way.MOVE else retrieval.get(wanted)
                        )
                    except RetrieveFailed as failed:
                        raise PacsAway(str(failed)) from None

                yield fetch
        except PeerUnavailable as away:
            raise PacsAway(str(away)) from None
        except BadCertificate:
            raise PacsAway("bad_certificate") from None

    def _must_be_written(self) -> None:
        """The spool of this machine may be mounted for reading alone. Raises PacsAway."""
        try:
            self.storing.spool.open().discard()
        except NoSpace:  # a rule of its own
            return
        except StoreUnavailable:
            raise PacsAway(NOT_WRITTEN) from None
