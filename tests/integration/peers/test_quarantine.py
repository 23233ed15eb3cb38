"""What unknown peers send: kept, counted nowhere, released with its place in the queue, or rejected for good."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.peers import Certificate, Connected, Peer
from dicom_gateway.spool import Spool
from tests import alarms
from tests.integration.receiving.test_other_objects import dose
from tests.integration.studies.studies import Studies, uid_of
from tests.phantoms import write_film
from worker.alarms import live_rules
from worker.audit import trail, unaccounted
from worker.audit.reconciliation import reconcile
from worker.db.session import database_time, reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event, instance, outbox, quarantine, study_outcome
from worker.errors import ConfigurationError, NotFound, WrongState
from worker.instances import find, reject, requeue
from worker.nightly import operations
from worker.peers import table
from worker.peers.leaving import admit_instance, admit_sender, reject_sender
from worker.peers.quarantine import HeldSender, held_senders
from worker.receiving import waiting
from worker.receiving.ingest import ArrivalKind, Became, ingest
from worker.receiving.other_objects import record
from worker.reporting.acceptance import devices
from worker.status import flow
from worker.studies.adopting import adopt

WHO = "operator:test"
PACS, ELSEWHERE = "10.1.2.7", "10.9.9.9"


def film(spool: Spool, folder: Path, name: str = "one", ae: str = "CR1", **about: Any) -> Received:
    return replace(store_file(write_film(folder, name, **about), spool, "XRAYQ"), calling_ae=ae)  # type: ignore[return-value]


def stranger(database: Engine, spool: Spool, received: Received, address: str = PACS) -> Became:
    sent_by = Connected(calling_ae=received.calling_ae, address=address)
    return ingest(database, spool, received, unknown=sent_by)


def states(database: Engine) -> list[tuple[int, str, str | None, bool]]:
    with reading(database) as connection:
        columns = (instance.c.id, instance.c.state, instance.c.reason, instance.c.admitted)
        return [tuple(row) for row in connection.execute(select(*columns).order_by(instance.c.id))]  # type: ignore[misc]


def queued(database: Engine) -> list[int]:
    with reading(database) as connection:
        return list(connection.execute(select(outbox.c.instance_id).order_by(outbox.c.instance_id)).scalars())


def held(database: Engine) -> list[HeldSender]:
    with reading(database) as connection:
        return held_senders(connection)


def actions(database: Engine, key: int | None) -> list[str]:
    with reading(database) as connection:
        query = select(audit_event.c.action).where(audit_event.c.instance_id == key).order_by(audit_event.c.id)
        return list(connection.execute(query).scalars())


def accounts(database: Engine) -> tuple[int, int, int]:
    """Received, quarantined, and films that are not accounted for."""
    now = datetime.now(UTC)
    span = Span(start=now - timedelta(days=1), end=now + timedelta(days=1))
    with reading(database) as connection:
        lost = unaccounted.of_day(connection, span)
        senders = reconcile(connection, span, lost)
    assert trail.verify(database).whole
    received, quarantined = (sum(getattr(one, name) for one in senders) for name in ("received", "quarantined"))
    return received, quarantined, len(lost) + sum(abs(sender.difference) for sender in senders)


def test_what_one_stranger_sent_is_no_duplicate_of_what_another_did(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    """Else admitting the second would leave the film with the first."""
    _, first = stranger(database, spool, film(spool, tmp_path, ae="SCANNER"), address=ELSEWHERE)
    kind, second = stranger(database, spool, film(spool, tmp_path, ae="PACS"))
    assert (kind, second != first) == (ArrivalKind.NEW, True)
    assert stranger(database, spool, film(spool, tmp_path, ae="PACS")) == (ArrivalKind.DUPLICATE, second)
    reject_sender(database, "SCANNER", (), actor=WHO)
    assert stranger(database, spool, film(spool, tmp_path, ae="SCANNER"), address=ELSEWHERE)[0] is ArrivalKind.NEW
    admit_sender(database, "PACS", (), actor=WHO)
    assert queued(database) == [second]


def test_kept_and_counted_nowhere_until_its_sender_is_admitted(database: Engine, spool: Spool, tmp_path: Path) -> None:
    received = film(spool, tmp_path)
    kind, key = stranger(database, spool, received)
    other = record(database, dose("1.2.3"), unknown=Connected(calling_ae="CR1", address=PACS))[1]
    assert kind is ArrivalKind.NEW
    assert received.path.exists()
    assert states(database) == [(key, "quarantined", None, False), (other, "quarantined", None, False)]
    assert queued(database) == []
    assert accounts(database) == (2, 2, 0)
    adopt(database)
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(study_outcome)).scalar_one() == 0
        assert devices(connection) == []
        (alarm,) = live_rules._quarantine(connection, alarms.limits())
        assert list(live_rules._quarantine(connection, alarms.limits(quarantine_films=2))) == []
    assert alarm.text.startswith("1 film of unknown peers in quarantine and not scored, the oldest since ")
    assert alarm.text.endswith(": CR1 1")
    (sender,) = held(database)
    assert (sender.calling_ae, sender.address, sender.films, sender.other_objects) == ("CR1", PACS, 1, 1)

    peer, released = admit_sender(database, "CR1", (), actor=WHO)
    assert ([str(network) for network in peer.networks], released.films, released.other_objects) == (
        ["10.1.2.7/32"],
        1,
        1,
    )
    assert states(database) == [(key, "received", None, True), (other, "ineligible", "not_a_film", True)]
    assert queued(database) == [key]
    assert held(database) == []
    assert accounts(database) == (2, 0, 0)
    assert actions(database, key) == ["received", "quarantined", "admitted"]
    assert actions(database, other) == ["received", "quarantined", "admitted", "ineligible"]
    assert actions(database, None) == ["peer_added"]
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(study_outcome)).scalar_one() == 2
        assert [device.calling_ae for device in devices(connection)] == ["CR1"]
    assert stranger(database, spool, film(spool, tmp_path, "two"))[0] is ArrivalKind.NEW
    assert len(queued(database)) == 2, "who connected while it was unknown is looked up again"


def test_rejected_it_stays_and_never_counts(database: Engine, spool: Spool, tmp_path: Path) -> None:
    _, key = stranger(database, spool, film(spool, tmp_path))
    _, second = stranger(database, spool, film(spool, tmp_path, "two"), ELSEWHERE)
    assert reject_sender(database, "CR1", [ip_network(ELSEWHERE)], actor=WHO).films == 1
    with pytest.raises(WrongState, match="quarantine"):
        requeue(database, key, WHO)
    assert reject(database, key, WHO).reason == "not_admitted"
    gone = ("ineligible", "not_admitted", False)
    assert states(database) == [(key, *gone), (second, *gone)]
    assert accounts(database) == (2, 0, 0)
    adopt(database)
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(study_outcome)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(quarantine)).scalar_one() == 0
    for refused in (
        lambda: reject_sender(database, "CR1", (), actor=WHO),
        lambda: admit_sender(database, "CR1", (), actor=WHO),
    ):
        with pytest.raises(NotFound, match="nothing of CR1 is in quarantine"):
            refused()
    with pytest.raises(WrongState, match="is ineligible; this needs quarantined"):
        admit_instance(database, key, actor=WHO)


def test_a_stranger_stands_in_no_known_peers_way(studies: Studies) -> None:
    """It cannot replace a known film, hold up its study, or keep a known sender's film out of the queue."""
    database, spool, folder = studies.database, studies.site.spool, studies.site.folder
    known = studies.film("S")
    studies.close()
    before = studies.said("S")

    forged = film(spool, folder, "S one", StudyInstanceUID=uid_of("S"), PatientID="ANOTHER")
    kind, revision = stranger(database, spool, forged, ELSEWHERE)
    assert kind is ArrivalKind.REVISION
    again = replace(forged, fresh=False)
    assert stranger(database, spool, again, ELSEWHERE) == (ArrivalKind.DUPLICATE, revision)
    record(
        database,
        dose("1.2.9", study_instance_uid=uid_of("S")),
        unknown=Connected(calling_ae="CR1", address=ELSEWHERE),
    )
    assert studies.close() == 0
    assert studies.said("S") == before
    assert find(database, str(known))[0].replaced_by is None

    assert ingest(database, spool, again)[0] is ArrivalKind.REVISION, "the known sender corrects its film"
    admitted = states(database)[-1][0]
    assert queued(database) == [admitted]
    assert find(database, str(known))[0].replaced_by == admitted
    assert accounts(database)[1:] == (2, 0)


