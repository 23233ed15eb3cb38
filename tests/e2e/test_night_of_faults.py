"""A night of faults: everything that goes wrong goes wrong, and in the morning the report accounts for every film.

XRAYQ_TEST_NIGHT_FILMS says how many films, 200 by default.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from sqlalchemy import Engine, func, select, update

from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import send
from tests.e2e.night_films import Film, Night, make_nights
from tests.e2e.test_up import Up, service
from tests.services import child, kill, listening, wait_until
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance

pytestmark = pytest.mark.e2e

FILMS = int(os.environ.get("XRAYQ_TEST_NIGHT_FILMS", "200"))
AES = ("CR_ROOM_1", "CR_ROOM_2", "DX_EMERGENCY", "PORTABLE_7")
ASSOCIATION = 25
"""Films over one association; then the PACS opens another."""
KILLS = max(1, min(FILMS // 500, 4))
"""Of the gateway and of the worker, and flushes of Redis. A film that five of them hit would be given up."""
PATIENCE = 60 + FILMS / 4
"""Seconds for anything that takes longer the more films there are."""


@dataclass(kw_only=True)
class Pacs:
    """One sending AE: sends each film until it is promised or refused for good, and counts the answers."""

    calling_ae: str
    night: Night
    statuses: Counter[int] = field(default_factory=Counter)
    promised: set[Path] = field(default_factory=set)
    cut: int = 0
    """Films sent without an answer: they may have been committed all the same."""

    def push(self, port: int) -> None:
        for films in (self.night.first, self.night.duplicates, self.night.revisions):
            waiting = list(films)
            deadline = time.monotonic() + PATIENCE
            while waiting and time.monotonic() < deadline:
                answered = self._associate(port, waiting[:ASSOCIATION])
                waiting = [film for film in waiting if film not in answered]
            assert not waiting, f"{self.calling_ae}: {len(waiting)} films were never answered"

    def _associate(self, port: int, films: list[Film]) -> set[Film]:
        """One association; the films that need not be sent again."""
        by_path, done = {film.path: film for film in films}, set()
        try:
            for sent in send(
                "127.0.0.1", port, list(by_path), called_ae="XRAYQ", calling_ae=self.calling_ae, timeout=10
            ):
                film = by_path[sent.path]
                if sent.status is None:
                    self.cut += sent.comment != "not accepted"
                    continue
                self.statuses[sent.status] += 1
                if sent.status == film.status:
                    done.add(film)
                if sent.status == 0:
                    self.promised.add(film.path)
        except PeerUnavailable:
            wait_until(lambda: listening(port), 60, "the gateway to be back")
        return done

    @property
    def expected(self) -> dict[str, Any]:
        """The report's line of this AE, but its duplicates."""
        films = self.night.received
        ends = Counter((film.end, film.reason) for film in films)
        return {
            "calling_ae": self.calling_ae,
            "received": len(self.promised),
            "revisions": len(self.night.revisions),
            "scored": ends["scored", ""],
            "ineligible": {reason: number for (end, reason), number in ends.items() if end == "ineligible"},
            "failed": {reason: number for (end, reason), number in ends.items() if end == "failed"},
            "pending": 0,
            "lost": 0,
            "difference": 0,
        }


@dataclass(kw_only=True)
class Faults:
    """What is done to the service meanwhile, each at a share of the films promised or ended."""

    up: Up
    database: Engine
    senders: list[Pacs]
    done: list[str] = field(default_factory=list)

    def while_receiving(self) -> None:
        for turn in range(KILLS):
            self._at((turn + 0.3) / KILLS, lambda: sum(len(one.promised) for one in self.senders))
            self._kill("gateway")

    def while_scoring(self) -> None:
        for turn in range(KILLS):
            self._at((turn + 0.3) / KILLS, self.ended)
            self._kill("worker")
            self._at((turn + 0.6) / KILLS, self.ended)
            self._flush()

    def ended(self) -> int:
        query = select(func.count()).where(instance.c.state != "received")
        with reading(self.database) as connection:
            return int(connection.execute(query).scalar_one())

    def _at(self, share: float, films: Callable[[], int]) -> None:
        wait_until(lambda: films() >= share * FILMS, PATIENCE, f"{share:.0%} of {FILMS} films")

    def _kill(self, role: str) -> None:
        kill(wait_until(lambda: child(self.up.pid, role), 60, role))
        self.done.append(f"{role} killed")

    def _flush(self) -> None:
        url = wait_until(lambda: (self.up.home / "run" / "redis.url").read_text().strip(), 20)
        client = redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))
        client.flushall()
        client.close()
        self.done.append("Redis flushed")


