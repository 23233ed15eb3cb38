"""What is looked at before a PACS is asked to send."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_gateway.spool import Spool
from dicom_gateway.storing import Storing
from tests.services import free_port
from worker.backfill.association import Retrieving
from worker.backfill.options import BackfillOptions, Way
from worker.backfill.resting import PACS_FAULT
from worker.backfill.words import rest_in_words
from worker.errors import PacsAway
from worker.pacs.options import AskedPacs, AskOptions


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (Way.GET, "with --by get the relay writes into the spool, and it cannot"),
        (Way.MOVE, "the PACS: nothing listens there"),
    ],
)
def test_where_our_spool_cannot_be_written_no_pacs_is_asked_to_send_over_our_association(
    tmp_path: Path, way: Way, said: str
) -> None:
    pacs = AskedPacs(called_ae="PACS", host="127.0.0.1", port=free_port())
    options = BackfillOptions(
        ask=AskOptions(pacs=(pacs,), calling_ae="XRAYQ", zone=ZoneInfo("UTC")), reserve_bytes=0, live_films=1
    )
    unprepared = Spool(tmp_path, reserve_bytes=0)
    retrieving = Retrieving(options=options, storing=Storing(spool=unprepared, accept=lambda _: None))
    with pytest.raises(PacsAway) as away, retrieving.opened(pacs, way, seconds=1):
        pass
    assert rest_in_words(f"{PACS_FAULT}{away.value}").startswith(said)
