"""Alarms that somebody knows of and nobody can mend: on both databases, and with the report that finds them."""

import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, select, update

from dicom_gateway.spool import Spool
from tests import days
from tests.alarms import BOTH, alarms, audited, condition, errand_keys, settled
from tests.integration.audit.test_reconciliation import sent
from tests.integration.status.test_snapshot import options, shown
from tests.services import typed_in
from worker.alarms import ledger
from worker.alarms.acknowledge import MOST_CHARACTERS, acknowledge
from worker.alarms.change import Change
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.tables import errand, instance, outbox
from worker.errors import NotFound
from worker.health.outbox_metrics import OutboxCollector
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import Level, judge
from worker.nightly.night_report import NightReport
from worker.nightly.page.page import render
from worker.nightly.summary import summary_of
from worker.status.snapshot import StatusReader

NOON = datetime.now(UTC) - timedelta(days=3)
DAY = NOON.date()
OPTIONS = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)
RULES = frozenset({"unaccounted", "trail_broken", "drift", "dead_letters", "backlog"})


def about(rule: str, *what: str, value: float = 1) -> Condition:
    return Condition(rule=rule, subject="CR1", value=value, threshold=0, text=f"{rule} {', '.join(what)}", about=what)


def looked(database: Engine, *found: Condition) -> list[str]:
    return [one.state for one in settled(database, *found, rules=RULES)]


def known(database: Engine, rule: str, why: str = "lost for good") -> None:
    acknowledge(database, rule, "CR1", why=why, actor="operator:ann")


# the ledger


def test_who_when_and_why_are_kept_and_audited(database: Engine) -> None:
    looked(database, about("unaccounted", "17"))
    known(database, "unaccounted")
    (row,) = alarms(database)
    kept = row.acknowledged
    assert abs(datetime.now(UTC) - datetime.fromisoformat(kept.pop("at"))) < timedelta(minutes=1)
    assert kept == {"by": "operator:ann", "why": "lost for good", "value": 1, "about": ["17"]}
    action, detail = audited(database)[-1]
    assert action == "alarm_acknowledged"
    assert detail == {"alarm": row.id, "rule": "unaccounted", "subject": "CR1"} | {
        "why": "lost for good",
        "value": 1,
        "about": ["17"],
    }
    assert trail.verify(database).whole


WORSE = {
    "another film": ("unaccounted", about("unaccounted", "17"), about("unaccounted", "18")),
    "one more film": ("unaccounted", about("unaccounted", "17"), about("unaccounted", "17", "18", value=2)),
    "more than there are ids": ("unaccounted", about("unaccounted", "17"), about("unaccounted", "17", value=2)),
    "another measure": ("drift", about("drift", "entropy"), about("drift", "contrast", "entropy")),
    "more dead letters": ("dead_letters", about("dead_letters", value=3), about("dead_letters", value=4)),
    "another row": ("trail_broken", about("trail_broken", "row 4"), about("trail_broken", "row 9")),
}
NO_WORSE = {
    "the same film": ("unaccounted", about("unaccounted", "17"), about("unaccounted", "17")),
    "one of two": ("unaccounted", about("unaccounted", "17", "18", value=2), about("unaccounted", "18")),
    "further from the reference": ("drift", about("drift", "entropy"), about("drift", "entropy", value=3)),
    "the oldest film is older now": ("backlog", about("backlog", value=700), about("backlog", value=760)),
}


@pytest.mark.parametrize("name", WORSE)
def test_what_gets_worse_is_raised_again(database: Engine, name: str) -> None:
    rule, before, after = WORSE[name]
    looked(database, before)
    first = alarms(database)[0]
    known(database, rule)
    assert looked(database, before) == []
    assert looked(database, after) == ["raised"]
    (row,) = alarms(database)
    assert (row.id, row.raised_at, row.acknowledged) == (first.id, first.raised_at, None)
    assert row.value == after.value
    assert [action for action, _ in audited(database)] == ["alarm_raised", "alarm_acknowledged", "alarm_raised"]
    assert looked(database, after) == []
    assert looked(database) == ["cleared"]


@pytest.mark.parametrize("name", NO_WORSE)
def test_what_stays_or_gets_better_is_not(database: Engine, name: str) -> None:
    rule, before, after = NO_WORSE[name]
    looked(database, before)
    known(database, rule)
    assert looked(database, after) == []
    assert alarms(database)[0].acknowledged is not None
    assert looked(database) == ["cleared"]


def test_the_message_that_it_is_worse_goes_out(database: Engine) -> None:
    looked(database, about("unaccounted", "17"))
    with writing(database) as connection:
        connection.execute(delete(errand))  # delivered
    known(database, "unaccounted")
    assert errand_keys(database) == []
    looked(database, about("unaccounted", "18"))
    key = alarms(database)[0].id
    assert errand_keys(database) == [(kind, f"{key}:raised") for kind in BOTH]
    with reading(database) as connection:
        payload = connection.execute(select(errand.c.payload)).scalars().first()
    assert Change.read(payload or {}).text == "unaccounted 18"


def test_one_that_ends_and_comes_again_is_not_acknowledged(database: Engine) -> None:
    looked(database, about("unaccounted", "17"))
    known(database, "unaccounted")
    assert looked(database) == ["cleared"]
    assert looked(database, about("unaccounted", "17")) == ["raised"]
    assert alarms(database)[1].acknowledged is None


def test_only_what_is_open_can_be_acknowledged(database: Engine) -> None:
    with pytest.raises(NotFound, match="no open alarm unaccounted CR1: 'xrayq alarm list'"):
        known(database, "unaccounted")
    looked(database, about("unaccounted", "17"))
    with pytest.raises(NotFound, match="unaccounted is open for CR1: name one"):
        acknowledge(database, "unaccounted", "", why="x", actor="operator:ann")
    looked(database)
    with pytest.raises(NotFound, match="no open alarm"):
        known(database, "unaccounted")
    assert [action for action, _ in audited(database)] == ["alarm_raised", "alarm_cleared"]


