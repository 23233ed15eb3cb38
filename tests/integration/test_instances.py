"""Every command that lists shows what others wrote as they wrote it, at the width that there is."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from dicom_gateway.spool import Spool
from tests.integration.audit.test_reconciliation import ended, sent
from tests.services import typed_in
from worker.audit import trail
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import alarm, drift_reference, film_measure, instance

AE, VIEW, ESCAPE = "[/x]", "[/PA]", "\x1b[2J"
PORTS = {f"{role}_http_port": "0" for role in ("gateway", "relay", "worker")}
LISTINGS = {
    "instance list": (AE, VIEW, "corrupt_pixels"),
    "instance show 1": (AE, VIEW, "by [/x]"),
    "instance reasons": ("corrupt_pixels",),
    "alarm list": (AE, "sender_silent", "Sent"),
    "drift references": (AE, "entropy", "NOT AS AUDITED"),
    "drift show --date today": (AE,),
    "bundle status": ("reference",),
    "audit reports": ("2026-11-22", "drift"),
    "status --once": (AE, "Sent nothing"),
}
SHORTENED = {"instance list", "status --once"}
"""Of a UID both ends; on a screen of fixed lines, what there is room for."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of an AE whose title is markup, its alarm, its reference, and a night."""
    folder = tmp_path_factory.mktemp("home")
    database = make_engine(f"sqlite:///{folder / 'xrayq.db'}")
    schema.upgrade(database)
    spool = Spool(folder / "spool", reserve_bytes=1, max_bytes=1 << 30)
    spool.prepare()
    ended(database, sent(database, spool, folder, "film", ae=AE), "failed", "corrupt_pixels")
    now = datetime.now(UTC)
    with writing(database) as connection:
        connection.execute(update(instance).values(view_position=VIEW, body_part=f"{ESCAPE}CHEST"))
        row = {"rule": "sender_silent", "subject": AE, "value": 1.0, "threshold": 0.0, "text": f"Sent nothing{ESCAPE}."}
        connection.execute(insert(alarm), row | {"raised_at": now, "cleared_at": None})
        connection.execute(insert(drift_reference), reference(now))
        measures = dict.fromkeys(("brightness", "contrast", "entropy", "clipped"), 0.5)
        connection.execute(insert(film_measure), {"instance_id": 1, "bundle_digest": "b"} | measures)
        night = {
            "date": "2026-11-22",
            "digest": "d" * 64,
            "files": {},
            "difference": 0,
            "alarms": ["drift"],
            "anchor": None,
        }
        trail.record(connection, action="report_made", instance_id=None, actor="relay", detail=night)
    database.dispose()
    return folder


def reference(now: datetime) -> dict[str, object]:
    times = dict.fromkeys(("first_received_at", "last_received_at", "frozen_at"), now)
    return {"calling_ae": AE, "measure": "entropy", "bundle_digest": "", "films": 1, "sample": [1.0]} | times