def test_what_a_stranger_sent_first_waits_for_the_known_sender_of_it(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    received = film(spool, tmp_path)
    _, key = stranger(database, spool, received, ELSEWHERE)
    kind, known = ingest(database, spool, replace(received, fresh=False))
    assert (kind, known != key, queued(database)) == (ArrivalKind.NEW, True, [known])
    assert received.path.exists()
    assert accounts(database) == (2, 1, 0)


def test_of_several_addresses_a_person_names_the_right_one(database: Engine, spool: Spool, tmp_path: Path) -> None:
    _, right = stranger(database, spool, film(spool, tmp_path))
    _, wrong = stranger(database, spool, film(spool, tmp_path, "two"), ELSEWHERE)
    with pytest.raises(ConfigurationError, match=r"10\.1\.2\.7, 10\.9\.9\.9"):
        admit_sender(database, "CR1", (), actor=WHO)
    assert held(database)[0].films == 1
    with reading(database) as connection:
        first, further = held_senders(connection, most=1)
    assert (first.address, first.films) == (PACS, 1)
    assert (further.calling_ae, further.films, further.other_objects, further.why) == ("(further senders)", 1, 0, None)
    admit_sender(database, "CR1", [ip_network("10.1.2.0/24")], actor=WHO)
    assert queued(database) == [right]
    (sender,) = held(database)
    assert (sender.address, sender.why.name) == (ELSEWHERE, "AE")
    admit_instance(database, wrong, actor=WHO)
    assert queued(database) == [right, wrong]
    assert list(_peers(database)["CR1"].networks) == [ip_network("10.1.2.0/24")], "one film makes nobody a peer"
    admit_sender(database, "CR1", [ip_network("10.1.0.0/16")], actor=WHO)
    assert list(_peers(database)["CR1"].networks) == [ip_network("10.1.0.0/16")], "the wider one alone"


def test_a_known_address_with_another_certificate_is_not_let_in_by_its_address(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    row = Peer(calling_ae="CR1", networks=(ip_network("10.1.2.0/24"),), certificate_sha256="ab" * 32)
    table.add(database, [row], actor=WHO)
    shown = Certificate(subject="CN=other", sha256="cd" * 32)
    sent_by = Connected(calling_ae="CR1", address=PACS, certificate=shown)
    _, key = ingest(database, spool, film(spool, tmp_path), unknown=sent_by)
    assert held(database)[0].why.value == "AE and address known, certificate not"
    with pytest.raises(WrongState, match="showed another or none"):
        admit_sender(database, "CR1", (), actor=WHO)
    table.add(database, [replace(row, certificate_sha256=shown.sha256)], actor=WHO, replace=True)
    admit_sender(database, "CR1", (), actor=WHO)
    assert queued(database) == [key]


def test_the_table_is_changed_by_people_who_are_named(database: Engine) -> None:
    row = Peer(calling_ae="CR1", networks=(ip_network("10.1.2.0/24"), ip_network("2001:db8::/64")))
    other = Peer(calling_ae="CR2", networks=(ip_network("10.1.2.0/24"),), stores_a_minute=60, most_associations=2)
    table.add(database, [row], actor=WHO)
    with pytest.raises(WrongState, match="CR1 is a peer already"):
        table.add(database, [other, row], actor=WHO)
    assert _peers(database) == {"CR1": row}, "all of them, or none"
    table.add(database, [other, row], actor=WHO, replace=True)
    assert _peers(database) == {"CR1": row, "CR2": other}
    table.remove(database, "CR1", actor=WHO)
    with pytest.raises(NotFound, match="CR1 is no peer"):
        table.remove(database, "CR1", actor=WHO)
    with reading(database) as connection:
        events = connection.execute(select(audit_event.c.action, audit_event.c.actor, audit_event.c.detail)).all()
    assert [(action, actor, detail["calling_ae"]) for action, actor, detail in events] == [
        ("peer_added", WHO, "CR1"),
        ("peer_added", WHO, "CR2"),
        ("peer_removed", WHO, "CR1"),
    ]
    assert events[0].detail["after"]["networks"] == ["10.1.2.0/24", "2001:db8::/64"]


def test_what_arrives_while_its_sender_is_admitted_is_not_left_behind(
    database: Engine, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two commits first: the film is in the queue."""
    monkeypatch.setattr("worker.peers.leaving.BATCH", 1)
    films = [film(spool, tmp_path, f"film {number}") for number in range(8)]
    for first in films[:3]:
        stranger(database, spool, first)
    begin = threading.Barrier(3)

    def send(some: list[Received]) -> None:
        begin.wait()
        for one in some:
            stranger(database, spool, one)

    senders = [threading.Thread(target=send, args=(films[start::2],)) for start in (3, 4)]
    for sender in senders:
        sender.start()
    begin.wait()
    admit_sender(database, "CR1", (), actor=WHO)
    for sender in senders:
        sender.join()
    assert held(database) == []
    assert len(queued(database)) == 8
    assert accounts(database) == (8, 0, 0)


def test_sent_again_and_again_it_is_in_the_trail_once_an_hour(
    database: Engine, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under made-up titles too, where a known peer brought the film. A known peer's duplicates are all told."""
    same = film(spool, tmp_path)
    _, key = stranger(database, spool, same)
    report = Connected(calling_ae="CR1", address=PACS)
    _, other = record(database, dose("1.2.3"), unknown=report)
    _, known = ingest(database, spool, film(spool, tmp_path, "two", ae="KNOWN"))
    for number in range(3):
        assert stranger(database, spool, replace(same, fresh=False)) == (ArrivalKind.DUPLICATE, key)
        assert record(database, dose("1.2.3"), unknown=report) == (ArrivalKind.DUPLICATE, other)
        copy = film(spool, tmp_path, "two", ae=f"CR{number}")
        assert stranger(database, spool, replace(copy, fresh=False), ELSEWHERE) == (ArrivalKind.DUPLICATE, known)
        ingest(database, spool, replace(copy, calling_ae="KNOWN", fresh=False))
    assert [actions(database, one).count("duplicate") for one in (key, other, known)] == [1, 1, 4]
    monkeypatch.setattr("worker.peers.quarantine.TOLD_AGAIN", timedelta(0))
    stranger(database, spool, replace(same, fresh=False))
    assert actions(database, key).count("duplicate") == 2, "after the hour again"
    assert trail.verify(database).whole


def test_it_begins_to_wait_when_it_is_admitted(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """For alarms, doctor, status and the night's report alike: a film held for days is no queue that stands still."""
    _, key = stranger(database, spool, film(spool, tmp_path))
    with writing(database) as connection:
        before = database_time(connection)
        came = before - timedelta(days=3)
        connection.execute(update(instance).where(instance.c.id == key).values(received_at=came))
    admit_instance(database, key, actor=WHO)
    with reading(database) as connection:
        now = database_time(connection)
        since = waiting.oldest(connection)
        shown = flow.waiting_films(connection, now)
        assert list(live_rules._backlog(connection, alarms.limits(), now, standing=False)) == []
        night = operations.backlog(connection)
    assert since
    assert before <= since <= now
    assert shown.oldest_at == since
    assert shown.oldest_seconds < 60
    assert night.waiting == 1
    assert night.oldest_seconds is not None
    assert night.oldest_seconds < 60


def _peers(database: Engine) -> dict[str, Peer]:
    with reading(database) as connection:
        return table.read(connection)
