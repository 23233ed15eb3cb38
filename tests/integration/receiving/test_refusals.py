"""What a gateway refuses, from the C-STORE to the audit trail, on both databases."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.negotiation import class_name
from dicom_gateway.observer import Observers
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.scp import Gateway
from dicom_gateway.scu import send
from dicom_gateway.spool import Spool
from tests.days import DRIFT
from tests.phantoms import write_film
from tests.protocol.raw import C_STORE_RQ, DX, Peer, command_set, context_item, pdata, pdv, request, request_body
from worker.audit import trail
from worker.db.session import make_engine, reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event, refused_film
from worker.metrics import MOST_TITLES, OTHER, GatewayMetrics
from worker.nightly.content import MOST_CODES, MOST_REFUSED, NightOptions, night_report
from worker.nightly.headline import judge
from worker.nightly.night_report import NightReport
from worker.nightly.page.page import render
from worker.receiving import refusals, refused_films
from worker.receiving.ingest import ingest
from worker.receiving.refusals import (
    ASSOCIATIONS,
    CONTEXTS,
    FILMS,
    FURTHER,
    FURTHER_CLASSES,
    MOST_STRANGERS,
    NAMELESS,
    Refusals,
)


def told(database: Engine, action: str = FILMS) -> dict[str, dict[str, int]]:
    now = datetime.now(UTC)
    with reading(database) as connection:
        return refusals.of_span(connection, Span(start=now - timedelta(hours=1), end=now + timedelta(hours=1)), action)


@pytest.mark.parametrize(
    ("sop_class", "reason", "film"),
    [
        (DX, "transfer_syntax", True),
        (DX, "context_id", True),
        (Verification, "transfer_syntax", False),
        (Verification, "context_id", False),
        (Verification, "used", True),
        (StorageCommitmentPushModel, "abstract_syntax", False),
    ],
)
def test_which_refused_context_may_have_brought_a_film(
    database: Engine, sop_class: str, reason: str, film: bool
) -> None:
    counts = Refusals()
    counts.context_refused("CR1", class_name(sop_class), reason)
    counts.write(database)
    (code,) = told(database, CONTEXTS)["CR1"]
    assert refusals.may_be_a_film(code) is film


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
    with reading(database) as connection:
        uids = [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in (good, cut)]
        (one,) = refused_films.among(connection, [uids[0], "1.2.3"]).values()
    assert (one.sop_instance_uid, one.calling_ae, one.status) == (uids[1], "CR2", 0xC001), "its last refusal"
    night = night_report(database, datetime.now(UTC).date(), NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT))
    assert night.difference == 0
    said = "CR2: C-STORE was refused 2 times (0xC001 2). A film may be counted more than once, and may have come later."
    assert said in judge(night).remarks  # one film, sent twice
    table = re.search(r"<caption>C-STOREs answered with an error.*?</table>", render(night).html, re.DOTALL)
    assert table
    assert ">refusals<" in table[0]
    assert "<td>2</td><td>0xC001 2<" in table[0]
    assert trail.verify(database).whole
    rows = trail.verify(database).rows
    refused.write(database)
    assert trail.verify(database).rows == rows, "nothing new, nothing written"


def test_refused_films_are_few_and_the_latest(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers take no room from those that are known, and old ones go."""
    monkeypatch.setattr(refusals, "MOST_FILMS", 20)
    monkeypatch.setattr(refused_films, "MOST_KEPT", 10)
    counts = Refusals(known=("CR1",))
    for number in range(12):
        for calling_ae, root in (("SCAN", "1.2"), ("CR1", "1.3")):
            counts.stored(calling_ae, 0xC001, 1, 0.0)
            counts.film_refused(calling_ae, f"{root}.{number}", 0xC001)
    counts.write(database)
    uids = [f"{root}.{number}" for root in ("1.2", "1.3") for number in range(12)]
    with reading(database) as connection:
        found = refused_films.among(connection, uids)
    assert len(found) == 10, "of twelve and two"
    assert {film.calling_ae for film in found.values()} == {"CR1"}
    with writing(database) as connection:
        connection.execute(update(refused_film).values(refused_at=datetime.now(UTC) - refused_films.KEPT))
    counts.film_refused("CR1", "1.4", 0xC001)
    counts.stored("CR1", 0xC001, 1, 0.0)
    counts.write(database)
    with reading(database) as connection:
        assert list(refused_films.among(connection, [*uids, "1.4"])) == ["1.4"]