def test_a_view_that_stands_in_its_code_alone_is_listed(tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    spool = Spool(tmp_path / "spool", reserve_bytes=1, max_bytes=1 << 30)
    spool.prepare()
    sent(database, spool, tmp_path, "film")
    with writing(database) as connection:
        connection.execute(update(instance).values(view_position="", view_code="LATERAL"))
    database.dispose()
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        assert "LATERAL" in xrayq("instance", "list")[1]
        database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
        with writing(database) as connection:
            connection.execute(update(instance).values(revision=2, state="ineligible", reason="duplicate"))
        database.dispose()
        (row,) = [line for line in xrayq("instance", "list")[1].splitlines() if "duplicate" in line]
        assert row.split()[2] == "-", "a duplicate is no revision"


def test_a_film_of_a_backfill_is_marked(home: Path) -> None:
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    with writing(database) as connection:
        connection.execute(update(instance).values(backfilled=True))
    database.dispose()
    with typed_in(home, home=str(home)) as xrayq:
        assert f"{AE}, backfill" in xrayq("instance", "list")[1]
        assert json.loads(xrayq("instance", "show", "1", "--json")[1])[0]["backfilled"]


def test_an_instances_times_are_of_the_sites_zone(home: Path) -> None:
    with typed_in(home, home=str(home), time_zone="Asia/Kolkata") as xrayq:
        shown = xrayq("instance", "show", "1")[1]
        (view,) = json.loads(xrayq("instance", "show", "1", "--json")[1])
    kolkata = ZoneInfo("Asia/Kolkata")
    times = [view["received_at"], *(event["at"] for event in view["history"])]
    assert len(times) == 3
    for at in map(datetime.fromisoformat, times):
        assert at.utcoffset() == timedelta()
        assert f"{at.astimezone(kolkata):%Y-%m-%d %H:%M:%S}+05:30" in shown


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("words", LISTINGS)
def test_text_of_others_is_shown_as_it_is(home: Path, words: str, columns: str) -> None:
    with typed_in(home, home=str(home), **PORTS) as xrayq, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", columns)
        code, out, err = xrayq(*words.split())
    assert code == (5 if words == "status --once" else 0), err
    for text in LISTINGS[words]:
        assert text in out or (words == "instance list" and "Not shown for want of room: " in out)
    assert "\x1b" not in out
    assert words in SHORTENED or "…" not in out
    assert all(len(line) <= int(columns) for line in out.splitlines())


def test_times_are_those_of_the_site(home: Path) -> None:
    with typed_in(home, home=str(home), time_zone="Asia/Kathmandu") as xrayq:
        for words in (("alarm", "list"), ("audit", "reports"), ("drift", "references")):
            _, out, _ = xrayq(*words)
            assert "Asia/Kathmandu" in out
        _, out, _ = xrayq("alarm", "list")
        _, listed, _ = xrayq("alarm", "list", "--json")
    there = datetime.fromisoformat(json.loads(listed)[0]["raised_at"]).astimezone(ZoneInfo("Asia/Kathmandu"))
    assert f"{there:%Y-%m-%d %H:%M}" in out


def test_a_part_of_a_list_says_of_how_many(tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    spool = Spool(tmp_path / "spool", reserve_bytes=1, max_bytes=1 << 30)
    spool.prepare()
    for name in ("one", "two", "three"):
        ended(database, sent(database, spool, tmp_path, name), "failed", "corrupt_pixels")
    sent(database, spool, tmp_path, "waiting")
    database.dispose()
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        for words, said in {
            "": "4 instances. ",
            "--limit 2": "2 of 4 instances. ",
            "--limit 4": "4 instances. ",
            "--limit 2 --state failed": "2 of 3 instances. ",
            "--limit 1 --reason corrupt_pixels --state received": "0 instances. ",
        }.items():
            assert xrayq("instance", "list", *words.split())[1].splitlines()[-1].startswith(said), words
        assert xrayq("instance", "list", "--limit", "-1")[0] == 2


def test_a_failed_film_says_why_and_what_to_do(home: Path) -> None:
    with typed_in(home, home=str(home)) as xrayq:
        shown = xrayq("instance", "show", "1")[1]
    assert (
        "The codestream is damaged, or shorter than the header says. "
        "Look at the film in the PACS, then 'xrayq instance reject 1'.\n" in shown
    )


def test_thresholds_have_units(tmp_path: Path) -> None:
    with typed_in(tmp_path) as xrayq:
        _, out, _ = xrayq("alarm", "rules")
    for threshold in ("600 seconds", "1 film ", "4096 MiB", "3 hours", "0.1 PSI"):
        assert threshold in out


def test_empty_lists_say_what_will_come(tmp_path: Path) -> None:
    schema.upgrade(make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}"))
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        for words, text in {
            "audit reports": "each night at 01:00",
            "drift references": "the first 500 films",
            "drift show": "Nothing tested",
            "alarm list": "xrayq alarm rules",
        }.items():
            assert text in xrayq(*words.split())[1]


@pytest.mark.parametrize("words", ["audit report --date", "drift show --date"])
def test_days_are_words_or_dates_and_never_to_come(tmp_path: Path, words: str) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        code, _, err = xrayq(*words.split(), tomorrow.isoformat())
        assert (code, "has not begun" in err) == (2, True)
        assert xrayq(*words.split(), "24.11.2026")[0] == 2
        for day in ("today", "yesterday"):
            assert "no database at" in xrayq(*words.split(), day)[2]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("audit export --out /nonexistent/x", 1, "cannot write /nonexistent/x: No such file or directory"),
        ("audit report --out /proc/x", 1, "cannot write /proc/x: No such file or directory"),
        ("audit report --out /etc/passwd", 1, "cannot write /etc/passwd: File exists"),
        ("audit report --out HOME/reports/2026-11-22", 2, "take another --out"),
        ("prepare HOME --out /etc/passwd/x", 1, "cannot write /etc/passwd/x: /etc/passwd is not a folder"),
        ("calibrate --films HOME --out /etc/passwd/x", 1, "cannot write /etc/passwd/x: "),
        ("audit verify --head=", 2, "--head takes the digest"),
    ],
)
def test_what_cannot_be_written_or_meant_is_one_line(home: Path, words: str, code: int, text: str) -> None:
    (home / "reports" / "2026-11-22").mkdir(parents=True, exist_ok=True)
    with typed_in(home, home=str(home)) as xrayq:
        found, _, err = xrayq(*words.replace("HOME", str(home)).split())
    assert (found, err.count("\n")) == (code, 1)
    assert text in err
