"""What `xrayq status` reads and shows, on both databases; a view is looked at as text of a fixed width."""

import io
import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console
from sqlalchemy import Engine, event, insert, update

from dicom_gateway.spool import Spool
from tests.alarms import contexts_refused, refused
from tests.integration.audit.test_reconciliation import ended, sent
from tests.services import free_port, typed_in
from worker.audit import trail
from worker.backfill import jobs
from worker.backfill.options import FilmState, JobState, Way
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import alarm, backfill, backfill_film, errand, finding_score, instance, score
from worker.health.client import ProcessAddress
from worker.health.server import Answer, Endpoint, Shown
from worker.receiving.refusals import Refusals
from worker.status import snapshot
from worker.status.snapshot import Snapshot, StatusOptions, StatusReader, ask
from worker.status.view import page, share
from worker.status.view_text import duration, sparkline

ZONE = ZoneInfo("UTC")
SIZES = ((80, 24), (120, 40))
LARGE = ("instance", "score", "finding_score", "audit_event")


def asked(role: str, port: int = 0) -> ProcessAddress:
    return ProcessAddress(role=role, host="127.0.0.1", port=port, installation="ours")


def options(url: str, folder: Path, **changes: Any) -> StatusOptions:
    given = {
        "database_url": url,
        "spool": folder,
        "reserve_bytes": 1 << 20,
        "bundle": None,
        "zone": ZONE,
        "backlog_seconds": 600.0,
        "processes": tuple(asked(role) for role in ("gateway", "relay", "worker")),
    }
    return StatusOptions(**(given | changes))


def shown(looked: Snapshot, width: int, height: int = 0, late: float = 0.0) -> list[str]:
    """The view's lines, as a terminal of this size has them, so many seconds after the look."""
    output = io.StringIO()
    console = Console(file=output, width=width, height=height or 25, force_terminal=False)
    now = looked.at + timedelta(seconds=late)
    console.print(page(looked, now=now, zone=ZONE, site="Site A", width=width, height=height))
    return output.getvalue().splitlines()


@pytest.fixture
def films(database: Engine, spool: Spool, tmp_path: Path) -> list[int]:
    """Five of CR1: scored after 2 s and flagged, scored, ineligible, failed, waiting with a lease; one of CR2 waiting.

    All came half a minute ago.
    """
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(5)]
    keys.append(sent(database, spool, tmp_path, "other", ae="CR2"))
    came = datetime.now(UTC) - timedelta(seconds=30)
    with writing(database) as connection:
        connection.execute(update(instance).values(received_at=came))
    for key, state, reason in zip(
        keys, ("scored", "scored", "ineligible", "failed"), (None, None, "view", "corrupt_pixels"), strict=False
    ):
        ended(database, key, state, reason)
    with writing(database) as connection:
        number = connection.execute(score.select().where(score.c.instance_id == keys[0])).scalars().one()
        rows = [{"score_id": number, "finding": name, "flag": True} for name in ("pneumonia", "covid19")]
        connection.execute(insert(finding_score), [row | {"logit": 0.0, "probability": 0.5} for row in rows])
        connection.execute(update(score).where(score.c.id == number).values(prediction_set=[]))
    return keys


@pytest.fixture
def alarms(database: Engine) -> None:
    """One open, one cleared; a report made and the next one waiting."""
    now = datetime.now(UTC)
    row = {"subject": "CR3", "value": 1.0, "threshold": 0.0}
    with writing(database) as connection:
        connection.execute(
            insert(alarm),
            [
                row | {"rule": "drift", "text": "Gone.", "raised_at": now, "cleared_at": now},
                row | {"rule": "sender_silent", "text": "Sent nothing.", "raised_at": now, "cleared_at": None},
            ],
        )
        due = now + timedelta(hours=3)
        connection.execute(insert(errand), {"kind": "night", "key": "2026-11-23", "next_attempt_at": due})
        trail.record(connection, action="report_made", instance_id=None, actor="relay", detail={"date": "2026-11-22"})