def test_objects_that_are_no_films_make_no_title_known(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """One byte of a private class is kept with success: nobody gets a name for it."""
    refused, metrics = Refusals(), GatewayMetrics(own_title="OWN")

    def accept(arrived: Received | OtherObject) -> None:
        if isinstance(arrived, OtherObject):
            metrics.other_object(arrived.calling_ae)

    gateway = Gateway(GatewayOptions(host="127.0.0.1", port=0), spool, accept, Observers(metrics, refused))
    gateway.start()
    private, dataset = "1.2.826.0.1.3680043.9.7.1", b"\0"
    command = command_set(C_STORE_RQ, sop_class=private, instance="1.2.3", has_data=True)
    try:
        for number in range(MOST_TITLES + 1):
            with Peer(gateway.port) as peer:
                context = context_item(1, private.encode(), ExplicitVRLittleEndian.encode())
                peer.send(request(request_body(context, b"", calling=f"SCAN{number}".encode())))
                peer.receive()
                peer.send(pdata(pdv(1, command, is_command=True)) + pdata(pdv(1, dataset, is_command=False)))
                assert peer.response().Status == 0
        list(send("127.0.0.1", gateway.port, [write_film(tmp_path)], called_ae="XRAYQ", calling_ae="CR1"))
    finally:
        gateway.stop(grace=1)
    labels = {
        one.labels["calling_ae"]
        for family in metrics.registry.collect()
        for one in family.samples
        if one.name in ("xrayq_c_stores_total", "xrayq_other_objects_total")
    }
    assert labels == {"CR1", OTHER}
    for number in range(MOST_TITLES):
        refused.stored(f"SCAN{number}", 0xC001, 1, 0.0)
    refused.stored("CR1", 0xC001, 1, 0.0)
    refused.write(database)
    found = told(database)
    assert len(found) == MOST_STRANGERS + 2
    assert found["CR1"] == {"0xC001": 1}


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
    refused.kept("CR2")
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
    night = night_report(database, datetime.now(UTC).date(), NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT))
    said = "CR1: not let in 2 times (CALLED_AE 1, LOCAL_LIMIT 1); the gateway's log has the addresses."
    assert said in judge(night).remarks


COMMITMENT = "Storage Commitment Push Model SOP Class"
FILM = "Digital X-Ray Image Storage - For Presentation"


def night(database: Engine) -> NightReport:
    return night_report(database, datetime.now(UTC).date(), NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT))


