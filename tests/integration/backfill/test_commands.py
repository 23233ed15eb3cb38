"""xrayq backfill: what is said before it starts, and rows that the commands write."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update

from tests.services import typed
from worker.audit.actions import Action
from worker.backfill import jobs
from worker.db.session import database_time, reading, writing
from worker.db.tables import audit_event, backfill, backfill_day

BEGIN = ("backfill", "start", "--from", "2026-10-01", "--to", "2026-10-03")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backfill_is_started_looked_at_paused_resumed_and_cancelled(database: Engine, database_url: str) -> None:
    settings = {
        "database_url": database_url,
        "ask_pacs": "ARCHIVE@127.0.0.1:4242,OTHER@127.0.0.1:4243",
        "unknown_peers": "quarantine",
    }

    def said(*words: str) -> tuple[int, str]:
        done = typed(*words, **settings)
        return done.returncode, done.stdout + done.stderr

    for words, wrong in (
        ((*BEGIN,), "--ae: XRAYQ_ASK_PACS names ARCHIVE, OTHER"),
        ((*BEGIN, "--ae", "ARCHIVES"), "Did you mean ARCHIVE?"),
        (
            (*BEGIN, "--ae", "ARCHIVE"),
            "films of ARCHIVE from 127.0.0.1 would land in quarantine: 'xrayq peer add ARCHIVE",
        ),
        ((*BEGIN, "--ae", "ARCHIVE", "--hours", "20"), "--hours 20: should be two different times"),
        (("backfill", "start", "--from", "yesterday", "--to", "today", "--ae", "ARCHIVE"), "is not over"),
    ):
        code, out = said(*words)
        assert (code, wrong in out) == (2, True), out
    assert said("backfill", "status") == (0, "no backfill yet: 'xrayq backfill start'\n")
    assert said("peer", "add", "ARCHIVE", "--network", "127.0.0.1")[0] == 0
    code, out = said(*BEGIN, "--ae", "ARCHIVE", "--hours", "20-06")
    assert (code, "30 films a minute at most, 20:00-06:00 UTC" in out) == (0, True)
    assert "XRAYQ_RESULTS_TO is empty" in out, "what will become of results"
    assert said(*BEGIN, "--ae", "ARCHIVE")[0] == 4
    code, out = said(*BEGIN, "--ae", "OTHER", "--by", "get")
    assert code == 0, "over our association nobody has to be let in"
    assert "on this machine: the spool cannot be written" in out
    assert said("backfill", "pause")[0] == 2, "which of the two?"
    assert said("backfill", "pause", "--ae", "ARCHIVE")[0] == 0
    _, out = said("backfill", "status")
    assert "days: 0 of 3 asked for" in out
    assert "rests: paused: 'xrayq backfill resume' goes on" in out
    assert said("backfill", "resume", "--ae", "ARCHIVE")[0] == 0
    with writing(database) as connection:
        due = database_time(connection) - timedelta(hours=1)
        connection.execute(update(backfill).values(next_at=due))
    _, out = said("backfill", "status")
    no_relay = f"rests since {due:%Y-%m-%d %H:%M}: no relay works on it: start 'xrayq relay' or 'xrayq up'"
    assert out.count(no_relay) == 2, out
    assert {one["no_relay_since"][:16] for one in json.loads(said("backfill", "status", "--json")[1])} == {
        f"{due:%Y-%m-%dT%H:%M}"
    }
    jobs.mark(database)
    assert "no relay" not in said("backfill", "status")[1]
    assert said("backfill", "cancel", "--ae", "ARCHIVE")[0] == 0
    other, archive = json.loads(said("backfill", "status", "--json")[1])
    assert [(one["pacs"], one["state"], one["days_left"]) for one in (other, archive)] == [
        ("OTHER", "running", 3),
        ("ARCHIVE", "cancelled", 3),
    ]
    with reading(database) as connection:
        actions = list(connection.execute(select(audit_event.c.action).order_by(audit_event.c.id)).scalars())
        assert len(connection.execute(select(backfill_day)).all()) == 6
    of_archive = [Action.BACKFILL_PAUSED, Action.BACKFILL_RESUMED, Action.BACKFILL_ENDED]
    assert actions == [Action.PEER_ADDED, Action.BACKFILL_STARTED, Action.BACKFILL_STARTED, *of_archive]