def zone_at_noon() -> ZoneInfo:
    """A zone in which it is about noon, so that no night falls into this one."""
    return ZoneInfo(f"Etc/GMT{datetime.now(UTC).hour - 12:+d}".replace("+0", ""))


@pytest.mark.slow
@pytest.mark.timeout(120 + 2 * PATIENCE)
def test_every_film_of_a_night_of_faults_is_accounted_for(tmp_path: Path) -> None:
    started, zone = time.monotonic(), zone_at_noon()
    senders = [Pacs(calling_ae=ae, night=night) for ae, night in make_nights(tmp_path, AES, FILMS).items()]
    made = time.monotonic() - started
    with service(tmp_path, time_zone=zone.key, report_time="") as up:
        database = up.database
        faults = Faults(up=up, database=database, senders=senders)
        with ThreadPoolExecutor(max_workers=len(AES) + 2) as threads:
            running = [threads.submit(one.push, up.port) for one in senders]
            running += [threads.submit(faults.while_receiving), threads.submit(faults.while_scoring)]
            for one in running:
                one.result()
        total = sum(len(one.night.received) for one in senders)
        wait_until(lambda: faults.ended() == total, PATIENCE, f"all {total} films to end, {faults.ended()} have")
        took = time.monotonic() - started
        assert Counter(faults.done) == dict.fromkeys(("gateway killed", "worker killed", "Redis flushed"), KILLS)

        out = tmp_path / "report"
        code, told, err = up.run("audit", "report", "--date", datetime.now(zone).date().isoformat(), "--out", str(out))
        assert code == 0, err
        report = json.loads((out / "report.json").read_text())
        assert_accounted_for(report, senders)
        named = assert_failed_are_named(report, senders, up)
        assert not list((up.home / "spool" / "incoming").iterdir())

        code, whole, err = up.run("audit", "verify")
        assert code == 0, err
        row = alter_one_row(database)
        code, _, broken = up.run("audit", "verify")
        assert code == 1
        assert f" row {row}: its content was altered" in broken
    tell(senders, faults, report, named, made, took, (told, whole, broken))


def assert_accounted_for(report: dict[str, Any], senders: list[Pacs]) -> None:
    assert report["difference"] == 0
    lines = {line["calling_ae"]: line for line in report["senders"]}
    assert set(lines) == set(AES)
    for one in senders:
        assert one.promised == {film.path for film in one.night.received}
        line = lines[one.calling_ae]
        assert {name: line[name] for name in one.expected} == one.expected
        # A film whose answer was cut off is sent again: a duplicate, if it had been committed.
        again = one.statuses[0] - len(one.promised)
        assert again >= len(one.night.duplicates)
        assert again <= line["duplicates"] <= again + one.cut
        assert set(one.statuses) <= {0, *(film.status for film in one.night.first), 0xA702}


def assert_failed_are_named(report: dict[str, Any], senders: list[Pacs], up: Up) -> int:
    """Exactly the injected ones, by instance id, with AE and reason."""
    ids = {(view.sop_instance_uid, view.revision): view.id for view in up.instances()}
    injected = {
        (ids[film.uid, 1], one.calling_ae, film.reason)
        for one in senders
        for film in one.night.received
        if film.end == "failed"
    }
    assert {(one["id"], one["calling_ae"], one["reason"]) for one in report["failed"]} == injected
    assert len(report["failed"]) == len(injected)
    return len(injected)


def alter_one_row(database: Engine) -> int:
    """In the middle of the trail; its id."""
    with writing(database) as connection:
        rows = connection.execute(select(audit_event.c.id).order_by(audit_event.c.id)).scalars().all()
        row = int(rows[len(rows) // 2])
        connection.execute(update(audit_event).where(audit_event.c.id == row).values(actor="SOMEBODY_ELSE"))
    return row


def tell(
    senders: list[Pacs],
    faults: Faults,
    report: dict[str, Any],
    named: int,
    made: float,
    took: float,
    said: tuple[str, ...],
) -> None:
    """For `pytest -s`."""
    print(f"\n{FILMS} films by {len(senders)} AEs, made in {made:.1f} s, all ended {took:.1f} s after the begin")
    lines = {line["calling_ae"]: line for line in report["senders"]}
    for one in senders:
        answers = {f"0x{status:04X}": number for status, number in sorted(one.statuses.items())}
        line = {name: value for name, value in lines[one.calling_ae].items() if isinstance(value, (int, dict))}
        print(f"  {one.calling_ae}: {line}")
        print(f"    answered {answers}, cut without an answer {one.cut}")
    print(f"  {', '.join(faults.done)}")
    print(f"  difference {report['difference']}, {named} failed films named")
    print("  " + "  ".join(said))
