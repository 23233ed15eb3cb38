"""What a gateway refuses, from the C-STORE to the audit trail, on both databases."""

import re
from collections import Counter
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
from worker import refusals, trail
from worker.audit.night import Options, content
from worker.audit.page import render
from worker.audit.reconciliation import Span
from worker.audit.verdict import judge
from worker.db.session import make_engine, reading
from worker.ingest import ingest
from worker.metrics import GatewayMetrics
from worker.refusals import Refusals


def told(database: Engine) -> dict[str, dict[str, int]]:
    now = datetime.now(UTC)
    with reading(database) as connection:
        return refusals.of_span(connection, Span(start=now - timedelta(hours=1), end=now + timedelta(hours=1)))


def test_refused_films_are_counted_by_ae_and_status(database: Engine, spool: Spool, tmp_path: Path) -> None:
    good, cut = write_film(tmp_path), tmp_path / "cut.dcm"
    cut.write_bytes(good.read_bytes()[:-1000])
    metrics = GatewayMetrics(own_title="OWN")
    options = GatewayOptions(host="127.0.0.1", port=0)
    gateway = Gateway(options, spool, lambda received: ingest(database, spool, received) and None, metrics)
    gateway.start()
    refused = Refusals(metrics.refused)
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
    totals = Counter({("CR1", "0xA702"): 3})
    refused = Refusals(lambda: totals)
    with pytest.raises(SQLAlchemyError):
        refused.write(make_engine(f"sqlite:///{tmp_path / 'no tables.db'}"))
    totals = totals + Counter({("CR1", "0xA702"): 1})
    refused.write(database)
    assert told(database) == {"CR1": {"0xA702": 4}}
