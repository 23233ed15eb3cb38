"""The live rules on both databases, and `xrayq alarm`."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, update

from dicom_gateway.spool import Spool
from tests.alarms import BOTH, alarms, arrived, audited, condition, contexts_refused, limits, refused, settled
from tests.certificates import Authority
from tests.integration.audit.test_reconciliation import ended, sent
from tests.services import typed_in
from worker.alarms import ledger, live_rules
from worker.alarms.acknowledge import acknowledge
from worker.alarms.rules import RULES, Condition
from worker.audit import trail
from worker.audit.actions import Action
from worker.audit_messages import feed
from worker.bounded import Bounded
from worker.db.session import reading, writing
from worker.db.tables import errand, instance, outbox
from worker.instances import requeue
from worker.logs import JsonFormatter
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving.refusals import Refusals

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def seen(database: Engine, now: datetime = NOW, free_mib: float | None = 1000, **other: object) -> list[Condition]:
    with reading(database) as connection:
        return list(live_rules.look(connection, limits(**other), free_mib, now).conditions)


@pytest.fixture
def waiting(database: Engine, spool: Spool, tmp_path: Path) -> list[int]:
    """Two films, the older one received at NOW."""
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(2)]
    with writing(database) as connection:
        for number, key in enumerate(keys):
            came = NOW + timedelta(minutes=number)
            connection.execute(update(instance).where(instance.c.id == key).values(received_at=came))
    return keys


def test_nothing_is_wrong_in_an_empty_database(database: Engine) -> None:
    assert seen(database) == []


def test_backlog(database: Engine, waiting: list[int]) -> None:
    assert seen(database, NOW + timedelta(seconds=600)) == []
    (found,) = seen(database, NOW + timedelta(seconds=601))
    assert (found.rule, found.value, found.threshold) == ("backlog", 601, 600)
    assert found.text == "2 films waiting, the oldest since 2026-11-20 12:00 UTC"


def test_refusals_of_one_ae_within_an_hour(database: Engine) -> None:
    refused(database, CR1=[0xA700] * 18 + [0xC001] * 2, CR2=[0xA700] * 19)
    now = datetime.now(UTC) + timedelta(minutes=1)
    (found,) = seen(database, now)
    assert (found.rule, found.subject, found.value, found.threshold) == ("refusals", "CR1", 20, 20)
    assert found.text == "20 C-STOREs of CR1 were refused within an hour; statuses: 0xA700 18, 0xC001 2"
    assert seen(database, now + timedelta(hours=1)) == []


def test_refused_contexts_of_one_ae_within_an_hour(database: Engine) -> None:
    contexts_refused(database, "CR1", *["Storage Commitment"] * 19)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert seen(database, later) == []
    contexts_refused(database, "CR1", "1.2.3", "1.2.4")
    (found,) = seen(database, later)
    assert (found.rule, found.subject, found.value, found.threshold) == ("refusals", "CR1", 21, 20)
    assert found.text == (
        "21 presentation contexts of CR1 were refused within an hour; SOP classes: Storage Commitment 19, 1.2.3 1 and "
        "others"
    )
    (raised,) = settled(database, found)
    assert (raised.state, raised.rule) == ("raised", "refusals")
    (cleared,) = settled(database, *seen(database, later + timedelta(hours=1)))
    assert cleared.state == "cleared"


def test_refused_films_and_contexts_of_one_ae_are_one_alarm(database: Engine) -> None:
    refused(database, CR1=[0xA700] * 20)
    contexts_refused(database, "CR1", *["Storage Commitment"] * 30)
    (found,) = seen(database, datetime.now(UTC) + timedelta(minutes=1))
    assert found.value == 20
    assert found.text == (
        "20 C-STOREs of CR1 were refused within an hour; statuses: 0xA700 20. "
        "30 presentation contexts of CR1 were refused within an hour; SOP classes: Storage Commitment 30"
    )


def test_acknowledged_contexts_are_told_again_for_a_new_class_or_films_alone(database: Engine) -> None:
    """A device that asks for storage commitment with each study does so more often on a busy day."""
    acknowledged = {"value": 20, "about": ["Storage Commitment"]}
    later = datetime.now(UTC) + timedelta(minutes=1)
    contexts_refused(database, "CR1", *["Storage Commitment"] * 90)
    (found,) = seen(database, later)
    assert found.is_known(acknowledged)
    contexts_refused(database, "CR1", "Modality Worklist")
    (found,) = seen(database, later)
    assert not found.is_known(acknowledged)
    refused(database, CR1=[0xA700] * 20)
    (found,) = seen(database, later)
    assert not found.is_known(acknowledged | {"about": ["Storage Commitment", "Modality Worklist"]})


def test_acknowledged_contexts_hide_no_film(database: Engine) -> None:
    refused(database, CR1=[0xA700] * 25)
    contexts_refused(database, "CR1", *["Storage Commitment"] * 40)
    later = datetime.now(UTC) + timedelta(minutes=1)
    settled(database, *seen(database, later))
    acknowledge(database, "refusals", "CR1", why="known", actor="operator:ann")
    contexts_refused(database, "CR1", *["Storage Commitment"] * 40)
    assert settled(database, *seen(database, later)) == []
    refused(database, CR1=[0xA700] * 25)
    (again,) = settled(database, *seen(database, later))
    assert (again.state, again.value) == ("raised", 50)


def test_a_context_that_was_used_all_the_same_is_one(database: Engine) -> None:
    counts = Refusals()
    for reason in ("abstract_syntax", "used") * 19:
        counts.context_refused("CR1", "1.2.3", reason)
    counts.write(database)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert seen(database, later) == []
    contexts_refused(database, "CR1", "1.2.3")
    (found,) = seen(database, later)
    assert (found.value, found.text) == (
        20,
        "20 presentation contexts of CR1 were refused within an hour; SOP classes: 1.2.3 20, "
        "1.2.3: C-STORE sent all the same 19",
    )


def test_the_longest_names_fit_and_strangers_share_an_alarm(database: Engine) -> None:
    for number in range(60):
        contexts_refused(
            database, f"SCANNER{number:09}", *[f"1.{'2' * 61}{kind}: C-STORE sent all the same" for kind in "123"] * 7
        )
    refused(
        database, **{f"SCANNER{number:09}": [0xA700, 0xA701, 0xA702, 0xA900, 0xA901, 0xC001] * 9 for number in range(9)}
    )
    found = seen(database, datetime.now(UTC) + timedelta(minutes=1))
    assert len(found) == 21
    assert max(len(one.text) for one in found) <= 500
    assert sum(one.value for one in found) == 51 * 21 + 9 * 54
    assert len(settled(database, *found)) == 21


def test_films_of_the_future_are_a_backlog(database: Engine, waiting: list[int]) -> None:
    """Nobody knows since when they wait. A film that came while the rule was looked at is no such film."""
    assert seen(database, NOW) == []
    (found,) = seen(database, NOW - timedelta(minutes=1))
    assert (found.rule, found.value) == ("backlog", 600)
    assert found.text == "1 film waiting with a time of receipt in the future: check the clock of the database's host"


def test_an_open_backlog_is_cleared_at_half_of_it(database: Engine, waiting: list[int]) -> None:
    settled(database, *seen(database, NOW + timedelta(seconds=601)))
    assert len(seen(database, NOW + timedelta(seconds=301))) == 1
    assert settled(database, *seen(database, NOW + timedelta(seconds=300)))[0].state == "cleared"
    assert seen(database, NOW + timedelta(seconds=301)) == []


def test_a_batch_that_is_postponed_again_and_again_is_a_backlog(database: Engine, waiting: list[int]) -> None:
    """The worker puts the next attempt off and gives the lease back; the films wait all the same."""
    for minutes in range(1, 60, 10):
        now = NOW + timedelta(minutes=minutes)
        with writing(database) as connection:
            connection.execute(update(outbox).values(next_attempt_at=now + timedelta(minutes=1), lease_until=None))
        assert [one.value for one in seen(database, now)] == ([60 * minutes] if minutes > 10 else [])


def test_a_requeued_film_waits_since_it_was_requeued(database: Engine, waiting: list[int]) -> None:
    old, other = waiting
    ended(database, other, "scored")
    ended(database, old, "failed", "corrupt_pixels")
    requeue(database, old, "operator:test")
    now = datetime.now(UTC) + timedelta(seconds=700)
    (found,) = seen(database, now)
    assert found.rule == "backlog"
    assert 690 < found.value < 710
    with writing(database) as connection:  # one that came between is older than that
        connection.execute(update(instance).where(instance.c.id == other).values(state="received"))
    assert [one.value for one in seen(database, now)] == [round((now - NOW - timedelta(minutes=1)).total_seconds())]


def test_dead_letters_of_the_last_24_hours(database: Engine, waiting: list[int]) -> None:
    for key in waiting:
        ended(database, key, "failed", "corrupt_pixels")
    with writing(database) as connection:
        for key, hours in zip(waiting, (1, 23), strict=True):
            values = {"finished_at": NOW - timedelta(hours=hours)}
            connection.execute(update(instance).where(instance.c.id == key).values(**values))
    (found,) = seen(database, dead_letters=2)
    assert (found.value, found.threshold) == (2, 2)
    assert found.text == "2 films failed within 24 hours; reasons: corrupt_pixels 2"
    assert seen(database, NOW + timedelta(hours=2), dead_letters=2) == []
    assert [one.value for one in seen(database, NOW + timedelta(hours=2), dead_letters=1)] == [1]


def test_a_certificate_that_expires_and_one_that_this_machine_does_not_have(database: Engine, tmp_path: Path) -> None:
    authority, now = Authority(folder=tmp_path), datetime.now(UTC)
    paths = {days: authority.issue(f"in{days}", days=days).certificate for days in (31, 29, -1)}
    assert seen(database, now, certificate=paths[31]) == []
    (found,) = seen(database, now, certificate=paths[29])
    assert (found.rule, found.value, found.threshold) == ("certificate", pytest.approx(29, abs=0.1), 30)
    assert found.text == f"the certificate for TLS expires in 29 days, on {now + timedelta(days=29):%Y-%m-%d}"
    (expired,) = seen(database, now, certificate=paths[-1])
    assert expired.text == f"the certificate for TLS expired on {now - timedelta(days=1):%Y-%m-%d}"
    assert expired.about != found.about, "who knows of one does not know of the other"
    settled(database, found, rules={"certificate"})
    with reading(database) as connection:
        elsewhere = live_rules.look(connection, limits(certificate=tmp_path / "none"), 1000, now)
        gone = live_rules.look(connection, limits(), 1000, now)
    assert "certificate" not in elsewhere.rules, "a relay that does not see it leaves the alarm alone"
    assert "certificate" in gone.rules
    paths[29].write_bytes(b"no PEM")
    (unreadable,) = seen(database, now, certificate=paths[29])
    assert "cannot be read" in unreadable.text


def test_an_audit_repository_that_is_behind(database: Engine) -> None:
    with writing(database) as connection:
        feed.begin(connection)
        trail.record(connection, action=Action.LABELS_DRAWN, instance_id=None, actor="test")
    now = datetime.now(UTC)
    assert seen(database, now + timedelta(minutes=29), audit_minutes=30) == []
    (found,) = seen(database, now + timedelta(minutes=31), audit_minutes=30)
    assert (found.rule, found.value, found.threshold) == ("audit_repository", 31, 30)
    assert found.text.startswith("the audit repository has nothing since ")
    assert seen(database, now + timedelta(minutes=31)) == [], "there is no repository any more"


def test_spool_space(database: Engine) -> None:
    assert seen(database, free_mib=100) == []
    (found,) = seen(database, free_mib=99.6)
    assert (found.rule, found.subject, found.value, found.threshold) == ("spool_space", "relay1", 100, 100)
    settled(database, found)
    assert len(seen(database, free_mib=124)) == 1
    assert seen(database, free_mib=125) == []


def test_a_relay_that_does_not_see_the_spool_leaves_its_alarm_alone(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    assert live_rules.spool_free_mib(spool.root) > 0  # type: ignore[operator]
    assert live_rules.spool_free_mib(tmp_path) is None  # no gateway prepared it: the image's own folder, say
    settled(database, condition("spool_space", "relay1"))
    assert live_rules.watch(database, limits(spool=tmp_path), BOTH) == []
    assert live_rules.watch(database, limits(spool=spool.root, spool_mib=0, host="relay2"), BOTH) == []
    (cleared,) = live_rules.watch(database, limits(spool=spool.root, spool_mib=0), BOTH)
    assert (cleared.rule, cleared.state) == ("spool_space", "cleared")


def test_report_late_by_the_clock_and_not_by_its_next_attempt(database: Engine) -> None:
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, "2026-11-18", NOW + timedelta(hours=1))  # was tried, and will be again
    due = datetime(2026, 11, 19, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    zone = {"zone": ZoneInfo("Europe/Berlin"), "report_time": time(1)}
    assert seen(database, due + timedelta(hours=3), **zone) == []
    (found,) = seen(database, due + timedelta(hours=3, minutes=6), **zone)
    assert (found.value, found.text) == (3.1, "the report of 2026-11-18 is not made yet; attempts: 0")
    assert seen(database, due + timedelta(hours=28), report_time=None) == []


@pytest.mark.parametrize(("attempts", "hours", "late"), [(0, 3, 0), (1, 3, 0), (2, 0, 1), (0, 3.1, 1)])
def test_after_the_machine_was_off_a_report_is_late_when_it_failed_or_is_still_not_made(
    database: Engine, attempts: int, hours: float, late: int
) -> None:
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, "2026-11-16", NOW)
        connection.execute(update(errand).values(attempts=attempts))
    assert len(seen(database, NOW + timedelta(hours=hours), since=NOW)) == late


def test_relays_that_see_other_disks_or_began_at_other_times_do_not_clear_each_other(
    database: Engine, spool: Spool
) -> None:
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, "2026-11-16", datetime.now(UTC))
    relays = (
        limits(spool=spool.root, spool_mib=1 << 40),
        limits(spool=spool.root, spool_mib=0, host="relay2", since=datetime.now(UTC)),
    )
    changes = [change for _ in range(3) for relay in relays for change in live_rules.watch(database, relay, BOTH)]
    assert {(one.rule, one.subject, one.state) for one in changes} == {
        ("spool_space", "relay1", "raised"),
        ("report_late", "", "raised"),
    }
    assert len(changes) == 2
    with writing(database) as connection:
        connection.execute(delete(errand).where(errand.c.kind == Kind.NIGHT))
    assert [(one.rule, one.state) for one in live_rules.watch(database, relays[1], BOTH)] == [
        ("report_late", "cleared")
    ]


def test_a_look_that_changes_nothing_waits_for_no_writer(database: Engine, waiting: list[int]) -> None:
    with ThreadPoolExecutor(1) as thread, writing(database) as connection:
        connection.execute(update(instance).values(received_at=datetime.now(UTC)))
        ledger.take_turn(connection)
        look = thread.submit(live_rules.watch, database, limits(backlog_seconds=1e9), BOTH)
        assert look.result(timeout=10) == []


def test_an_ae_that_is_gone_is_cleared_and_said_to_be_gone(database: Engine) -> None:
    arrived(database, "CR1", [datetime.now(UTC) - timedelta(weeks=4, minutes=1)])
    settled(database, condition("sender_silent", "CR1"))
    (cleared,) = live_rules.watch(database, limits(), BOTH)
    text = "CR1 is still silent; after 4 weeks it is taken as gone"
    assert (cleared.state, cleared.gone, cleared.text) == ("cleared", True, text)
    assert [row.text for row in alarms(database)] == [text]
    assert audited(database)[-1][1]["gone"] is True


def test_a_change_is_one_warning_with_its_rule(
    database: Engine, waiting: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "xrayq.alarm"):
        (raised,) = live_rules.watch(database, limits(), BOTH)
        live_rules.watch(database, limits(), BOTH)
    (line,) = (json.loads(JsonFormatter().format(record)) for record in caplog.records)
    wanted = {"level": "WARNING", "message": "alarm raised", "rule": "backlog", "subject": "", "alarm": raised.alarm}
    assert {name: line[name] for name in wanted} == wanted
    assert line["value"] == raised.value > 600


# the command


@pytest.fixture
def xrayq(tmp_path: Path, database_url: str, database: Engine) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str, **settings: str) -> tuple[int, str, str]:
        with typed_in(tmp_path, home=str(tmp_path), database_url=database_url, **settings) as typed:
            return typed(*words)

    return run


def test_list_shows_open_alarms_and_with_all_those_that_are_over(
    xrayq: Callable[..., tuple[int, str, str]], database: Engine
) -> None:
    assert xrayq("alarm", "list")[1].startswith("no open alarms: ")
    settled(database, condition())
    settled(database, condition("sender_silent", "CR[1]"))
    code, out, _ = xrayq("alarm", "list")
    assert code == 0
    assert "CR[1]" in out
    assert "since" in out
    assert "device" in out
    assert "backlog" not in out
    (one,) = json.loads(xrayq("alarm", "list", "--json")[1])
    assert (one["rule"], one["subject"], one["cleared_at"]) == ("sender_silent", "CR[1]", None)
    rows = json.loads(xrayq("alarm", "list", "--all", "--json")[1])
    assert [(row["rule"], row["cleared_at"] is None) for row in rows] == [("sender_silent", True), ("backlog", False)]


def test_rules_show_the_threshold_that_is_set(xrayq: Callable[..., tuple[int, str, str]]) -> None:
    rows = json.loads(xrayq("alarm", "rules", "--json", alarm_backlog_seconds="90")[1])
    assert [row["rule"] for row in rows] == [rule.id for rule in RULES]
    assert (rows[0]["threshold"], rows[0]["setting"]) == (90, "XRAYQ_ALARM_BACKLOG_SECONDS")
    code, out, _ = xrayq("alarm", "rules")
    assert code == 0
    assert all(rule.id in out for rule in RULES)


def test_a_spool_that_hangs_keeps_no_other_rule_from_being_looked_at(database: Engine, spool: Spool) -> None:
    hangs = Event()
    free = Bounded(lambda: 1.0 if hangs.wait(30) else None, patience=0.1, fresh=0.0)
    arrived(database, "CR1", [datetime.now(UTC) - timedelta(days=1)], state="received")
    changes = live_rules.watch(database, limits(spool=spool.root, spool_mib=1 << 40), BOTH, free)
    hangs.set()
    assert {one.rule for one in changes} == {"backlog"}
