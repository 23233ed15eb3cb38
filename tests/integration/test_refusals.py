"""What a gateway refuses, from the C-STORE to the audit trail, on both databases."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.options import GatewayOptions
from dicom_gateway.scp import Gateway
from dicom_gateway.scu import send
from dicom_gateway.spool import Spool
from tests.days import DRIFT
from tests.phantoms import write_film
from tests.protocol.raw import Peer
from worker import refusals, trail
from worker.audit.night import Options, content
from worker.audit.page import render
from worker.audit.reconciliation import Span
from worker.audit.verdict import judge
from worker.db.session import make_engine, reading
from worker.ingest import ingest
from worker.refusals import ASSOCIATIONS, FILMS, FURTHER, MOST_STRANGERS, NAMELESS, Refusals


def told(database: Engine, action: str = FILMS) -> dict[str, dict[str, int]]:
    now = datetime.now(UTC)
    with reading(database) as connection:
        return refusals.of_span(connection, Span(start=now - timedelta(hours=1), end=now + timedelta(hours=1)), action)


def test_refused_films_are_counted_by_ae_and_status(database: Engine, spool: Spool, tmp_path: Path) -> None:
    good, cut = write_film(tmp_path), tmp_path / "cut.dcm"
    cut.write_bytes(good.read_bytes()[:-1000])
    refused = Refusals()
    options = GatewayOptions(host="127.0.0.1", port=0)
    gateway = Gateway(options, spool, lambda received: ingest(database, spool, received) and None, refused)
    gateway.start()
    try:
        for calling_ae, films in (("CR1", [good, cut, cut]), ("CR2", [cut])):
            list(send("127.0.0.1", gateway.port, films, called_ae="XRAYQ", calling_ae=calling_ae))
        refused.write(database)
        list(send("127.0.0.1", gateway.port, [cut], called_ae="XRAYQ", calling_ae="CR2"))
    finally:
        gateway.stop(grace=1)
    refused.write(database)
    assert told(database) == {"CR1": {"0xC001": 2}, "CR2": {"0xC001": 2}}
    night = content(database, datetime.now(UTC).date(), Options(zone=ZoneInfo("UTC"), drift=DRIFT))
    assert night["difference"] == 0
    said = "CR2: C-STORE was refused 2 times (0xC001 2). A film may be counted more than once, and may have come later."
    assert said in judge(night).remarks  # one film, sent twice
    table = re.search(r"<caption>C-STOREs answered with an error.*?</table>", render(night), re.DOTALL)
    assert table
    assert ">refusals<" in table[0]
    assert "<td>2</td><td>0xC001 2<" in table[0]
    assert trail.verify(database).whole
    rows = trail.verify(database).rows
    refused.write(database)
    assert trail.verify(database).rows == rows, "nothing new, nothing written"


def test_what_could_not_be_written_is_written_later(database: Engine, tmp_path: Path) -> None:
    refused = Refusals()
    for _ in range(3):
        refused.stored("CR1", 0xA702, 0, 0.0)
    with pytest.raises(SQLAlchemyError):
        refused.write(make_engine(f"sqlite:///{tmp_path / 'no tables.db'}"))
    refused.stored("CR1", 0xA702, 0, 0.0)
    refused.write(database)
    assert told(database) == {"CR1": {"0xA702": 4}}


def test_strangers_take_no_devices_name(database: Engine) -> None:
    refused = Refusals(known=("CR1",))
    refused.stored("CR2", 0x0000, 1, 0.0)
    for number in range(MOST_STRANGERS + 50):
        refused.accepted(f"SCAN{number}")
        refused.rejected(f"SCAN{number}", "CALLED_AE")
    for calling_ae in ("CR9", "other"):
        refused.stored(calling_ae, 0xA900, 1, 0.0)
    for number in range(MOST_STRANGERS):
        refused.stored(f"SCAN{number}", 0xC001, 1, 0.0)
    for calling_ae in ("CR1", "CR2"):
        refused.stored(calling_ae, 0xA700, 1, 0.0)
    refused.write(database)
    films, associations = told(database), told(database, ASSOCIATIONS)
    assert {name: films[name] for name in ("CR9", "other", "CR1", "CR2", FURTHER)} == {
        "CR9": {"0xA900": 1},
        "other": {"0xA900": 1},
        "CR1": {"0xA700": 1},
        "CR2": {"0xA700": 1},
        FURTHER: {"0xC001": 2},
    }
    assert (len(films), len(associations)) == (MOST_STRANGERS + 3, MOST_STRANGERS + 1)
    refused.stored("CR10", 0xA900, 1, 0.0)
    refused.write(database)
    assert "CR10" in told(database), "the next minute has names again"


def test_peers_that_were_not_let_in(database: Engine, spool: Spool) -> None:
    refused = Refusals(own_title="OWN")
    options = GatewayOptions(host="127.0.0.1", port=0, require_called_ae=True, max_associations=0)
    gateway = Gateway(options, spool, lambda _: None, refused)
    gateway.start()
    try:
        for calling, called in (("CR1", "OLD"), ("CR1", "XRAYQ"), ("OWN", "XRAYQ")):
            with Peer(gateway.port) as peer:
                peer.associate(calling=calling, called=called)
        with Peer(gateway.port) as peer:
            peer.send(b"GET / HTTP/1.0\r\n\r\n")
            peer.receive()
    finally:
        gateway.stop(grace=1)
    refused.write(database)
    assert told(database, ASSOCIATIONS) == {
        "CR1": {"CALLED_AE": 1, "LOCAL_LIMIT": 1},
        NAMELESS: {"NO_REQUEST": 1},
    }
    night = content(database, datetime.now(UTC).date(), Options(zone=ZoneInfo("UTC"), drift=DRIFT))
    said = "CR1: not let in 2 times (CALLED_AE 1, LOCAL_LIMIT 1); the gateway's log has the addresses."
    assert said in judge(night).remarks