def test_presentation_contexts_that_were_not_accepted(database: Engine, spool: Spool) -> None:
    counts = Refusals(own_title="OWN")
    gateway = Gateway(GatewayOptions(host="127.0.0.1", port=0), spool, lambda _: None, counts)
    gateway.start()
    commitment = context_item(1, StorageCommitmentPushModel.encode(), ExplicitVRLittleEndian.encode())
    film = context_item(3, DX.encode())  # without a transfer syntax
    try:
        for calling_ae, contexts in (
            ("CR1", commitment),
            ("CR1", commitment),
            ("CR2", commitment + film),
            ("OWN", film),
        ):
            with Peer(gateway.port) as peer:
                peer.send(request(request_body(contexts, b"", calling=calling_ae.encode())))
                peer.receive()
                if calling_ae == "CR2":
                    peer.send(pdata(pdv(3, b"", is_command=True)))
                    assert peer.is_closed()
    finally:
        gateway.stop(grace=1)
    counts.write(database)
    no_syntax, used = f"{FILM}: no transfer syntax in common", f"{FILM}: C-STORE sent all the same"
    assert told(database, CONTEXTS) == {"CR1": {COMMITMENT: 2}, "CR2": {COMMITMENT: 1, no_syntax: 1, used: 1}}
    assert trail.verify(database).whole
    found = night(database)
    assert found.contexts_refused == told(database, CONTEXTS)
    assert [remark for remark in judge(found).remarks if "CR" in remark] == [
        f"CR2: 1 presentation context that may have brought a film was refused ({used} 1, {no_syntax} 1)."
    ], "no film comes by storage commitment"
    table = re.search(
        r"<caption>Presentation contexts that were not accepted.*?</table>", render(found).html, re.DOTALL
    )
    assert table
    assert f"<td>2</td><td>{COMMITMENT} 2<" in table[0]
    with reading(database) as connection:
        first, second = refusals.contexts_of(connection, Span.of_day(datetime.now(UTC).date(), ZoneInfo("UTC")))
    assert (first.calling_ae, first.contexts, second.contexts) == ("CR1", 2, 2)


def test_a_scanner_leaves_little_in_trail_and_report(database: Engine) -> None:
    """Many titles, 128 classes in each association: rows and content have an end, and no number is lost."""
    counts = Refusals(known=("CR1",))
    minutes, titles, classes = 3, 150, 128
    for minute in range(minutes):
        for title in range(titles):
            for number in range(classes):
                counts.context_refused(f"SCAN{minute}.{title}", f"1.2.{minute}.{title}.{number}", "abstract_syntax")
        counts.context_refused("CR1", COMMITMENT, "abstract_syntax")
        counts.write(database)
    with reading(database) as connection:
        rows = list(connection.execute(select(audit_event).where(audit_event.c.action == CONTEXTS)))
    assert len(rows) == minutes * (MOST_STRANGERS + 2)
    assert max(len(json.dumps(row.detail)) for row in rows) < 1000
    asked = minutes * (titles * classes + 1)
    found = told(database, CONTEXTS)
    assert sum(sum(of.values()) for of in found.values()) == asked
    assert found["CR1"] == {COMMITMENT: minutes}
    report = night(database)
    shown = report.contexts_refused
    assert len(shown) <= MOST_REFUSED + 1
    assert max(map(len, shown.values())) <= MOST_CODES + 1
    assert sum(sum(of.values()) for of in shown.values()) == asked
    assert len(json.dumps(shown)) < 60_000
    assert judge(report).remarks == []
    with reading(database) as connection:
        today = refusals.contexts_of(connection, Span.of_day(datetime.now(UTC).date(), ZoneInfo("UTC")))
    assert len(today) <= 21
    assert sum(one.contexts for one in today) == asked


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"A": {"x": 1}}, {"A": {"x": 1}}),
        ({"A": {"x": 5}, "B": {"y": 9}, "C": {"x": 1}}, {"A": {"x": 5}, "B": {"y": 9}, FURTHER: {"x": 1}}),
        (
            {"A": {"x": 1, "y": 3, "z": 2}, FURTHER: {"x": 90}},
            {"A": {"y": 3, "z": 2, FURTHER_CLASSES: 1}, FURTHER: {"x": 90}},
        ),
        ({"A": {FURTHER_CLASSES: 7, "y": 3, "z": 2, "v": 1}}, {"A": {"y": 3, "z": 2, FURTHER_CLASSES: 8}}),
    ],
)
def test_the_most(counts: dict[str, dict[str, int]], shown: dict[str, dict[str, int]]) -> None:
    found = refusals.most(counts, titles=2, codes=2)
    assert found == shown
    assert [list(of) for of in found.values()] == [list(of) for of in dict(sorted(shown.items())).values()]