def test_films_of_the_future_are_not_well(
    database: Engine, database_url: str, spool: Spool, films: list[int], alarms: None
) -> None:
    with writing(database) as connection:
        connection.execute(update(instance).values(received_at=datetime.now(UTC) + timedelta(hours=1)))
    looked = StatusReader(options(database_url, spool.root)).look()
    assert looked.stored is not None
    assert (looked.stored.waiting.ahead, looked.stored.waiting.oldest_seconds) == (2, 0)
    assert (
        "2 waiting films have a time of receipt in the future: check the clock of the database's host" in looked.faults
    )
    assert "2 of them came in the future" in "".join(shown(looked, 120))
    assert looked.stored.hour.p50 is None, "scored before they came: no time"


def test_what_is_read(database: Engine, database_url: str, spool: Spool, films: list[int], alarms: None) -> None:
    found = StatusReader(options(database_url, spool.root)).look()
    stored = found.stored
    assert stored is not None
    one, other = stored.senders
    assert (one.calling_ae, one.received, one.scored, one.ineligible, one.failed, one.pending, one.flagged) == (
        "CR1", 5, 2, 1, 1, 1, 1,
    )  # fmt: skip
    assert (one.unsure, other.unsure) == (1, 0)
    assert (other.calling_ae, other.received, other.pending, other.flagged) == ("CR2", 1, 1, 0)
    assert (stored.waiting.films, stored.waiting.in_work) == (2, 0)
    assert stored.waiting.oldest_at == one.last_at
    assert (sum(stored.hour.received), sum(stored.hour.ended)) == (6, 4)
    assert stored.hour.p50 is not None
    assert 29 < stored.hour.p50 < 60
    assert [(letter.id, letter.reason) for letter in stored.dead_letters] == [(films[3], "corrupt_pixels")]
    assert [(letter.rule, letter.subject) for letter in stored.alarms] == [("sender_silent", "CR3")]
    assert stored.service.bundle.startswith("reference ")
    assert stored.service.engine == "e"
    assert stored.nightly.day == "2026-11-22"
    assert stored.nightly.due_at is not None
    assert found.faults == ("1 open alarm",)


def test_films_of_backfills_are_none_of_today(
    database: Engine, database_url: str, spool: Spool, films: list[int]
) -> None:
    with writing(database) as connection:
        connection.execute(update(instance).values(backfilled=instance.c.calling_ae == "CR1"))
    stored = StatusReader(options(database_url, spool.root)).look().stored
    assert stored is not None
    assert [(one.calling_ae, one.received) for one in stored.senders] == [("CR2", 1)]
    assert (sum(stored.hour.received), stored.waiting.films) == (1, 2), "they wait all the same"


def test_a_backfill_that_has_ended_is_shown_for_a_day(database: Engine, database_url: str, spool: Spool) -> None:
    day = datetime.now(UTC).date() - timedelta(days=1)
    job = jobs.start(database, "PACS", (day, day), rate=1, hours="", way=Way.MOVE, actor="operator:test")
    row = {"backfill_id": job.id, "day": day, "study_instance_uid": "1.2", "series_instance_uid": "1.3"}
    row |= {"next_at": job.started_at}
    states = (FilmState.HERE, FilmState.HERE, FilmState.FAILED)
    rows = [row | {"sop_instance_uid": f"1.4.{at}", "state": state.value} for at, state in enumerate(states)]
    with writing(database) as connection:
        connection.execute(insert(backfill_film), rows)
        jobs.end(connection, job, JobState.DONE, actor="relay")
    looked = StatusReader(options(database_url, spool.root)).look()
    (line,) = [line for line in shown(looked, 120) if line.startswith("backfill")]
    assert line.startswith("backfill     PACS: done ")
    assert line.endswith(", 2 of 3 films came, 1 not. See: xrayq backfill status")
    with writing(database) as connection:
        connection.execute(update(backfill).values(ended_at=looked.at - timedelta(days=1)))
    assert "backfill" not in "\n".join(shown(StatusReader(options(database_url, spool.root)).look(), 120))