# the report, the view and the command


def lose(database: Engine, *keys: int) -> None:
    """Films that wait without a place in the queue, three days ago."""
    with writing(database) as connection:
        connection.execute(delete(outbox).where(outbox.c.instance_id.in_(keys)))
        connection.execute(update(instance).where(instance.c.id.in_(keys)).values(received_at=NOON))


def report(database: Engine, day: date = DAY) -> tuple[NightReport, list[str]]:
    """Of a day, and what it changed, as the relay does it."""
    made = night_report(database, day, OPTIONS)
    summary = pickle.loads(pickle.dumps(summary_of(made)))  # it comes from the relay's child
    with writing(database) as connection:
        changes = ledger.settle(connection, summary.rules_looked_at, summary.conditions, BOTH, summary.gone)
    return made, [f"{one.state} {one.rule} {one.subject}".rstrip() for one in changes]


def test_a_film_that_is_lost_for_good(database: Engine, database_url: str, spool: Spool, tmp_path: Path) -> None:
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(3)]
    watched = StatusReader(options(database_url, spool.root, backlog_seconds=1e9))
    lose(database, keys[0])
    content, changes = report(database)
    assert (judge(content).level, changes) == (Level.BAD, ["raised unaccounted CR1"])
    assert watched.look().faults == ("1 open alarm",)

    known(database, "unaccounted", "film 1 came again as 7")
    for day, headline in (
        (DAY, "All 1 film that reached us accounted for but 1, acknowledged"),
        (DAY + timedelta(days=1), "No film came on this day"),
    ):
        content, changes = report(database, day)
        verdict = judge(content)
        assert (verdict.faults, changes) == ([], [])
        assert verdict.headline.startswith(headline)
        (said,) = verdict.known
        assert said.endswith("by operator:ann: film 1 came again as 7.")
        page = render(content).html
        assert f"<small>{keys[0]}</small>" in page, "it stays in the list"
        assert page.count("film 1 came again as 7") >= 2
    look = watched.look()
    assert look.faults == ()
    lines = shown(look, 80, 24)
    assert "alarms       none open, 1 acknowledged" in lines
    assert any("CR1  acknowledged: film 1 came again as 7 (operator:ann)" in line for line in lines)
    (one,) = look.as_dict()["stored"]["alarms"]
    assert (one["acknowledged"]["by"], one["acknowledged"]["why"]) == ("operator:ann", "film 1 came again as 7")

    lose(database, keys[1])
    content, changes = report(database, DAY + timedelta(days=1))
    assert (judge(content).level, changes) == (Level.BAD, ["raised unaccounted CR1"])
    assert watched.look().faults == ("1 open alarm",)


def test_metrics_tell_the_two_apart(database: Engine) -> None:
    looked(database, about("unaccounted", "17"), about("drift", "entropy"))
    known(database, "unaccounted")
    found = {family.name: family.samples for family in OutboxCollector(database).collect()}
    for name, rule in (("xrayq_alarms_open", "drift"), ("xrayq_alarms_acknowledged", "unaccounted")):
        assert [one.labels["rule"] for one in found[name] if one.value] == [rule]


@pytest.fixture
def xrayq(tmp_path: Path, database_url: str, database: Engine) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        with typed_in(tmp_path, home=str(tmp_path), database_url=database_url, time_zone="Europe/Berlin") as typed:
            return typed(*words)

    return run


def test_the_command(xrayq: Callable[..., tuple[int, str, str]], database: Engine) -> None:
    looked(database, about("unaccounted", "17", "18", value=2))
    code, told, _ = xrayq("alarm", "acknowledge", "unaccounted", "CR1", "--why", " came again as 42 ")
    assert (code, told) == (
        0,
        "unaccounted CR1 (17, 18) is acknowledged; it is raised again when it gets worse\n",
    )
    kept = alarms(database)[0].acknowledged
    assert kept["why"] == "came again as 42"
    assert kept["by"].startswith("operator")
    code, told, _ = xrayq("alarm", "list")
    at = datetime.fromisoformat(kept["at"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert (code, "acknowledged" in told, "open" in told) == (0, True, False)
    assert "what to do" in told
    assert "acknowledged by" in told
    assert f"{kept['by']} {at:%Y-%m-%d %H:%M}: came again as 42" in " ".join(told.split())
    (one,) = json.loads(xrayq("alarm", "list", "--json")[1])
    assert one["acknowledged"] == kept
    said = json.loads(xrayq("alarm", "acknowledge", "unaccounted", "CR1", "--why", "again", "--json")[1])
    assert (said["rule"], said["subject"], said["why"], said["about"]) == ("unaccounted", "CR1", "again", ["17", "18"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_the_command_refuses(xrayq: Callable[..., tuple[int, str, str]], database: Engine) -> None:
    code, _, error = xrayq("alarm", "acknowledge", "unaccounted", "CR1", "--why", "x")
    assert (code, error.count("\n")) == (3, 1)
    settled(database, condition())
    for why in ("", "  ", "x" * (MOST_CHARACTERS + 1), "two\nlines"):
        code, _, error = xrayq("alarm", "acknowledge", "backlog", "--why", why)
        assert (code, error) == (2, f"xrayq: the reason why is one line of 1 to {MOST_CHARACTERS} characters\n")
    assert xrayq("alarm", "acknowledge", "backlog", "-", "--why", "x")[0] == 0
    assert alarms(database)[0].acknowledged["why"] == "x"
