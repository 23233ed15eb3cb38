"""Which AEs there are, at a price that does not grow with their films; and what becomes of results, in a line."""

from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.alarms import arrived
from worker.db.session import reading, time_of
from worker.db.tables import instance
from worker.errors import WrongState
from worker.reporting import acceptance
from worker.reporting.destinations import OfBackfills, routes_of
from worker.reporting.outlook import OFF, outlook, outlook_of_backfill


def accept(database: Engine, *titles: str) -> None:
    for title in titles:
        acceptance.accept(database, title, reason="test", actor="operator:test", evidence=None)


def listed(database: Engine) -> dict[str, str]:
    with reading(database) as connection:
        return {device.calling_ae: device.state for device in acceptance.devices(connection)}


def test_every_sender_and_every_accepted_ae_is_listed_once(database: Engine) -> None:
    assert listed(database) == {}
    now = time_of(database)
    for title in ("cr1", "CR1", "CR 1", "_X", "0", "~"):
        arrived(database, title, [now])
        arrived(database, f"{title}2", [now])
    accept(database, "CR1", "NEW")
    titles = {name for title in ("cr1", "CR1", "CR 1", "_X", "0", "~") for name in (title, f"{title}2")}
    assert listed(database) == dict.fromkeys(titles, "silent") | {"CR1": "accepted", "NEW": "accepted"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_statement_reads_every_film(database: Engine) -> None:
    arrived(database, "CR1", [time_of(database)])
    said: list[tuple[str, Any]] = []
    event.listen(database, "before_cursor_execute", lambda *heard: said.append((heard[2], heard[3])))
    listed(database)
    asked = [(words, values) for words, values in said if instance.name in words]
    assert len(asked) == 3
    with reading(database) as connection:
        for words, values in asked:
            plan = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {words}", values).fetchall()
            steps = [str(step[3]) for step in plan if "instance" in str(step[3])]
            assert steps
            assert all(step.startswith("SEARCH") and "INDEX" in step for step in steps), steps


def test_only_new_evidence_accepts_what_is_accepted(database: Engine) -> None:
    accept(database, "CR1")
    with pytest.raises(WrongState, match="CR1 is accepted already"):
        accept(database, "CR1")
    with pytest.raises(WrongState, match="DX2 is silent already"):
        acceptance.silence(database, "DX2", reason="test", actor="operator:test")


@pytest.mark.parametrize(
    ("routes", "accepted", "said"),
    [
        ((), ("CR1",), OFF),
        (
            ("*:PACS@a:104",),
            (),
            "none is sent: every AE whose results would be sent is silent, see 'xrayq device list'",
        ),
        (("*:PACS@a:104",), ("DX2", "CR1"), "of CR1, DX2 are sent to PACS@a:104; every other AE is silent"),
        (
            ("CR1:PACS@a:104", "CR1:RIS@b:104"),
            ("DX2", "CR1"),
            "of CR1 are sent to PACS@a:104, RIS@b:104; every other AE is silent; accepted, but "
            "XRAYQ_RESULTS_TO names no destination for DX2",
        ),
        (
            ("*:PACS@a:104",),
            tuple(f"CR{number}" for number in range(9)),
            "of CR0, CR1, CR2, CR3, CR4, CR5 and 3 more are sent to PACS@a:104; every other AE is silent",
        ),
    ],
)
def test_what_becomes_of_results_in_a_line(
    database: Engine, routes: tuple[str, ...], accepted: tuple[str, ...], said: str
) -> None:
    accept(database, *accepted)
    with reading(database) as connection:
        assert outlook(connection, routes_of(routes)) == said


def test_what_becomes_of_the_results_of_a_backfill_in_a_line(database: Engine) -> None:
    def said(*routes: str, told: OfBackfills = OfBackfills.PACS) -> str:
        with reading(database) as connection:
            return outlook_of_backfill(connection, routes_of(routes, of_backfills=told), "ARCHIVE")

    assert said() == OFF
    assert said("*:mllp://ris:2575").endswith("XRAYQ_BACKFILL_RESULTS names no destination for them")
    assert said("*:PACS@a:104", told=OfBackfills.NONE).endswith("XRAYQ_BACKFILL_RESULTS names no destination for them")
    assert said("CR1:PACS@a:104").endswith("XRAYQ_RESULTS_TO names no destination for them")
    assert "'xrayq device accept ARCHIVE --without-evidence' first" in said("*:PACS@a:104")
    accept(database, "ARCHIVE")
    routes = ("*:PACS@a:104", "*:mllp://ris:2575")
    assert said(*routes) == "of films that come from ARCHIVE are sent to PACS@a:104"