def test_every_query_goes_by_an_index(tmp_path: Path, spool: Spool) -> None:
    """By SQLite's own plans: none scans a table that grows with the films."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    watched = StatusReader(options(f"sqlite:///{tmp_path / 'xrayq.db'}", spool.root))
    watched.look()
    asked: list[tuple[str, Any]] = []
    assert watched._engine is not None
    event.listen(
        watched._engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, _context, _many: asked.append((statement, values)),
    )
    watched.look()
    queries = [(statement, values) for statement, values in asked if statement.startswith("SELECT")]
    assert len(queries) >= 10
    with database.connect() as connection:
        for statement, values in queries:
            if "ORDER BY score.id DESC" in statement:  # from the newest on, and the first one will do
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            scanned = [step.detail.split()[1] for step in plan if step.detail.startswith("SCAN")]
            assert not set(scanned) & set(LARGE), (statement, [step.detail for step in plan])
    database.dispose()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_the_terminal(
    database: Engine, database_url: str, spool: Spool, films: list[int], alarms: None, width: int, height: int
) -> None:
    with writing(database) as connection:
        row = {"value": 1.0, "threshold": 0.0, "text": "Long words. " * 40, "raised_at": datetime.now(UTC)}
        connection.execute(insert(alarm), [row | {"rule": "drift", "subject": f"CR{number}"} for number in range(30)])
    lines = shown(StatusReader(options(database_url, spool.root)).look(), width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    assert lines[0].startswith("xrayq Site A")
    assert "not a medical device" in lines[0]
    assert lines[1] == "NOT WELL  31 open alarms; 1 film failed"
    text = "\n".join(lines)
    for said in ("gateway", "2 waiting, 0 of them in work", "31 open", "CR1", "corrupt_pixels", "reference", "made"):
        assert said in text
    assert " more alarms" in text


def test_all_rows_into_a_pipe(database: Engine, database_url: str, spool: Spool, films: list[int]) -> None:
    lines = shown(StatusReader(options(database_url, spool.root)).look(), 132)
    assert "No fault  1 film failed" in lines, "before an alarm says so"
    heads = ["today", "received", "scored", "ineligible", "failed", "waiting", "flagged", "unsure"]
    assert any(line.split()[:8] == heads for line in lines)
    assert any(line.startswith("last hour") and line.endswith("6 received, up to 6 a minute") for line in lines)
    assert not any(" more" in line for line in lines)
    assert any(line.split()[:8] == ["CR1", "5", "2", "1", "1", "1", "1", "1"] for line in lines)
    assert any(line.split()[:8] == ["all", "6", "2", "1", "1", "2", "1", "1"] for line in lines)


def test_what_is_left_out_is_named(database: Engine, database_url: str, spool: Spool, films: list[int]) -> None:
    lines = shown(StatusReader(options(database_url, spool.root)).look(), 80, 1)
    assert not any(" more" in line for line in lines), "no room for that either"
    found = {
        line.strip()
        for height in range(12, 24)
        for line in shown(StatusReader(options(database_url, spool.root)).look(), 80, height)
    }
    assert "2 more senders" in found


def test_contexts_that_were_not_accepted_today(database: Engine, database_url: str, spool: Spool) -> None:
    watched = StatusReader(options(database_url, spool.root))
    assert not any("not accepted" in line for line in shown(watched.look(), 132))
    contexts_refused(database, "CR1", "Storage Commitment", "Storage Commitment", "1.2.3")
    contexts_refused(database, "SCAN", *[f"1.2.{number}" for number in range(128)])
    found = watched.look()
    lines = shown(found, 132)
    place = lines.index("not accepted 131 presentation contexts today")
    assert lines[place + 1].startswith("  SCAN              1.2.0 1, 1.2.1 1")
    assert lines[place + 2] == "  CR1               Storage Commitment 2, 1.2.3 1"
    assert found.as_dict()["stored"]["refused"][1] == {
        "calling_ae": "CR1", "contexts": 3, "sop_classes": {"Storage Commitment": 2, "1.2.3": 1},
    }  # fmt: skip
    assert found.faults == (), "only an alarm is one"
    assert len(shown(found, 80, 24)) <= 24


def test_films_that_were_refused_today_and_peers_not_let_in(database: Engine, database_url: str, spool: Spool) -> None:
    watched = StatusReader(options(database_url, spool.root))
    refused(database, CR1=[0xA701], CR2=[0xA700, 0xC002, 0xA700])
    counts = Refusals()
    counts.rejected("STRANGER", "CALLING_AE")
    counts.rejected("CR1", "CALLED_AE")
    counts.rejected("", "NO_REQUEST")
    counts.write(database)
    contexts_refused(database, "CR1", "Storage Commitment")
    found = watched.look()
    lines = shown(found, 132)
    assert lines[1] == "No fault  4 C-STOREs refused today; 2 associations not let in today"
    place = lines.index("refused      4 C-STOREs today")
    assert lines[place + 1 : place + 8] == [
        "  CR2               2 x 0xA700 free space is below the reserve, 1 x 0xC002 data set cannot be parsed",
        "  CR1               1 x 0xA701 data set is larger than this node accepts",
        "not let in   3 associations today",
        "  (no AE title given)  1 x NO_REQUEST: no whole A-ASSOCIATE-RQ",
        "  CR1               1 x CALLED_AE: called by another title than XRAYQ_AE_TITLE",
        "  STRANGER          1 x CALLING_AE: not in XRAYQ_CALLING_AES",
        "not accepted 1 presentation context today",
    ]
    assert (found.faults, found.as_dict()["well"]) == ((), True)
    assert found.as_dict()["remarks"] == ["4 C-STOREs refused today", "2 associations not let in today"]
    assert found.as_dict()["stored"]["films_refused"][1] == {
        "calling_ae": "CR1", "number": 1, "codes": {"0xA701": 1},
    }  # fmt: skip


def test_refused_contexts_are_dropped_first(
    database: Engine, database_url: str, spool: Spool, films: list[int]
) -> None:
    refused(database, CR1=[0xA701] * 2, CR2=[0xA701], CR3=[0xA701], CR4=[0xA701])
    contexts_refused(database, "SCAN", "Storage Commitment", "1.2.3")
    lines = shown(StatusReader(options(database_url, spool.root)).look(), 80, 24)
    assert len(lines) <= 24
    assert any(line.startswith("  CR1               2 x 0xA701") for line in lines)
    assert "dead letters 1" in lines
    assert any("CR1" in line for line in lines[lines.index("dead letters 1") + 1 :])
    assert not any("Storage Commitment" in line for line in lines)


def test_a_report_that_failed_says_so(database: Engine, database_url: str, spool: Spool, alarms: None) -> None:
    watched = StatusReader(options(database_url, spool.root))
    assert "next due" in shown(watched.look(), 132)[-1]
    with writing(database) as connection:
        connection.execute(update(errand).values(attempts=2))
    assert "that of 2026-11-23 failed 2 times, next try" in shown(watched.look(), 132)[-1]
    with writing(database) as connection:
        connection.execute(update(errand).values(attempts=1, lease_until=datetime.now(UTC)))
    assert "next due" in shown(watched.look(), 132)[-1], "the first attempt is on its way"


def test_what_is_wrong_and_what_to_do_are_not_cut(tmp_path: Path) -> None:
    processes = tuple(asked(role, free_port()) for role in ("gateway", "relay", "worker"))
    found = StatusReader(options(f"sqlite:///{tmp_path / 'nowhere.db'}", tmp_path / "x", processes=processes)).look()
    lines = shown(found, 60)
    assert max(map(len, lines)) <= 60
    text = " ".join(" ".join(lines).split())
    assert "worker not ready; the spool is not there gateway no gateway answers" in text
    assert "'xrayq worker', see XRAYQ_WORKER_HTTP_PORT" in text


def test_a_database_that_is_away_is_a_line_and_comes_back(
    database: Engine, database_url: str, spool: Spool, films: list[int], tmp_path: Path
) -> None:
    away = f"sqlite:///{tmp_path / 'nowhere.db'}"
    if database_url.startswith("postgresql"):
        away = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
    found = StatusReader(options(away, spool.root)).look()
    assert found.stored is None
    lines = shown(found, 80, 24)
    assert lines[1].startswith("NOT WELL  database: ")
    assert any(line.startswith("spool") and "GiB free" in line for line in lines)
    watched = StatusReader(options(database_url, spool.root))
    assert watched.look().stored is not None
    with writing(database) as connection:
        connection.exec_driver_sql("ALTER TABLE outbox RENAME TO gone")
    assert "does not answer" in watched.look().database
    with writing(database) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO outbox")
    assert watched.look().stored is not None


def test_a_look_that_takes_long_is_told(tmp_path: Path) -> None:
    found = StatusReader(options(f"sqlite:///{tmp_path / 'nowhere.db'}", tmp_path)).look()
    assert "ago" not in shown(found, 80, 24, late=5)[0]
    assert "1 min 5 s ago: looking takes long" in shown(found, 80, 24, late=65)[0]


def test_faults_are_named(database: Engine, database_url: str, spool: Spool, films: list[int], tmp_path: Path) -> None:
    changes = {"backlog_seconds": 10.0, "reserve_bytes": 1 << 60}
    assert StatusReader(options(database_url, spool.root, **changes)).look().faults == (
        "the spool is below its reserve: C-STORE is refused",
        "films wait too long",
    )
    assert StatusReader(options(database_url, tmp_path / "nowhere")).look().faults == ("the spool is not there",)


CHECKS = [
    {"check": "database", "ok": True, "text": "answers"},
    {"check": "broker", "ok": False, "text": "is\x1b[2J away"},
]
OURS = {"role": "worker", "installation": "ours", "checks": CHECKS[:1]}
ANSWERS: Mapping[str, tuple[bytes, bool, str]] = {
    "ready": (json.dumps(OURS).encode(), True, ""),
    "not ready": (json.dumps(OURS | {"checks": CHECKS}).encode(), False, "not ready: broker, is [2J away"),
    "another role": (json.dumps(OURS | {"role": "relay"}).encode(), False, "is the relay's, not the worker's"),
    "another database": (json.dumps(OURS | {"installation": "b"}).encode(), False, "worker of another installation"),
    "not ours": (b"{}", False, "is no xrayq worker"),
    "no JSON": (b"not found", False, "is no xrayq worker"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_process_says(name: str) -> None:
    body, ready, text = ANSWERS[name]
    endpoint = Endpoint("127.0.0.1", 0, {"/readyz": Shown(page=lambda: Answer(status=200, content_type="", body=body))})
    endpoint.start()
    found = ask(asked("worker", endpoint.port))
    endpoint.shutdown()
    endpoint.server_close()
    assert (found.role, found.ready) == ("worker", ready)
    assert text in found.text
    assert bool(text) == bool(found.text)


def test_a_process_that_hangs_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        text = ask(asked("worker", hanging.getsockname()[1])).text
    assert "listens" in text
    assert "does not answer within 0.2 s: it hangs; restart it" in text
    assert "no worker answers" in ask(asked("worker", free_port())).text


def test_a_process_that_is_not_there_is_a_fault_and_one_elsewhere_is_none(tmp_path: Path) -> None:
    processes = (asked("gateway", free_port()), asked("relay"), asked("worker"))
    found = StatusReader(options(f"sqlite:///{tmp_path / 'nowhere.db'}", tmp_path, processes=processes)).look()
    assert [one.ready for one in found.processes] == [False, None, None]
    assert "gateway not ready" in found.faults
    assert not any("relay" in fault for fault in found.faults)


def test_the_command_prints_once_and_its_exit_code_says_whether_all_is_well(tmp_path: Path, spool: Spool) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    sent(database, spool, tmp_path, "film")
    ports = {f"{role}_http_port": "0" for role in ("gateway", "relay", "worker")}
    with typed_in(tmp_path, home=str(tmp_path), spool_reserve_mib="1", site="Here", **ports) as xrayq:
        code, told, _ = xrayq("status")
        assert (code, told.splitlines()[1]) == (0, "All is well.")
        assert "Here" in told
        code, told, _ = xrayq("status", "--json")
        assert code == 0
        assert json.loads(told)["stored"]["senders"][0]["pending"] == 1
    ports["worker_http_port"] = str(free_port())
    with typed_in(tmp_path, home=str(tmp_path), spool_reserve_mib="1", **ports) as xrayq:
        for words in (("status", "--once"), ("status", "--json")):
            code, told, error = xrayq(*words)
            assert (code, error) == (5, "xrayq: not well: worker not ready\n")
            assert "no worker answers on port" in told
    database.dispose()


def test_rows_are_shared_in_turn() -> None:
    assert share(6, (1, 9, 3)) == [1, 3, 2]
    assert share(50, (1, 9, 3)) == [1, 9, 3]
    assert share(-3, (1, 9, 3)) == [0, 0, 0]


def test_the_line_of_the_hour() -> None:
    assert sparkline((0, 1, 4, 8), 8) == " ▁▄█"
    assert sparkline((0, 0), 0) == "  "
    assert [duration(seconds) for seconds in (4.4, 61, 3700, 90_000, 200_000)] == [
        "4 s", "1 min 1 s", "1 h 1 min", "25 h 0 min", "2 days",
    ]  # fmt: skip
